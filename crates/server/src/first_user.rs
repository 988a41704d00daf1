//! Who there is at the first start: the user of the settings, or `guest` from this machine only.

use std::ffi::OsString;

use broker::{FirstUser, GUEST, Reach};
use domain::name::Name;

use crate::config::Users;

/// A default user was half given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FirstUserError {
    #[error(
        "--default-user (or RABBITMQ_DEFAULT_USER) is set, but its password is not: set \
         POSTROOM_DEFAULT_PASS"
    )]
    NoPassword,

    #[error(
        "--default-pass (or RABBITMQ_DEFAULT_PASS) is set, but no user for it: set --default-user"
    )]
    NoName,

    #[error("RABBITMQ_DEFAULT_USER is no name: it needs 1 to 255 bytes of UTF-8")]
    BadName,
}

/// RabbitMQ's names for the two settings.
const RABBITMQ_USER: &str = "RABBITMQ_DEFAULT_USER";
const RABBITMQ_PASS: &str = "RABBITMQ_DEFAULT_PASS";

/// The first user by the settings, or else by RabbitMQ's `variable`s.
pub(crate) fn choose(
    users: &Users,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<FirstUser, FirstUserError> {
    let name = match (&users.default_user, variable(RABBITMQ_USER)) {
        (Some(name), _) => Some(name.clone()),
        (None, Some(text)) => {
            let name = text.to_str().and_then(|text| Name::new(text).ok());
            Some(name.ok_or(FirstUserError::BadName)?)
        }
        (None, None) => None,
    };
    let password = match (&users.default_pass, variable(RABBITMQ_PASS)) {
        (Some(secret), _) => Some(secret.0.clone().into_bytes()),
        (None, Some(text)) => Some(text.into_encoded_bytes()),
        (None, None) => None,
    };
    match (name, password) {
        (None, None) => Ok(FirstUser::guest(Some(GUEST))),
        (Some(name), _) if name.is_empty() => Err(FirstUserError::BadName),
        (Some(name), Some(password)) => {
            Ok(FirstUser { name, password: Some(password), reach: Reach::Anywhere })
        }
        (Some(_), None) => Err(FirstUserError::NoPassword),
        (None, Some(_)) => Err(FirstUserError::NoName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DefinitionsMode, Secret};

    #[test]
    fn settings_win_over_rabbitmqs_variables_and_halves_are_refused() {
        let choose = |user: Option<&str>, pass: Option<&str>, variables: [Option<&str>; 2]| {
            let users = Users {
                default_user: user.map(|name| Name::new(name).unwrap()),
                default_pass: pass.map(|text| Secret(text.to_owned())),
                definitions: None,
                definitions_mode: DefinitionsMode::Import,
            };
            let [user, pass] = variables.map(|value| value.map(OsString::from));
            choose(&users, |name| if name == RABBITMQ_USER { user.clone() } else { pass.clone() })
                .map(|first| (first.name.to_string(), first.password.unwrap(), first.reach))
        };
        let found = |name: &str, password: &str, reach| {
            Ok((name.to_owned(), password.as_bytes().to_vec(), reach))
        };
        let none = [None, None];
        assert_eq!(choose(None, None, none), found("guest", "guest", Reach::Loopback));
        assert_eq!(choose(Some("u"), Some("p"), none), found("u", "p", Reach::Anywhere));
        let variables = [Some("v"), Some("q")];
        assert_eq!(choose(None, None, variables), found("v", "q", Reach::Anywhere));
        assert_eq!(choose(Some("u"), Some("p"), variables), found("u", "p", Reach::Anywhere));
        assert_eq!(choose(Some("u"), None, none), Err(FirstUserError::NoPassword));
        assert_eq!(choose(None, Some("p"), none), Err(FirstUserError::NoName));
        assert_eq!(choose(None, None, [Some(""), Some("p")]), Err(FirstUserError::BadName));
    }
}
