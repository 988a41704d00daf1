//! The catalogue: what the node knows beside its virtual hosts' contents. Which there are, users,
//! permissions, policies and parameters. Journaled like a virtual host, in a directory of its own.

mod store;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use domain::name::Name;
use stdx::clock::Clock;

use crate::passwords::PasswordHash;
use crate::permissions::Access;
use crate::register::{Change, Register};
use crate::tokens::Limits;
use crate::users::{Account, Reach, User};
pub use store::Unwritten;
pub(crate) use store::{Opened, Replay, Store, StoreError, read_register};

/// Whose rights, where: a user with a token has others than without.
type AccessKey = (Name, Option<Arc<Limits>>, Name);

/// The catalogue of a running broker. Reading it never waits for the disk.
#[derive(Debug)]
pub(crate) struct Catalogue {
    state: RwLock<Register>,
    store: Mutex<Store>,
    /// Compiled rights, by user and virtual host; forgotten at every change.
    accesses: Mutex<HashMap<AccessKey, Arc<Access>>>,
    /// How often something was changed.
    changes: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Catalogue {
    pub(crate) fn new(opened: Opened, clock: Arc<dyn Clock>) -> Catalogue {
        let Opened { state, store } = opened;
        Catalogue {
            state: RwLock::new(state),
            store: Mutex::new(store),
            accesses: Mutex::default(),
            changes: AtomicU64::new(0),
            clock,
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Register> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes changes durable, all or none, and then visible. Waits for the disk.
    pub(crate) fn change(&self, changes: &[Change]) -> Result<(), Unwritten> {
        self.decide(|_| Ok(changes.to_vec()))
    }

    /// As [`Catalogue::change`], of changes that depend on what there is; nobody changes it
    /// meanwhile.
    pub(crate) fn decide<E: From<Unwritten>>(
        &self,
        decision: impl FnOnce(&Register) -> Result<Vec<Change>, E>,
    ) -> Result<(), E> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = decision(&self.read())?;
        if changes.is_empty() {
            return Ok(());
        }
        store.write(&changes, self.clock.monotonic())?;
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                state.apply(change);
            }
            self.changes.fetch_add(1, Ordering::AcqRel);
            // Under the lock: nobody may compile what was before, and keep it.
            self.accesses().clear();
        }
        if store.is_checkpoint_due() {
            store.checkpoint(&self.read(), self.clock.monotonic())?;
        }
        Ok(())
    }

    /// What is kept of a user.
    pub(crate) fn account(&self, user: &str) -> Option<(Name, Account)> {
        let state = self.read();
        let found = state.users.get_key_value(user);
        found.map(|(name, account)| (name.clone(), account.clone()))
    }

    /// Changes whenever something was changed.
    pub(crate) fn version(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn accesses(&self) -> MutexGuard<'_, HashMap<AccessKey, Arc<Access>>> {
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the user may do in a virtual host; `None`: not even enter it.
    pub(crate) fn access(&self, user: &User, vhost: &Name) -> Option<Arc<Access>> {
        let elsewhere = |limits: &Arc<Limits>| limits.vhost.as_ref().is_some_and(|it| it != vhost);
        if user.limits().is_some_and(elsewhere) {
            return None;
        }
        let key = (user.name().clone(), user.limits().cloned(), vhost.clone());
        let register = self.read();
        if let Some(known) = self.accesses().get(&key) {
            return Some(Arc::clone(known));
        }
        let (name, vhost) = (user.name(), vhost.as_str());
        let permission = register.permission(name, vhost)?;
        let topics = register.topic_permissions(name, vhost);
        let access = Arc::new(Access::new(user, vhost, permission, topics));
        self.accesses().insert(key, Arc::clone(&access));
        Some(access)
    }

    /// Replaces an imported hash by one of ours, unless the user was changed meanwhile.
    pub(crate) fn upgrade(&self, user: &Name, from: &PasswordHash, to: PasswordHash) {
        let Some((_, account)) = self.account(user.as_str()) else { return };
        if account.password != *from {
            return;
        }
        let account = Account { password: to, replaced: Some(from.fingerprint()), ..account };
        match self.change(&[Change::User(user.clone(), account)]) {
            Ok(()) => tracing::info!(%user, "the imported password hash is now argon2id"),
            Err(error) => tracing::error!(%user, %error, "the catalogue can't be written"),
        }
    }

    /// Whether nobody can log in but from this machine.
    pub(crate) fn is_loopback_only(&self) -> bool {
        self.read().users.values().all(|account| account.reach == Reach::Loopback)
    }
}

#[cfg(test)]
mod tests {
    use stdx::clock::{ManualClock, Monotonic};
    use storage::JournalSettings;
    use storage::disk::SimulatedDisk;

