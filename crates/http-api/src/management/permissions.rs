//! What users may do: `/api/permissions`, `/api/topic-permissions`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::definitions::{PermissionDefinition, TopicPermissionDefinition};
use broker::{Permission, TopicPermission};
use serde_json::{Value as Json, json};

use super::fields::Fields;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};
use crate::tenancy::permissions::{self, Whose, not_granted};
use crate::tenancy::{users, vhosts};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/permissions", Need::Administrator, list)
        .get("/api/permissions/{vhost}/{user}", Need::Administrator, one)
        .put("/api/permissions/{vhost}/{user}", Need::Administrator, put)
        .delete("/api/permissions/{vhost}/{user}", Need::Administrator, delete)
        .get("/api/users/{user}/permissions", Need::Administrator, of_user)
        .get("/api/vhosts/{vhost}/permissions", Need::Administrator, of_vhost)
        .get("/api/topic-permissions", Need::Administrator, list_topics)
        .get("/api/topic-permissions/{vhost}/{user}", Need::Administrator, topics)
        .put("/api/topic-permissions/{vhost}/{user}", Need::Administrator, put_topics)
        .delete("/api/topic-permissions/{vhost}/{user}", Need::Administrator, delete_topics)
        .delete(
            "/api/topic-permissions/{vhost}/{user}/{exchange}",
            Need::Administrator,
            delete_topic,
        )
        .get("/api/users/{user}/topic-permissions", Need::Administrator, topics_of_user)
        .get("/api/vhosts/{vhost}/topic-permissions", Need::Administrator, topics_of_vhost)
}

fn shown(found: &PermissionDefinition) -> Json {
    let PermissionDefinition { user, vhost, permission } = found;
    let Permission { configure, write, read } = permission;
    json!({
        "user": user.as_str(), "vhost": vhost.as_str(),
        "configure": configure, "write": write, "read": read,
    })
}

fn shown_topic(found: &TopicPermissionDefinition) -> Json {
    let TopicPermissionDefinition { user, vhost, exchange, permission } = found;
    let TopicPermission { write, read } = permission;
    json!({
        "user": user.as_str(), "vhost": vhost.as_str(), "exchange": exchange.as_str(),
        "write": write, "read": read,
    })
}

fn those(hall: &Hall, wanted: impl Fn(&PermissionDefinition) -> bool) -> Vec<Json> {
    hall.broker().permissions().iter().filter(|it| wanted(it)).map(shown).collect()
}

fn those_topics(hall: &Hall, wanted: impl Fn(&TopicPermissionDefinition) -> bool) -> Vec<Json> {
    hall.broker().topic_permissions().iter().filter(|it| wanted(it)).map(shown_topic).collect()
}

async fn list(State(hall): State<Hall>) -> Response {
    axum::Json(those(&hall, |_| true)).into_response()
}

async fn of_user(
    State(hall): State<Hall>,
    Places(user): Places<String>,
) -> Result<Response, Problem> {
    let user = users::known(hall.broker(), &user)?.name;
    Ok(axum::Json(those(&hall, |it| it.user == user)).into_response())
}

async fn of_vhost(
    State(hall): State<Hall>,
    Places(vhost): Places<String>,
) -> Result<Response, Problem> {
    let vhost = vhosts::known(hall.broker(), &vhost)?.name;
    Ok(axum::Json(those(&hall, |it| it.vhost == vhost)).into_response())
}

async fn one(
    State(hall): State<Hall>,
    Places((vhost, user)): Places<(String, String)>,
) -> Result<Response, Problem> {
    let found = those(&hall, |it| *it.vhost.as_str() == *vhost && *it.user.as_str() == *user).pop();
    Ok(axum::Json(found.ok_or_else(not_granted)?).into_response())
}

async fn put(
    State(hall): State<Hall>,
    Places((vhost, user)): Places<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let permission = Permission {
        configure: fields.needed_text("configure")?.into(),
        write: fields.needed_text("write")?.into(),
        read: fields.needed_text("read")?.into(),
    };
    permissions::grant(&hall, Whose { user: &user, vhost: &vhost }, permission).await
}

async fn delete(
    State(hall): State<Hall>,
    Places((vhost, user)): Places<(String, String)>,
) -> Result<StatusCode, Problem> {
    permissions::clear(&hall, Whose { user: &user, vhost: &vhost }).await
}

async fn list_topics(State(hall): State<Hall>, _guest: Guest) -> Response {
    axum::Json(those_topics(&hall, |_| true)).into_response()
}

async fn topics_of_user(
    State(hall): State<Hall>,
    Places(user): Places<String>,
) -> Result<Response, Problem> {
    let user = users::known(hall.broker(), &user)?.name;
    Ok(axum::Json(those_topics(&hall, |it| it.user == user)).into_response())
}

async fn topics_of_vhost(
    State(hall): State<Hall>,
    Places(vhost): Places<String>,
) -> Result<Response, Problem> {
    let vhost = vhosts::known(hall.broker(), &vhost)?.name;
    Ok(axum::Json(those_topics(&hall, |it| it.vhost == vhost)).into_response())
}

async fn topics(
    State(hall): State<Hall>,
    Places((vhost, user)): Places<(String, String)>,
) -> Result<Response, Problem> {
    let wanted =
        |it: &TopicPermissionDefinition| *it.vhost.as_str() == *vhost && *it.user.as_str() == *user;
    let found = those_topics(&hall, wanted);
    if found.is_empty() { Err(not_granted()) } else { Ok(axum::Json(found).into_response()) }
}

async fn put_topics(
    State(hall): State<Hall>,
    Places((vhost, user)): Places<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let exchange = fields.needed_text("exchange")?;
    let permission = TopicPermission {
        write: fields.needed_text("write")?.into(),
        read: fields.needed_text("read")?.into(),
    };
    let whose = Whose { user: &user, vhost: &vhost };
    permissions::grant_topics(&hall, whose, exchange, permission).await
}

async fn delete_topics(
    State(hall): State<Hall>,
    Places((vhost, user)): Places<(String, String)>,
) -> Result<StatusCode, Problem> {
    permissions::clear_topics(&hall, Whose { user: &user, vhost: &vhost }, None).await
}

async fn delete_topic(
    State(hall): State<Hall>,
    Places((vhost, user, exchange)): Places<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    permissions::clear_topics(&hall, Whose { user: &user, vhost: &vhost }, Some(&exchange)).await
}
