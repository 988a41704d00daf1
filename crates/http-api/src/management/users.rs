//! Users: `/api/users`, `/api/whoami`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::{Credentials, DeleteUserError, Limited, OwnLimit, UserView};
use serde_json::{Value as Json, json};

use super::fields::Fields;
use crate::definitions::limits;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};
use crate::tenancy::users::{self, Proof, known};
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
    let all: Json = hall.broker().users().iter().map(|user| shown(user, &limits)).collect();
    axum::Json(all).into_response()
}

async fn without_permissions(State(hall): State<Hall>) -> Response {
    let permissions = hall.broker().permissions();
    let (all, limits) = (hall.broker().users(), hall.broker().own_limits());
    let without = all.iter().filter(|user| permissions.iter().all(|it| it.user != user.name));
    axum::Json(without.map(|user| shown(user, &limits)).collect::<Json>()).into_response()
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
    let proof = Proof {
        password: fields.text("password")?,
        hash: fields.text("password_hash")?,
        algorithm: fields.text("hashing_algorithm")?,
    };
    let credentials = proof.credentials()?.unwrap_or(Credentials::Nothing);
    fields.need(&["tags"])?;
    let tags = fields.tags("tags")?;
    users::put(&hall, &name, credentials, Some(tags)).await
}

async fn delete(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<StatusCode, Problem> {
    users::delete(&hall, &name).await
}

/// Nobody is deleted if one of them is not there.
async fn bulk_delete(State(hall): State<Hall>, fields: Fields) -> Result<StatusCode, Problem> {
    fields.need(&["users"])?;
    let mut names = Vec::new();
    for name in fields.tags("users")? {
        let known = hall.broker().user(&name);
        let known = known.ok_or_else(|| {
            Problem::bad_request(format!("there is no user '{name}'")).field("users")
        })?;
        names.push(known.name);
    }
    waited(&hall, move |broker| {
        names.iter().try_for_each(|name| match broker.delete_user(name) {
            // Somebody else was faster.
            Err(DeleteUserError::NoSuchUser(_)) => Ok(()),
            outcome => outcome,
        })
    })
    .await?
    .map_err(|error| users::delete_problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