    use super::*;
    use crate::permissions::{Permission, Right};

    fn open(disk: &Arc<SimulatedDisk>) -> Catalogue {
        let settings = JournalSettings::new(Box::new(|| 7));
        let first = || Ok(vec![Change::Vhost(Name::from_static("/")), user("u", Reach::Loopback)]);
        let disk = Arc::clone(disk) as Arc<dyn storage::disk::Disk>;
        let opened = Store::open(disk, settings, Monotonic(0), first).unwrap();
        Catalogue::new(opened, Arc::new(ManualClock::default()))
    }

    fn user(name: &'static str, reach: Reach) -> Change {
        let password = PasswordHash::nothing();
        let account = Account { tags: [].into(), password, replaced: None, reach };
        Change::User(Name::from_static(name), account)
    }

    fn permission(configure: &str) -> Change {
        Change::Permission {
            user: Name::from_static("u"),
            vhost: Name::from_static("/"),
            permission: Permission { configure: configure.into(), ..Permission::default() },
        }
    }

    #[test]
    fn what_was_changed_survives_a_power_loss_and_nothing_else_is_made_up() {
        let mut disk = Arc::new(SimulatedDisk::new());
        let catalogue = open(&disk);
        assert!(catalogue.is_loopback_only());
        catalogue.change(&[permission("^a"), user("v", Reach::Anywhere)]).unwrap();
        let before: Vec<Change> = catalogue.read().restated().collect();
        drop(catalogue);
        for seed in 0..20 {
            disk = Arc::new(disk.crash(seed));
            let catalogue = open(&disk);
            assert_eq!(catalogue.read().restated().collect::<Vec<_>>(), before);
            assert!(!catalogue.is_loopback_only());
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_harmless_or_told() {
        let disk = Arc::new(SimulatedDisk::new());
        let catalogue = open(&disk);
        catalogue.change(&[permission("^a"), user("v", Reach::Anywhere)]).unwrap();
        drop(catalogue);
        // A second life begins with a checkpoint.
        let catalogue = open(&disk);
        catalogue.change(&[permission("^b")]).unwrap();
        let before: Vec<Change> = catalogue.read().restated().collect();
        let (files, mut refused, mut harmless) = (disk.files(), 0, 0);
        for (name, bytes) in files.iter().filter(|(name, _)| !name.starts_with("spare")) {
            // Of the room behind the frames a little is enough.
            let places = (0..bytes.len()).filter(|at| bytes[*at] != 0 || at.is_multiple_of(4_099));
            for offset in places {
                let harmed = SimulatedDisk::with_files(files.clone());
                assert!(harmed.flip_bit(name, offset, u32::try_from(offset % 8).unwrap()));
                let settings = JournalSettings::new(Box::new(|| 7));
                match store::read_register(Arc::new(harmed), settings) {
                    Ok(register) => {
                        let read: Vec<Change> = register.restated().collect();
                        assert_eq!(read, before, "{name}, byte {offset}");
                        harmless += 1;
                    }
                    Err(error) => {
                        let told = error.to_string();
                        assert!(told.contains(name.as_str()), "{name}, byte {offset}: {told}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 300 && harmless > 200, "{refused} refused, {harmless} harmless");
    }

    #[test]
    fn a_change_counts_for_who_comes_after_it() {
        let catalogue = open(&Arc::new(SimulatedDisk::new()));
        let (name, account) = catalogue.account("u").unwrap();
        let (user, vhost) = (User::new(name, &account), Name::from_static("/"));
        assert!(catalogue.access(&user, &vhost).is_none());
        for (pattern, expected) in [("^a", true), ("^b", false), ("", false), (".*", true)] {
            catalogue.change(&[permission(pattern)]).unwrap();
            for _ in 0..2 {
                let access = catalogue.access(&user, &vhost).unwrap();
                assert_eq!(access.allows(Right::Configure, "a"), expected, "{pattern}");
            }
        }
    }

    #[test]
    fn many_changes_take_bounded_room() {
        let disk = Arc::new(SimulatedDisk::new());
        let catalogue = open(&disk);
        let long = "x".repeat(100_000);
        for _ in 0..100 {
            catalogue.change(&[permission(&long)]).unwrap();
        }
        let disk: &dyn storage::disk::Disk = &*disk;
        let bytes: u64 =
            disk.list().unwrap().iter().map(|name| disk.open(name).unwrap().bytes().unwrap()).sum();
        assert!(bytes < 64 << 20, "{bytes}");
    }
}
