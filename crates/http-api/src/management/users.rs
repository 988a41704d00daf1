//! Users: `/api/users`, `/api/whoami`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::{
    Broker, Credentials, DeleteUserError, HashError, Limited, OwnLimit, PasswordHash, Put,
    PutUserError, UserView,
};
use serde_json::{Value as Json, json};

use super::fields::Fields;
use crate::definitions::limits;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::{self, Places};
use crate::refusals;
use crate::routes::{Need, Routes};
use crate::waited::waited;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/whoami", Need::Management, whoami)
        .get("/api/users", Need::Administrator, list)
        .get("/api/users/without-permissions", Need::Administrator, without_permissions)
        .post("/api/users/bulk-delete", Need::Administrator, bulk_delete)
        .get("/api/users/{user}", Need::Administrator, one)
        .put("/api/users/{user}", Need::Administrator, put)
        .delete("/api/users/{user}", Need::Administrator, delete)
}

async fn whoami(Guest(user): Guest) -> Response {
    axum::Json(json!({ "name": user.name().as_str(), "tags": user.tags() })).into_response()
}

fn shown(user: &UserView, limits: &[OwnLimit]) -> Json {
    let (hash, algorithm) = user.password.export();
    json!({
        "name": user.name.as_str(),
        "password_hash": hash,
        "hashing_algorithm": algorithm,
        "tags": user.tags[..],
        "limits": limits::shown(limits, &Limited::User(user.name.clone())),
    })
}

async fn list(State(hall): State<Hall>) -> Response {
    let limits = hall.broker().own_limits();
    let users: Json = hall.broker().users().iter().map(|user| shown(user, &limits)).collect();
    axum::Json(users).into_response()
}

async fn without_permissions(State(hall): State<Hall>) -> Response {
    let permissions = hall.broker().permissions();
    let (users, limits) = (hall.broker().users(), hall.broker().own_limits());
    let without = users.iter().filter(|user| permissions.iter().all(|it| it.user != user.name));
    axum::Json(without.map(|user| shown(user, &limits)).collect::<Json>()).into_response()
}

/// The user of that name, or a problem.
pub(super) fn known(broker: &Broker, name: &str) -> Result<UserView, Problem> {
    broker.user(name).ok_or_else(|| Problem::not_found(format!("there is no user '{name}'")))
}

async fn one(State(hall): State<Hall>, Places(name): Places<String>) -> Result<Response, Problem> {
    Ok(axum::Json(shown(&known(hall.broker(), &name)?, &hall.broker().own_limits()))
        .into_response())
}

async fn put(
    State(hall): State<Hall>,
    Places(name): Places<String>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let name = query::name(&name, "name")?;
    let credentials = credentials(&fields)?;
    fields.need(&["tags"])?;
    let tags = fields.tags("tags")?;
    let put = waited(&hall, move |broker| broker.put_user(&name, credentials, &tags)).await?;
    put.map(put_status).map_err(|error| match error {
        PutUserError::NoName => Problem::bad_request(error.to_string()),
        PutUserError::Hash(_) => Problem::broken(),
        PutUserError::Unwritten(unwritten) => refusals::unwritten(&unwritten),
    })
}

/// What a PUT is answered with.
pub(super) fn put_status(put: Put) -> StatusCode {
    match put {
        Put::Made => StatusCode::CREATED,
        Put::Changed => StatusCode::NO_CONTENT,
    }
}

fn credentials(fields: &Fields) -> Result<Credentials, Problem> {
    let (password, hash) = (fields.text("password")?, fields.text("password_hash")?);
    match (password, hash) {
        (Some(_), Some(_)) => {
            let problem =
                Problem::bad_request("a user has a password or the hash of one, not both");
            Err(problem.field("password_hash").remedy("leave one of them away"))
        }
        (Some(""), None) | (None, Some("") | None) => Ok(Credentials::Nothing),
        (Some(password), None) => Ok(Credentials::Password(password.as_bytes().to_vec())),
        (None, Some(hash)) => {
            let algorithm = fields.text("hashing_algorithm")?;
            let algorithm = algorithm.unwrap_or("rabbit_password_hashing_sha256");
            let hash = PasswordHash::import(hash, algorithm);
            hash.map(Credentials::Hash).map_err(|error: HashError| {
                Problem::bad_request(error.to_string()).field("password_hash")
            })
        }
    }
}

fn delete_problem(error: &DeleteUserError) -> Problem {
    match error {
        DeleteUserError::NoSuchUser(_) => Problem::not_found(error.to_string()),
        DeleteUserError::Unwritten(unwritten) => refusals::unwritten(unwritten),
    }
}

async fn delete(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<StatusCode, Problem> {
    let name = known(hall.broker(), &name)?.name;
    let deleted = waited(&hall, move |broker| broker.delete_user(&name)).await?;
    deleted.map_err(|error| delete_problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Nobody is deleted if one of them is not there.
async fn bulk_delete(State(hall): State<Hall>, fields: Fields) -> Result<StatusCode, Problem> {
    fields.need(&["users"])?;
    let mut users = Vec::new();
    for name in fields.tags("users")? {
        let known = hall.broker().user(&name);
        let known = known.ok_or_else(|| {
            Problem::bad_request(format!("there is no user '{name}'")).field("users")
        })?;
        users.push(known.name);
    }
    waited(&hall, move |broker| {
        users.iter().try_for_each(|name| match broker.delete_user(name) {
            // Somebody else was faster.
            Err(DeleteUserError::NoSuchUser(_)) => Ok(()),
            outcome => outcome,
        })
    })
    .await?
    .map_err(|error| delete_problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
