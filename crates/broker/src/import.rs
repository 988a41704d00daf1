//! Importing definitions: everything is looked at first, against what is there and against each
//! other; only if all of it can be, something is done. What is there already stays, so importing
//! twice changes nothing, and nothing is ever removed.

use std::collections::{BTreeMap, HashSet};

use domain::name::Name;

use crate::broker::Broker;
use crate::catalogue::Unwritten;
use crate::definitions::{Definitions, Effect, Misfit, Plan, Problem, Section, UserDefinition};
use crate::own_limits::{Limited, OwnLimit};
use crate::permissions::check_pattern;
use crate::register::{Change, Register};
use crate::users::{Account, GUEST, Reach};
use crate::vhost::import::{Known, Part};
use crate::vhost_notes::VhostNotes;
use crate::vhosts::CreateVhostError;

/// Why nothing, or not everything, was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Some definitions can't be; nothing was changed.
    #[error("{} definitions can't be used", .0.len())]
    Misfits(Vec<Misfit>),
    /// A virtual host can't be made.
    #[error(transparent)]
    Vhost(#[from] CreateVhostError),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

/// What is found out before anything is done.
struct Survey<'d> {
    definitions: &'d Definitions,
    plan: Plan,
    misfits: Vec<Misfit>,
    /// What the catalogue takes; virtual hosts apart.
    changes: Vec<Change>,
    parts: BTreeMap<Name, Part<'d>>,
}

impl Broker {
    /// What an import of these definitions would do; a list of what can't be, if there is any.
    pub fn plan_import(&self, definitions: &Definitions) -> Result<Plan, ImportError> {
        Ok(self.survey(definitions)?.plan)
    }

    /// Makes what is not there yet, all or nothing. Virtual hosts and users are on disk when it
    /// returns, the rest a moment later; a crash before is made good by importing again.
    pub fn import(&self, definitions: &Definitions) -> Result<Plan, ImportError> {
        let survey = self.survey(definitions)?;
        for (section, index, effect) in &survey.plan.effects {
            if (*section, *effect) == (Section::Vhosts, Effect::Made)
                && let Some(vhost) = definitions.vhosts.get(*index)
            {
                self.create_vhost(vhost)?;
            }
        }
        self.catalogue.change(&survey.changes)?;
        if !definitions.limits.is_empty() {
            self.tell_own_limits();
        }
        for (vhost, part) in &survey.parts {
            if let Some(hub) = self.hub(vhost.as_str()) {
                hub.import(part);
            }
        }
        Ok(survey.plan)
    }

    fn survey<'d>(&self, definitions: &'d Definitions) -> Result<Survey<'d>, ImportError> {
        let mut survey = Survey {
            definitions,
            plan: Plan::default(),
            misfits: Vec::new(),
            changes: Vec::new(),
            parts: BTreeMap::new(),
        };
        {
            let register = self.catalogue.read();
            survey.vhosts(&register);
            survey.users(&register);
            survey.permissions(&register);
            survey.topic_permissions(&register);
            survey.parameters(&register);
            survey.limits(&register);
            survey.divide(&register);
        }
        for (vhost, part) in &survey.parts {
            let hub = self.hub(vhost.as_str());
            let known = hub.map_or_else(Known::empty_vhost, |hub| hub.known());
            part.survey(known, &mut survey.plan.effects, &mut survey.misfits);
        }
        survey.plan.effects.sort_unstable_by_key(|(section, index, _)| (*section, *index));
        survey.misfits.sort_by_key(|misfit| (misfit.section, misfit.index));
        if survey.misfits.is_empty() {
            Ok(survey)
        } else {
            Err(ImportError::Misfits(survey.misfits))
        }
    }
}

impl<'d> Survey<'d> {
    fn found(&mut self, section: Section, index: usize, effect: Effect) {
        self.plan.effects.push((section, index, effect));
    }

    fn misfit(&mut self, section: Section, index: usize, problem: Problem) {
        self.misfits.push(Misfit { section, index, problem });
    }

    /// Notes the effect of a value on one that may be there, and the change if there is one.
    fn compare<T: PartialEq>(
        &mut self,
        (section, index): (Section, usize),
        there: Option<&T>,
        value: &T,
        change: Change,
    ) {
        let effect = match there {
            None => Effect::Made,
            Some(there) if there == value => Effect::Nothing,
            Some(_) => Effect::Changed,
        };
        self.found(section, index, effect);
        if effect != Effect::Nothing {
            self.changes.push(change);
        }
    }

    fn vhosts(&mut self, register: &Register) {
        let mut seen = HashSet::new();
        for (index, vhost) in self.definitions.vhosts.iter().enumerate() {
            if vhost.is_empty() {
                self.misfit(Section::Vhosts, index, Problem::NoName);
                continue;
            }
            let new = !register.vhosts.contains(vhost) && seen.insert(vhost);
            let there = register.notes.get(vhost);
            let noted = self.definitions.vhost_notes.get(vhost).filter(|notes| {
                there.map_or(**notes != VhostNotes::default(), |there| there != *notes)
            });
            if let Some(notes) = noted {
                self.changes.push(Change::VhostNotes(vhost.clone(), notes.clone()));
            }
            let effect = match noted {
                _ if new => Effect::Made,
                Some(_) => Effect::Changed,
                None => Effect::Nothing,
            };
            self.found(Section::Vhosts, index, effect);
        }
    }

