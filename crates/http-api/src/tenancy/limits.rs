//! Limits of single virtual hosts and users: set and cleared.

use axum::http::StatusCode;
use broker::{LimitKind, Limited, Max, OwnLimit, SetLimitError};

use super::{users, vhosts};
use crate::hall::Hall;
use crate::problem::Problem;
use crate::refusals;
use crate::waited::waited;

/// The virtual host of that name, to be limited.
pub(crate) fn vhost(hall: &Hall, name: &str) -> Result<Limited, Problem> {
    Ok(Limited::Vhost(vhosts::known(hall.broker(), name)?.name))
}

/// The user of that name, to be limited.
pub(crate) fn user(hall: &Hall, name: &str) -> Result<Limited, Problem> {
    Ok(Limited::User(users::known(hall.broker(), name)?.name))
}

/// The limit that is called so.
pub(crate) fn kind(name: &str, of: &Limited) -> Result<LimitKind, Problem> {
    LimitKind::named(name, of).ok_or_else(|| match of {
        Limited::Vhost(_) => Problem::bad_request(format!("there is no limit '{name}' of vhosts"))
            .remedy("limit max-connections or max-queues"),
        Limited::User(_) => Problem::bad_request(format!("there is no limit '{name}' of users"))
            .remedy("limit max-connections or max-channels"),
    })
}

/// Sets one, in place of what there was.
pub(crate) async fn put(
    hall: &Hall,
    of: Limited,
    kind: LimitKind,
    max: Max,
) -> Result<StatusCode, Problem> {
    let limit = OwnLimit { of, kind, max };
    told(waited(hall, move |broker| broker.set_own_limit(&limit)).await?)
}

/// Clears one, if it is set.
pub(crate) async fn clear(
    hall: &Hall,
    of: Limited,
    kind: LimitKind,
) -> Result<StatusCode, Problem> {
    told(waited(hall, move |broker| broker.clear_own_limit(&of, kind)).await?)
}

fn told(done: Result<(), SetLimitError>) -> Result<StatusCode, Problem> {
    match done {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(SetLimitError::Unwritten(unwritten)) => Err(refusals::unwritten(&unwritten)),
        Err(error @ (SetLimitError::NoSuchVhost(_) | SetLimitError::NoSuchUser(_))) => {
            Err(Problem::not_found(error.to_string()))
        }
    }
}
