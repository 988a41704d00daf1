//! Limits of single virtual hosts and users are set, told and cleared. They count from then on; who is
//! in already stays, and so does what is there.

use std::sync::PoisonError;

use domain::name::Name;

use crate::broker::Broker;
use crate::catalogue::Unwritten;
use crate::own_limits::{LimitKind, Limited, OwnLimit};
use crate::register::{Change, Register};

/// Why a limit is not set.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SetLimitError {
    /// There is no such virtual host.
    #[error("there is no vhost '{0}'")]
    NoSuchVhost(Name),
    /// There is no such user.
    #[error("there is no user '{0}'")]
    NoSuchUser(Name),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

impl Broker {
    /// All of them, of virtual hosts first, by name.
    pub fn own_limits(&self) -> Vec<OwnLimit> {
        let register = self.catalogue.read();
        let limits = register.limits.iter();
        limits
            .map(|((of, kind), max)| OwnLimit { of: of.clone(), kind: *kind, max: *max })
            .collect()
    }

    /// Sets one, in place of what there was. Waits for the disk.
    pub fn set_own_limit(&self, limit: &OwnLimit) -> Result<(), SetLimitError> {
        let OwnLimit { of, kind, max } = limit;
        self.decide_limit(of, Change::Limit(of.clone(), *kind, *max))
    }

    /// Clears one, if it is set: what holds for all holds here again. Waits for the disk.
    pub fn clear_own_limit(&self, of: &Limited, kind: LimitKind) -> Result<(), SetLimitError> {
        self.decide_limit(of, Change::LimitCleared(of.clone(), kind))
    }

    fn decide_limit(&self, of: &Limited, change: Change) -> Result<(), SetLimitError> {
        self.catalogue.decide(|register| {
            check(of, register)?;
            Ok::<_, SetLimitError>(vec![change])
        })?;
        self.tell_own_limits();
        Ok(())
    }

    /// Tells every virtual host how many queues it may have, and every user that is connected how many
    /// channels.
    pub(crate) fn tell_own_limits(&self) {
        // One at a time: whoever comes last reads last. The catalogue is not held meanwhile, for
        // owners look into it themselves.
        let _telling = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        for hub in self.hubs() {
            let key = (Limited::Vhost(hub.name.clone()), LimitKind::Queues);
            let max = self.catalogue.read().limits.get(&key).copied().flatten();
            hub.limit_queues(max);
        }
        self.places.limit_channels(|user| {
            let user = Name::new(user).ok()?;
            self.catalogue.read().channels_max(&user)
        });
    }
}

/// Whether there is such a virtual host or user.
fn check(of: &Limited, register: &Register) -> Result<(), SetLimitError> {
    match of {
        Limited::Vhost(name) if !register.vhosts.contains(name) => {
            Err(SetLimitError::NoSuchVhost(name.clone()))
        }
        Limited::User(name) if !register.users.contains_key(name) => {
            Err(SetLimitError::NoSuchUser(name.clone()))
        }
        Limited::Vhost(_) | Limited::User(_) => Ok(()),
    }
}