    fn users(&mut self, register: &Register) {
        for (index, user) in self.definitions.users.iter().enumerate() {
            let there = register.users.get(&user.name);
            let account = account(user, there);
            let change = Change::User(user.name.clone(), account.clone());
            self.compare((Section::Users, index), there, &account, change);
        }
    }

    /// Whether somebody and somewhere are known; what is not is noted.
    fn place(&mut self, at: (Section, usize), register: &Register, user: &Name, vhost: &Name) {
        let users = &self.definitions.users;
        if !register.users.contains_key(user) && !users.iter().any(|known| known.name == *user) {
            self.misfit(at.0, at.1, Problem::NoUser(user.clone()));
        }
        if !self.is_vhost(register, vhost) {
            self.misfit(at.0, at.1, Problem::NoVhost(vhost.clone()));
        }
    }

    fn is_vhost(&self, register: &Register, vhost: &Name) -> bool {
        register.vhosts.contains(vhost) || self.definitions.vhosts.contains(vhost)
    }

    fn patterns(&mut self, (section, index): (Section, usize), patterns: &[&str]) {
        for pattern in patterns {
            if let Err(error) = check_pattern(pattern) {
                self.misfit(section, index, error.into());
            }
        }
    }

    fn permissions(&mut self, register: &Register) {
        for (index, found) in self.definitions.permissions.iter().enumerate() {
            let at = (Section::Permissions, index);
            let (user, vhost, permission) = (&found.user, &found.vhost, &found.permission);
            self.place(at, register, user, vhost);
            self.patterns(at, &[&permission.configure, &permission.write, &permission.read]);
            let change = Change::Permission {
                user: user.clone(),
                vhost: vhost.clone(),
                permission: permission.clone(),
            };
            self.compare(at, register.permission(user, vhost.as_str()), permission, change);
        }
    }

    fn topic_permissions(&mut self, register: &Register) {
        for (index, found) in self.definitions.topic_permissions.iter().enumerate() {
            let at = (Section::TopicPermissions, index);
            let (user, vhost, permission) = (&found.user, &found.vhost, &found.permission);
            self.place(at, register, user, vhost);
            self.patterns(at, &[&permission.write, &permission.read]);
            let there = register.topics.get(&(user.clone(), vhost.clone()));
            let change = Change::TopicPermission {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: found.exchange.clone(),
                permission: permission.clone(),
            };
            let there = there.and_then(|there| there.get(&found.exchange));
            self.compare(at, there, permission, change);
        }
    }

    fn parameters(&mut self, register: &Register) {
        for (index, found) in self.definitions.parameters.iter().enumerate() {
            let at = (Section::Parameters, index);
            if !found.vhost.is_empty() && !self.is_vhost(register, &found.vhost) {
                self.misfit(at.0, at.1, Problem::NoVhost(found.vhost.clone()));
            }
            let key = (found.component.clone(), found.vhost.clone(), found.name.clone());
            let there = register.parameters.get(&key);
            let change = Change::Parameter(key, found.value.clone());
            self.compare(at, there, &found.value, change);
        }
    }

    fn limits(&mut self, register: &Register) {
        for (index, limit) in self.definitions.limits.iter().enumerate() {
            let OwnLimit { of, kind, max } = limit;
            let at = (Section::Limits, index);
            // A user's limits stand with the user: it is there, or it is being made.
            if let Limited::Vhost(vhost) = of
                && !self.is_vhost(register, vhost)
            {
                self.misfit(at.0, at.1, Problem::NoVhost(vhost.clone()));
            }
            let there = register.limits.get(&(of.clone(), *kind));
            self.compare(at, there, max, Change::Limit(of.clone(), *kind, *max));
        }
    }

    /// Gives each virtual host its exchanges, queues and bindings.
    fn divide(&mut self, register: &Register) {
        let definitions = self.definitions;
        for (index, exchange) in definitions.exchanges.iter().enumerate() {
            if let Some(part) = self.part(register, (Section::Exchanges, index), &exchange.vhost) {
                part.exchanges.push((index, exchange));
            }
        }
        for (index, queue) in definitions.queues.iter().enumerate() {
            if let Some(part) = self.part(register, (Section::Queues, index), &queue.vhost) {
                part.queues.push((index, queue));
            }
        }
        for (index, binding) in definitions.bindings.iter().enumerate() {
            if let Some(part) = self.part(register, (Section::Bindings, index), &binding.vhost) {
                part.bindings.push((index, binding));
            }
        }
    }

    fn part(
        &mut self,
        register: &Register,
        (section, index): (Section, usize),
        vhost: &Name,
    ) -> Option<&mut Part<'d>> {
        if !self.parts.contains_key(vhost) && !self.is_vhost(register, vhost) {
            self.misfit(section, index, Problem::NoVhost(vhost.clone()));
            return None;
        }
        Some(self.parts.entry(vhost.clone()).or_default())
    }
}

/// What is to be kept of a user that is imported over what is kept.
fn account(user: &UserDefinition, there: Option<&Account>) -> Account {
    let tags = user.tags.clone().into();
    // The import of the hash that ours took the place of must not bring it back.
    let replaced = there.filter(|there| {
        there.password == user.password || there.replaced == Some(user.password.fingerprint())
    });
    let (password, replaced) = match replaced {
        Some(there) => (there.password.clone(), there.replaced),
        None => (user.password.clone(), None),
    };
    let reach = match there {
        Some(there) => there.reach,
        // Everybody knows the password that guest mostly has.
        None if user.name.as_str() == GUEST => Reach::Loopback,
        None => Reach::Anywhere,
    };
    Account { tags, password, replaced, reach }
}
