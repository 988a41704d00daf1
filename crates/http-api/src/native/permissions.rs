//! What users may do, under `/v1`: permissions on names in a virtual host, and limits to routing keys.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use broker::definitions::{PermissionDefinition, TopicPermissionDefinition};
use broker::{Permission, TopicPermission};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::cursor::{Page, PageParameters, Part};
use crate::body::Json;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking;
use crate::problem::Problem;
use crate::query::{InVhost, Parameters, Places};
use crate::routes::{Need, Routes};
use crate::tenancy::permissions::{self, Whose};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/permissions", Need::Administrator, list_permissions)
        .put("/v1/permissions/{user}", Need::Administrator, put_permission)
        .delete("/v1/permissions/{user}", Need::Administrator, delete_permission)
        .get("/v1/topic-permissions", Need::Administrator, list_topic_permissions)
        .delete("/v1/topic-permissions/{user}", Need::Administrator, delete_topic_permissions)
        .put("/v1/topic-permissions/{user}/{exchange}", Need::Administrator, put_topic_permission)
        .delete(
            "/v1/topic-permissions/{user}/{exchange}",
            Need::Administrator,
            delete_topic_permission,
        )
}

/// What a user may do in a virtual host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PermissionOut {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

/// Patterns of names. An empty one matches nothing, and none is anchored unless it says so.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PermissionIn {
    /// What the user may make and delete.
    #[schema(example = "^$")]
    configure: String,
    /// Where it may publish.
    #[schema(example = ".*")]
    write: String,
    /// From where it may consume.
    #[schema(example = ".*")]
    read: String,
}

/// With which routing keys a user may publish to an exchange, and bind to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicPermissionOut {
    user: String,
    vhost: String,
    exchange: String,
    write: String,
    read: String,
}

/// Patterns of routing keys, in which `{username}` and `{vhost}` stand for the names.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicPermissionIn {
    /// With which it may publish.
    #[schema(example = "^{username}\\.")]
    write: String,
    /// With which it may bind.
    #[schema(example = ".*")]
    read: String,
}

/// Which permissions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PermissionsParameters {
    /// Only those in this virtual host.
    vhost: Option<String>,
    /// Only those of this user.
    user: Option<String>,
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Go on behind this: `next` of the page before.
    after: Option<String>,
}

impl PermissionsParameters {
    fn part(&mut self) -> Result<Part, Problem> {
        let (limit, after) = (self.limit, self.after.take());
        Part::of(&PageParameters { limit, after, ..PageParameters::default() })
    }

    fn wants(&self, user: &str, vhost: &str) -> bool {
        let is =
            |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|it| it == name);
        is(&self.user, user) && is(&self.vhost, vhost)
    }
}

fn shown(found: &PermissionDefinition) -> PermissionOut {
    let PermissionDefinition { user, vhost, permission } = found;
    let Permission { configure, write, read } = permission;
    PermissionOut {
        user: user.as_str().to_owned(),
        vhost: vhost.as_str().to_owned(),
        configure: configure.to_string(),
        write: write.to_string(),
        read: read.to_string(),
    }
}

fn shown_topic(found: &TopicPermissionDefinition) -> TopicPermissionOut {
    let TopicPermissionDefinition { user, vhost, exchange, permission } = found;
    let TopicPermission { write, read } = permission;
    TopicPermissionOut {
        user: user.as_str().to_owned(),
        vhost: vhost.as_str().to_owned(),
        exchange: exchange.as_str().to_owned(),
        write: write.to_string(),
        read: read.to_string(),
    }
}

/// Lists permissions. Needs the tag `administrator`.
#[utoipa::path(
    get, path = "/v1/permissions", tag = "users",
    params(PermissionsParameters),
    responses((status = 200, body = Page<PermissionOut>))
)]
pub(super) async fn list_permissions(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(mut wanted): Parameters<PermissionsParameters>,
) -> Result<Response, Problem> {
    let part = wanted.part()?;
    looking::at_many(&hall, user, move |looker| {
        let mut all = looker.broker.permissions();
        all.retain(|it| wanted.wants(it.user.as_str(), it.vhost.as_str()));
        part.answer(all, |it| it.user.as_str(), |it| format!("{}\0{}", it.user, it.vhost), shown)
    })
    .await
}

