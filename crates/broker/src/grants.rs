//! What users may do: permissions granted, cleared and listed. Whoever is connected has the new
//! rights from the next request on.

use std::sync::Arc;

use domain::name::Name;

use crate::accounts::Put;
use crate::broker::Broker;
use crate::catalogue::Unwritten;
use crate::definitions::{PermissionDefinition, TopicPermissionDefinition};
use crate::permissions::{Access, NoPattern, Permission, TopicPermission, check_pattern};
use crate::register::{Change, Register};
use crate::users::User;

/// Why a permission is not granted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GrantError {
    /// There is no such user.
    #[error("there is no user '{0}'")]
    NoSuchUser(Name),
    /// There is no such virtual host.
    #[error("there is no vhost '{0}'")]
    NoSuchVhost(Name),
    /// A pattern can't be used.
    #[error(transparent)]
    Pattern(#[from] NoPattern),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

/// Why a permission is not cleared.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClearError {
    /// None was granted.
    #[error("the user has no such permission")]
    NotGranted,
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    Unwritten(#[from] Unwritten),
}

fn check_place(register: &Register, user: &Name, vhost: &Name) -> Result<(), GrantError> {
    if !register.vhosts.contains(vhost) {
        return Err(GrantError::NoSuchVhost(vhost.clone()));
    }
    if !register.users.contains_key(user) {
        return Err(GrantError::NoSuchUser(user.clone()));
    }
    Ok(())
}

impl Broker {
    /// All permissions, by user and virtual host.
    pub fn permissions(&self) -> Vec<PermissionDefinition> {
        let register = self.catalogue.read();
        let granted = register.permissions.iter().flat_map(|(user, vhosts)| {
            vhosts.iter().map(|(vhost, permission)| PermissionDefinition {
                user: user.clone(),
                vhost: vhost.clone(),
                permission: permission.clone(),
            })
        });
        granted.collect()
    }

    /// All permissions on routing keys, by user, virtual host and exchange.
    pub fn topic_permissions(&self) -> Vec<TopicPermissionDefinition> {
        let register = self.catalogue.read();
        let granted = register.topics.iter().flat_map(|((user, vhost), exchanges)| {
            exchanges.iter().map(|(exchange, permission)| TopicPermissionDefinition {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                permission: permission.clone(),
            })
        });
        granted.collect()
    }

    /// Whether a user may enter a virtual host.
    pub fn may_enter(&self, user: &User, vhost: &Name) -> bool {
        self.catalogue.access(user, vhost).is_some()
    }

    /// Grants a permission, in place of the one before. Waits for the disk.
    pub fn grant(
        &self,
        user: &Name,
        vhost: &Name,
        permission: &Permission,
    ) -> Result<Put, GrantError> {
        for pattern in [&permission.configure, &permission.write, &permission.read] {
            check_pattern(pattern)?;
        }
        let mut put = Put::Made;
        self.catalogue.decide(|register| {
            check_place(register, user, vhost)?;
            if register.permission(user, vhost.as_str()).is_some() {
                put = Put::Changed;
            }
            let (user, vhost, permission) = (user.clone(), vhost.clone(), permission.clone());
            Ok::<_, GrantError>(vec![Change::Permission { user, vhost, permission }])
        })?;
        self.readmit(user);
        Ok(put)
    }

    /// Clears a permission: the user can't enter the virtual host any more, and who is in can't do
    /// anything. Waits for the disk.
    pub fn clear_permission(&self, user: &Name, vhost: &Name) -> Result<(), ClearError> {
        self.catalogue.decide(|register| {
            register.permission(user, vhost.as_str()).ok_or(ClearError::NotGranted)?;
            let (user, vhost) = (user.clone(), vhost.clone());
            Ok::<_, ClearError>(vec![Change::PermissionCleared { user, vhost }])
        })?;
        self.readmit(user);
        Ok(())
    }

    /// Limits a user to some routing keys at a topic exchange. Waits for the disk.
    pub fn grant_topics(
        &self,
        user: &Name,
        vhost: &Name,
        exchange: &Name,
        permission: &TopicPermission,
    ) -> Result<Put, GrantError> {
        for pattern in [&permission.write, &permission.read] {
            check_pattern(pattern)?;
        }
        let mut put = Put::Made;
        self.catalogue.decide(|register| {
            check_place(register, user, vhost)?;
            let mut granted = register.topic_permissions(user, vhost.as_str());
            if granted.any(|(name, _)| name == exchange) {
                put = Put::Changed;
            }
            Ok::<_, GrantError>(vec![Change::TopicPermission {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                permission: permission.clone(),
            }])
        })?;
        self.readmit(user);
        Ok(put)
    }

    /// Clears a user's limits to routing keys: at one exchange, or at all of a virtual host. Waits
    /// for the disk.
    pub fn clear_topics(
        &self,
        user: &Name,
        vhost: &Name,
        exchange: Option<&Name>,
    ) -> Result<(), ClearError> {
        self.catalogue.decide(|register| {
            let granted = register.topic_permissions(user, vhost.as_str()).map(|(name, _)| name);
            let cleared: Vec<Change> = granted
                .filter(|name| exchange.is_none_or(|exchange| exchange == *name))
                .map(|exchange| Change::TopicPermissionCleared {
                    user: user.clone(),
                    vhost: vhost.clone(),
                    exchange: exchange.clone(),
                })
                .collect();
            if cleared.is_empty() { Err(ClearError::NotGranted) } else { Ok(cleared) }
        })?;
        self.readmit(user);
        Ok(())
    }

    /// Gives a user's sessions the rights that the user has now.
    pub(crate) fn readmit(&self, name: &Name) {
        for hub in self.hubs() {
            hub.readmit(name, |before| {
                let user = User::inside(before.user.clone(), before.limits.clone());
                let access = self.catalogue.access(&user, &hub.name);
                access.unwrap_or_else(|| Arc::new(Access::nothing(&user)))
            });
        }
    }
}
