//! Users: listed, made, changed, deleted. What changes is on disk before it counts, and counts at
//! once for whoever is connected.

use std::sync::Arc;

use domain::name::Name;

use crate::broker::Broker;
use crate::catalogue::Unwritten;
use crate::event::Closing;
use crate::passwords::{HashFailed, PasswordHash};
use crate::register::Change;
use crate::users::{Account, GUEST, Reach};

/// A user as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct UserView {
    pub name: Name,
    pub tags: Arc<[Box<str>]>,
    pub password: PasswordHash,
    pub reach: Reach,
}

/// With what a user proves who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A password in clear.
    Password(Vec<u8>),
    /// A hash of one.
    Hash(PasswordHash),
    /// Nobody gets in with a password.
    Nothing,
    /// As before; a new user has none.
    Unchanged,
}

/// Whether something is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not there before.
    Made,
    /// It was there, and is as asked for now.
    Changed,
}

/// Why a user is not made or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PutUserError {
    /// A user needs a name.
    #[error("a user's name can't be empty")]
    NoName,
    /// The password can't be hashed.
    #[error(transparent)]
    Hash(#[from] HashFailed),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

/// Why a user is not deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeleteUserError {
    /// There is none of that name.
    #[error("there is no user '{0}'")]
    NoSuchUser(Name),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

impl Broker {
    /// All users, by name.
    pub fn users(&self) -> Vec<UserView> {
        let register = self.catalogue.read();
        register.users.iter().map(|(name, account)| view(name, account)).collect()
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<UserView> {
        let (name, account) = self.catalogue.account(name)?;
        Some(view(&name, &account))
    }

    /// Makes a user, or changes the one of that name; without tags it keeps those it has. Hashes a
    /// password and waits for the disk.
    pub fn put_user(
        &self,
        name: &Name,
        credentials: Credentials,
        tags: Option<&[Box<str>]>,
    ) -> Result<Put, PutUserError> {
        if name.is_empty() {
            return Err(PutUserError::NoName);
        }
        let password = match credentials {
            Credentials::Password(password) => Some(PasswordHash::of(&password)?),
            Credentials::Hash(hash) => Some(hash),
            Credentials::Nothing => Some(PasswordHash::nothing()),
            Credentials::Unchanged => None,
        };
        let mut put = Put::Made;
        self.catalogue.decide(|register| {
            let there = register.users.get(name);
            if there.is_some() {
                put = Put::Changed;
            }
            let account = account(name, there, password, tags);
            Ok::<_, PutUserError>(vec![Change::User(name.clone(), account)])
        })?;
        Ok(put)
    }

    /// Deletes a user with its permissions and tokens; its connections are closed. Waits for the
    /// disk.
    pub fn delete_user(&self, name: &Name) -> Result<(), DeleteUserError> {
        self.catalogue.decide(|register| match register.users.get(name) {
            Some(_) => Ok(vec![Change::UserDeleted(name.clone())]),
            None => Err(DeleteUserError::NoSuchUser(name.clone())),
        })?;
        tracing::info!(user = %name, "user deleted");
        self.close_user(name, &format!("user '{name}' is deleted"));
        Ok(())
    }

    /// Tells a user's clients that they have to go, and why.
    pub fn close_user(&self, name: &Name, why: &str) {
        let closing = Closing::Forced(why.into());
        for hub in self.hubs() {
            hub.close_user(name, &closing);
        }
    }
}

fn view(name: &Name, account: &Account) -> UserView {
    UserView {
        name: name.clone(),
        tags: Arc::clone(&account.tags),
        password: account.password.clone(),
        reach: account.reach,
    }
}

fn account(
    name: &Name,
    there: Option<&Account>,
    password: Option<PasswordHash>,
    tags: Option<&[Box<str>]>,
) -> Account {
    let reach = match there {
        Some(there) => there.reach,
        // Everybody knows the password that guest mostly has.
        None if name.as_str() == GUEST => Reach::Loopback,
        None => Reach::Anywhere,
    };
    let (password, replaced) = match (password, there) {
        (Some(password), _) => (password, None),
        (None, Some(there)) => (there.password.clone(), there.replaced),
        (None, None) => (PasswordHash::nothing(), None),
    };
    let tags = match (tags, there) {
        (Some(tags), _) => tags.into(),
        (None, Some(there)) => Arc::clone(&there.tags),
        (None, None) => Arc::default(),
    };
    Account { tags, password, replaced, reach }
}
