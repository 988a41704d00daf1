//! What users may do: granted and cleared.

use axum::http::StatusCode;
use broker::{Broker, ClearError, GrantError, Permission, TopicPermission};

use super::put_status;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query;
use crate::refusals;
use crate::waited::waited;

/// A user, and the virtual host in which it may do something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    pub(crate) user: &'a str,
    pub(crate) vhost: &'a str,
}

/// Nothing of the kind was granted.
pub(crate) fn not_granted() -> Problem {
    Problem::not_found("the user has no such permission")
}

fn grant_problem(error: &GrantError) -> Problem {
    match error {
        GrantError::NoSuchUser(_) | GrantError::NoSuchVhost(_) | GrantError::Pattern(_) => {
            Problem::bad_request(error.to_string())
        }
        GrantError::Unwritten(unwritten) => refusals::unwritten(unwritten),
    }
}

fn clear_problem(error: &ClearError) -> Problem {
    match error {
        ClearError::NotGranted => not_granted(),
        ClearError::Unwritten(unwritten) => refusals::unwritten(unwritten),
    }
}

/// Grants a permission.
pub(crate) async fn grant(
    hall: &Hall,
    Whose { user, vhost }: Whose<'_>,
    permission: Permission,
) -> Result<StatusCode, Problem> {
    let (user, vhost) = (query::name(user, "user")?, query::name(vhost, "vhost")?);
    let granted = waited(hall, move |broker| broker.grant(&user, &vhost, &permission)).await?;
    granted.map(put_status).map_err(|error| grant_problem(&error))
}

/// Clears one.
pub(crate) async fn clear(
    hall: &Hall,
    Whose { user, vhost }: Whose<'_>,
) -> Result<StatusCode, Problem> {
    let (user, vhost) = (query::name(user, "user")?, query::name(vhost, "vhost")?);
    let cleared = waited(hall, move |broker| broker.clear_permission(&user, &vhost)).await?;
    cleared.map_err(|error| clear_problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Limits a user to some routing keys at an exchange.
pub(crate) async fn grant_topics(
    hall: &Hall,
    Whose { user, vhost }: Whose<'_>,
    exchange: &str,
    permission: TopicPermission,
) -> Result<StatusCode, Problem> {
    let (user, vhost) = (query::name(user, "user")?, query::name(vhost, "vhost")?);
    let exchange = query::name(exchange, "exchange")?;
    let grant = move |broker: &Broker| broker.grant_topics(&user, &vhost, &exchange, &permission);
    waited(hall, grant).await?.map(put_status).map_err(|error| grant_problem(&error))
}

/// Clears such limits: at one exchange, or at all of the virtual host.
pub(crate) async fn clear_topics(
    hall: &Hall,
    Whose { user, vhost }: Whose<'_>,
    exchange: Option<&str>,
) -> Result<StatusCode, Problem> {
    let (user, vhost) = (query::name(user, "user")?, query::name(vhost, "vhost")?);
    let exchange = exchange.map(|exchange| query::name(exchange, "exchange")).transpose()?;
    let clear = move |broker: &Broker| broker.clear_topics(&user, &vhost, exchange.as_ref());
    waited(hall, clear).await?.map_err(|error| clear_problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
