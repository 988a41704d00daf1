//! Limits of single virtual hosts and users: `/api/vhost-limits`, `/api/user-limits`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::{Limited, OwnLimit};
use domain::name::Name;
use serde_json::{Value as Json, json};

use super::fields::Fields;
use crate::definitions::limits::{max, shown};
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};
use crate::tenancy::{limits, users, vhosts};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/vhost-limits", Need::Management, of_vhosts)
        .get("/api/vhost-limits/{vhost}", Need::Management, of_vhost)
        .put("/api/vhost-limits/{vhost}/{name}", Need::Administrator, put_of_vhost)
        .delete("/api/vhost-limits/{vhost}/{name}", Need::Administrator, clear_of_vhost)
        .get("/api/user-limits", Need::Administrator, of_users)
        .get("/api/user-limits/{user}", Need::Administrator, of_user)
        .put("/api/user-limits/{user}/{name}", Need::Administrator, put_of_user)
        .delete("/api/user-limits/{user}/{name}", Need::Administrator, clear_of_user)
}

/// Those of one virtual host or user; nothing if it has none.
fn entry(limits: &[OwnLimit], key: &str, name: &Name, of: &Limited) -> Option<Json> {
    let value = shown(limits, of);
    (!value.is_empty()).then(|| json!({ key: name.as_str(), "value": value }))
}

fn vhost_entry(limits: &[OwnLimit], name: &Name) -> Option<Json> {
    entry(limits, "vhost", name, &Limited::Vhost(name.clone()))
}

fn user_entry(limits: &[OwnLimit], name: &Name) -> Option<Json> {
    entry(limits, "user", name, &Limited::User(name.clone()))
}

async fn of_vhosts(State(hall): State<Hall>, Guest(user): Guest) -> Response {
    let (broker, limits) = (hall.broker(), hall.broker().own_limits());
    let known = broker.vhosts().into_iter().map(|vhost| vhost.name);
    let seen = known.filter(|name| super::vhosts::is_visible(broker, &user, name));
    axum::Json(seen.filter_map(|name| vhost_entry(&limits, &name)).collect::<Json>())
        .into_response()
}

async fn of_vhost(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
) -> Result<Response, Problem> {
    let name = vhosts::known(hall.broker(), &vhost)?.name;
    if !super::vhosts::is_visible(hall.broker(), &user, &name) {
        return Err(Problem::forbidden(format!("the user has no permission on vhost '{name}'")));
    }
    let entry = vhost_entry(&hall.broker().own_limits(), &name);
    Ok(axum::Json(entry.into_iter().collect::<Json>()).into_response())
}

async fn of_users(State(hall): State<Hall>) -> Response {
    let limits = hall.broker().own_limits();
    let users = hall.broker().users().into_iter();
    axum::Json(users.filter_map(|user| user_entry(&limits, &user.name)).collect::<Json>())
        .into_response()
}

async fn of_user(
    State(hall): State<Hall>,
    Places(user): Places<String>,
) -> Result<Response, Problem> {
    let name = users::known(hall.broker(), &user)?.name;
    let entry = user_entry(&hall.broker().own_limits(), &name);
    Ok(axum::Json(entry.into_iter().collect::<Json>()).into_response())
}

async fn put_of_vhost(
    State(hall): State<Hall>,
    Places((vhost, name)): Places<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    put(&hall, limits::vhost(&hall, &vhost)?, &name, &fields).await
}

async fn put_of_user(
    State(hall): State<Hall>,
    Places((user, name)): Places<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    put(&hall, limits::user(&hall, &user)?, &name, &fields).await
}

async fn clear_of_vhost(
    State(hall): State<Hall>,
    Places((vhost, name)): Places<(String, String)>,
) -> Result<StatusCode, Problem> {
    let of = limits::vhost(&hall, &vhost)?;
    let kind = limits::kind(&name, &of)?;
    limits::clear(&hall, of, kind).await
}

async fn clear_of_user(
    State(hall): State<Hall>,
    Places((user, name)): Places<(String, String)>,
) -> Result<StatusCode, Problem> {
    let of = limits::user(&hall, &user)?;
    let kind = limits::kind(&name, &of)?;
    limits::clear(&hall, of, kind).await
}

async fn put(hall: &Hall, of: Limited, name: &str, fields: &Fields) -> Result<StatusCode, Problem> {
    let kind = limits::kind(name, &of)?;
    fields.need(&["value"])?;
    let max = fields.0.get("value").and_then(max).ok_or_else(|| {
        Problem::bad_request("value: a limit is a whole number below 2^32")
            .remedy("give how many there may be, or -1 for as many as come")
    })?;
    limits::put(hall, of, kind, max).await
}
