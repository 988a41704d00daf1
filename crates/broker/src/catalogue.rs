//! The catalogue: what the node knows beside its virtual hosts' contents. Which there are, users,
//! permissions, policies and parameters. Journaled like a virtual host, in a directory of its own.

mod store;

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use domain::name::Name;
use stdx::clock::Clock;
use storage::Poison;

use crate::passwords::PasswordHash;
use crate::permissions::Access;
use crate::register::{Change, Register};
use crate::users::{Account, Reach, User};
pub(crate) use store::{Opened, Store, StoreError};

/// The catalogue of a running broker. Reading it never waits for the disk.
#[derive(Debug)]
pub(crate) struct Catalogue {
    state: RwLock<Register>,
    store: Mutex<Store>,
    clock: Arc<dyn Clock>,
}

impl Catalogue {
    pub(crate) fn new(opened: Opened, clock: Arc<dyn Clock>) -> Catalogue {
        let Opened { state, store } = opened;
        Catalogue { state: RwLock::new(state), store: Mutex::new(store), clock }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Register> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes changes durable, all or none, and then visible. Waits for the disk.
    pub(crate) fn change(&self, changes: &[Change]) -> Result<(), Poison> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.write(changes, self.clock.monotonic())?;
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                state.apply(change.clone());
            }
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

    /// What the user may do in a virtual host; `None`: not even enter it.
    pub(crate) fn access(&self, user: &User, vhost: &str) -> Option<Access> {
        let state = self.read();
        let permission = state.permission(user.name(), vhost)?;
        Some(Access::new(user, vhost, permission, state.topic_permissions(user.name(), vhost)))
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
            Err(poison) => tracing::error!(%user, %poison, "the catalogue can't be written"),
        }
    }

    /// Whether nobody can log in but from this machine.
    pub(crate) fn is_loopback_only(&self) -> bool {
        self.read().users.values().all(|account| account.reach == Reach::Loopback)
    }
}