/// Grants a user a permission in a virtual host, in place of the one before. Needs the tag
/// `administrator`.
#[utoipa::path(
    put, path = "/v1/permissions/{user}", tag = "users",
    params(("user" = String, Path), InVhost),
    request_body(content = PermissionIn),
    responses(
        (status = 201, description = "It is granted"),
        (status = 204, description = "There was one, and it is as asked for"),
    )
)]
pub(super) async fn put_permission(
    State(hall): State<Hall>,
    Places(user): Places<String>,
    Parameters(place): Parameters<InVhost>,
    Json(wish): Json<PermissionIn>,
) -> Result<StatusCode, Problem> {
    let PermissionIn { configure, write, read } = wish;
    let permission =
        Permission { configure: configure.into(), write: write.into(), read: read.into() };
    permissions::grant(&hall, Whose { user: &user, vhost: place.name() }, permission).await
}

/// Takes from a user its permission in a virtual host: it can't enter any more, and where it is in, it
/// can't do anything. Needs the tag `administrator`.
#[utoipa::path(
    delete, path = "/v1/permissions/{user}", tag = "users",
    params(("user" = String, Path), InVhost),
    responses((status = 204, description = "It has none any more"))
)]
pub(super) async fn delete_permission(
    State(hall): State<Hall>,
    Places(user): Places<String>,
    Parameters(place): Parameters<InVhost>,
) -> Result<StatusCode, Problem> {
    permissions::clear(&hall, Whose { user: &user, vhost: place.name() }).await
}

/// Lists limits to routing keys. Needs the tag `administrator`.
#[utoipa::path(
    get, path = "/v1/topic-permissions", tag = "users",
    params(PermissionsParameters),
    responses((status = 200, body = Page<TopicPermissionOut>))
)]
pub(super) async fn list_topic_permissions(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(mut wanted): Parameters<PermissionsParameters>,
) -> Result<Response, Problem> {
    let part = wanted.part()?;
    looking::at_many(&hall, user, move |looker| {
        let mut all = looker.broker.topic_permissions();
        all.retain(|it| wanted.wants(it.user.as_str(), it.vhost.as_str()));
        part.answer(
            all,
            |it| it.user.as_str(),
            |it| format!("{}\0{}\0{}", it.user, it.vhost, it.exchange),
            shown_topic,
        )
    })
    .await
}

/// Limits a user to some routing keys at a topic exchange. Needs the tag `administrator`.
#[utoipa::path(
    put, path = "/v1/topic-permissions/{user}/{exchange}", tag = "users",
    params(("user" = String, Path), ("exchange" = String, Path), InVhost),
    request_body(content = TopicPermissionIn),
    responses(
        (status = 201, description = "It is limited"),
        (status = 204, description = "It was, and is as asked for"),
    )
)]
pub(super) async fn put_topic_permission(
    State(hall): State<Hall>,
    Places((user, exchange)): Places<(String, String)>,
    Parameters(place): Parameters<InVhost>,
    Json(TopicPermissionIn { write, read }): Json<TopicPermissionIn>,
) -> Result<StatusCode, Problem> {
    let permission = TopicPermission { write: write.into(), read: read.into() };
    let whose = Whose { user: &user, vhost: place.name() };
    permissions::grant_topics(&hall, whose, &exchange, permission).await
}

/// Lifts a user's limits to routing keys at an exchange. Needs the tag `administrator`.
#[utoipa::path(
    delete, path = "/v1/topic-permissions/{user}/{exchange}", tag = "users",
    params(("user" = String, Path), ("exchange" = String, Path), InVhost),
    responses((status = 204, description = "All routing keys are free there"))
)]
pub(super) async fn delete_topic_permission(
    State(hall): State<Hall>,
    Places((user, exchange)): Places<(String, String)>,
    Parameters(place): Parameters<InVhost>,
) -> Result<StatusCode, Problem> {
    let whose = Whose { user: &user, vhost: place.name() };
    permissions::clear_topics(&hall, whose, Some(&exchange)).await
}

/// Lifts all of a user's limits to routing keys in a virtual host. Needs the tag `administrator`.
#[utoipa::path(
    delete, path = "/v1/topic-permissions/{user}", tag = "users",
    params(("user" = String, Path), InVhost),
    responses((status = 204, description = "All routing keys are free"))
)]
pub(super) async fn delete_topic_permissions(
    State(hall): State<Hall>,
    Places(user): Places<String>,
    Parameters(place): Parameters<InVhost>,
) -> Result<StatusCode, Problem> {
    permissions::clear_topics(&hall, Whose { user: &user, vhost: place.name() }, None).await
}
