//! Users: found, made, changed, deleted.

use axum::http::StatusCode;
use broker::{
    Broker, Credentials, DeleteUserError, HashError, PasswordHash, PutUserError, UserView,
};

use super::put_status;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query;
use crate::refusals;
use crate::waited::waited;

/// The hash that is meant if nobody says which.
const ALGORITHM: &str = "rabbit_password_hashing_sha256";

/// What a request says of a password. An empty one, or an empty hash: nobody gets in with a password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof<'a> {
    pub(crate) password: Option<&'a str>,
    pub(crate) hash: Option<&'a str>,
    /// RabbitMQ's name for how it was hashed.
    pub(crate) algorithm: Option<&'a str>,
}

impl Proof<'_> {
    /// What is to be kept; `None` if nothing is said.
    pub(crate) fn credentials(self) -> Result<Option<Credentials>, Problem> {
        match (self.password, self.hash) {
            (Some(_), Some(_)) => {
                let problem =
                    Problem::bad_request("a user has a password or the hash of one, not both");
                Err(problem.field("password_hash").remedy("leave one of them away"))
            }
            (None, None) => Ok(None),
            (Some(""), None) | (None, Some("")) => Ok(Some(Credentials::Nothing)),
            (Some(password), None) => Ok(Some(Credentials::Password(password.as_bytes().to_vec()))),
            (None, Some(hash)) => {
                let hash = PasswordHash::import(hash, self.algorithm.unwrap_or(ALGORITHM));
                hash.map(|hash| Some(Credentials::Hash(hash))).map_err(|error: HashError| {
                    Problem::bad_request(error.to_string()).field("password_hash")
                })
            }
        }
    }
}

/// The user of that name, or a problem.
pub(crate) fn known(broker: &Broker, name: &str) -> Result<UserView, Problem> {
    broker.user(name).ok_or_else(|| Problem::not_found(format!("there is no user '{name}'")))
}

/// Makes a user, or changes the one of that name; without tags it keeps those it has.
pub(crate) async fn put(
    hall: &Hall,
    name: &str,
    credentials: Credentials,
    tags: Option<Vec<Box<str>>>,
) -> Result<StatusCode, Problem> {
    let name = query::name(name, "name")?;
    let put = move |broker: &Broker| broker.put_user(&name, credentials, tags.as_deref());
    waited(hall, put).await?.map(put_status).map_err(|error| match error {
        PutUserError::NoName => Problem::bad_request(error.to_string()),
        PutUserError::Hash(_) => Problem::broken(),
        PutUserError::Unwritten(unwritten) => refusals::unwritten(&unwritten),
    })
}

/// Deletes a user.
pub(crate) async fn delete(hall: &Hall, name: &str) -> Result<StatusCode, Problem> {
    let name = known(hall.broker(), name)?.name;
    let deleted = waited(hall, move |broker| broker.delete_user(&name)).await?;
    deleted.map_err(|error| delete_problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why a user was not deleted.
pub(crate) fn delete_problem(error: &DeleteUserError) -> Problem {
    match error {
        DeleteUserError::NoSuchUser(_) => Problem::not_found(error.to_string()),
        DeleteUserError::Unwritten(unwritten) => refusals::unwritten(unwritten),
    }
}
