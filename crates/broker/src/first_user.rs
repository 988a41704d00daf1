//! Who there is at the first start, before anybody else was made.

use domain::name::Name;

use crate::passwords::{HashFailed, PasswordHash};
use crate::permissions::Permission;
use crate::register::Change;
use crate::users::{Account, GUEST, Reach};

/// The virtual host that every client knows, made at the first start.
pub const FIRST_VHOST: &str = "/";

/// The tag of those who may do everything.
const ADMINISTRATOR: &str = "administrator";

/// Who there is at the first start, with all rights on `/`.
#[derive(Clone)]
pub struct FirstUser {
    /// The name.
    pub name: Name,
    /// `None`: nobody gets in as this user with a password.
    pub password: Option<Vec<u8>>,
    /// From where.
    pub reach: Reach,
}

impl std::fmt::Debug for FirstUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FirstUser { name, reach, .. } = self;
        f.debug_struct("FirstUser")
            .field("name", name)
            .field("reach", reach)
            .finish_non_exhaustive()
    }
}

impl FirstUser {
    /// RabbitMQ's: `guest`, from this machine only.
    pub fn guest(password: Option<&str>) -> FirstUser {
        let name = Name::from_static(GUEST);
        let password = password.map(|password| password.as_bytes().to_vec());
        FirstUser { name, password, reach: Reach::Loopback }
    }

    pub(crate) fn changes(&self) -> Result<Vec<Change>, HashFailed> {
        let password = match &self.password {
            Some(password) => PasswordHash::of(password)?,
            None => PasswordHash::nothing(),
        };
        let tags = [ADMINISTRATOR.into()].into();
        let account = Account { tags, password, replaced: None, reach: self.reach };
        let vhost = Name::from_static(FIRST_VHOST);
        let all: Box<str> = ".*".into();
        let permission = Permission { configure: all.clone(), write: all.clone(), read: all };
        Ok(vec![
            Change::Vhost(vhost.clone()),
            Change::User(self.name.clone(), account),
            Change::Permission { user: self.name.clone(), vhost, permission },
        ])
    }
}
