//! Limits of single virtual hosts and users under `/v1`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use broker::{Limited, OwnLimit};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::cursor::{Page, PageParameters, Part};
use crate::body::Json;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking;
use crate::problem::Problem;
use crate::query::{Parameters, Places};
use crate::routes::{Need, Routes};
use crate::tenancy::limits;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/vhost-limits", Need::Login, list_vhost_limits)
        .put("/v1/vhost-limits/{vhost}/{limit}", Need::Administrator, put_vhost_limit)
        .delete("/v1/vhost-limits/{vhost}/{limit}", Need::Administrator, clear_vhost_limit)
        .get("/v1/user-limits", Need::Administrator, list_user_limits)
        .put("/v1/user-limits/{user}/{limit}", Need::Administrator, put_user_limit)
        .delete("/v1/user-limits/{user}/{limit}", Need::Administrator, clear_user_limit)
}

/// A limit of a virtual host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VhostLimitOut {
    vhost: String,
    /// `max-connections` or `max-queues`.
    limit: &'static str,
    /// How many there may be; `null`: as many as come, whatever the setting for all says.
    #[schema(required = true)]
    max: Option<u32>,
}

/// A limit of a user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserLimitOut {
    user: String,
    /// `max-connections` or `max-channels`.
    limit: &'static str,
    /// How many there may be; `null`: as many as come, whatever the setting for all says.
    #[schema(required = true)]
    max: Option<u32>,
}

/// What a limit shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitIn {
    /// How many there may be from now on; `null`: as many as come, whatever the setting for all says.
    // Said in any case: a word that is missing must not lift a limit.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required = true)]
    max: Option<u32>,
}

/// Which limits of virtual hosts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VhostLimitsParameters {
    /// Only those of this virtual host.
    vhost: Option<String>,
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Go on behind this: `next` of the page before.
    after: Option<String>,
}

/// Which limits of users.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UserLimitsParameters {
    /// Only those of this user.
    user: Option<String>,
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Go on behind this: `next` of the page before.
    after: Option<String>,
}

fn name(limit: &OwnLimit) -> &str {
    match &limit.of {
        Limited::Vhost(name) | Limited::User(name) => name.as_str(),
    }
}

fn answer<S: Serialize>(
    part: &Part,
    mut limits: Vec<OwnLimit>,
    wanted: Option<&str>,
    show: impl Fn(&OwnLimit) -> S,
) -> Result<Response, Problem> {
    limits.retain(|it| wanted.is_none_or(|wanted| wanted == name(it)));
    part.answer(limits, name, |it| format!("{}\0{}", name(it), it.kind.as_str()), show)
}

/// Lists the limits of the virtual hosts that the user may see. Those that stand in no list have what
/// the settings say for all.
#[utoipa::path(
    get, path = "/v1/vhost-limits", tag = "vhosts",
    params(VhostLimitsParameters),
    responses((status = 200, body = Page<VhostLimitOut>))
)]
pub(super) async fn list_vhost_limits(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<VhostLimitsParameters>,
) -> Result<Response, Problem> {
    let VhostLimitsParameters { vhost, limit, after } = parameters;
    let part = Part::of(&PageParameters { limit, after, ..PageParameters::default() })?;
    looking::at_many(&hall, user, move |looker| {
        let mut seen = looker.broker.own_limits();
        seen.retain(|it| matches!(&it.of, Limited::Vhost(vhost) if looker.sees(vhost)));
        answer(&part, seen, vhost.as_deref(), |it| VhostLimitOut {
            vhost: name(it).to_owned(),
            limit: it.kind.as_str(),
            max: it.max,
        })
    })
    .await
}

/// Limits a virtual host: `max-connections` or `max-queues`. Who is in already stays, and so does what
/// is there. Needs the tag `administrator`.
#[utoipa::path(
    put, path = "/v1/vhost-limits/{vhost}/{limit}", tag = "vhosts",
    params(("vhost" = String, Path), ("limit" = String, Path)),
    request_body(content = LimitIn),
    responses((status = 204, description = "It counts from now on"))
)]
pub(super) async fn put_vhost_limit(
    State(hall): State<Hall>,
    Places((vhost, limit)): Places<(String, String)>,
    Json(wish): Json<LimitIn>,
) -> Result<StatusCode, Problem> {
    let of = limits::vhost(&hall, &vhost)?;
    let kind = limits::kind(&limit, &of)?;
    limits::put(&hall, of, kind, wish.max).await
}

/// Clears a limit of a virtual host: what the settings say for all holds again. Needs the tag
/// `administrator`.
#[utoipa::path(
    delete, path = "/v1/vhost-limits/{vhost}/{limit}", tag = "vhosts",
    params(("vhost" = String, Path), ("limit" = String, Path)),
    responses((status = 204, description = "It is not set any more, if it was"))
)]
pub(super) async fn clear_vhost_limit(
    State(hall): State<Hall>,
    Places((vhost, limit)): Places<(String, String)>,
) -> Result<StatusCode, Problem> {
    let of = limits::vhost(&hall, &vhost)?;
    let kind = limits::kind(&limit, &of)?;
    limits::clear(&hall, of, kind).await
}

/// Lists the limits of users. Needs the tag `administrator`.
#[utoipa::path(
    get, path = "/v1/user-limits", tag = "users",
    params(UserLimitsParameters),
    responses((status = 200, body = Page<UserLimitOut>))
)]
pub(super) async fn list_user_limits(
    State(hall): State<Hall>,
    Guest(guest): Guest,
    Parameters(parameters): Parameters<UserLimitsParameters>,
) -> Result<Response, Problem> {
    let UserLimitsParameters { user, limit, after } = parameters;
    let part = Part::of(&PageParameters { limit, after, ..PageParameters::default() })?;
    looking::at_many(&hall, guest, move |looker| {
        let mut seen = looker.broker.own_limits();
        seen.retain(|it| matches!(it.of, Limited::User(_)));
        answer(&part, seen, user.as_deref(), |it| UserLimitOut {
            user: name(it).to_owned(),
            limit: it.kind.as_str(),
            max: it.max,
        })
    })
    .await
}

/// Limits a user: `max-connections`, or `max-channels` over all its connections. What is open stays.
/// Needs the tag `administrator`.
#[utoipa::path(
    put, path = "/v1/user-limits/{user}/{limit}", tag = "users",
    params(("user" = String, Path), ("limit" = String, Path)),
    request_body(content = LimitIn),
    responses((status = 204, description = "It counts from now on"))
)]
pub(super) async fn put_user_limit(
    State(hall): State<Hall>,
    Places((user, limit)): Places<(String, String)>,
    Json(wish): Json<LimitIn>,
) -> Result<StatusCode, Problem> {
    let of = limits::user(&hall, &user)?;
    let kind = limits::kind(&limit, &of)?;
    limits::put(&hall, of, kind, wish.max).await
}

/// Clears a limit of a user: what the settings say for all holds again. Needs the tag `administrator`.
#[utoipa::path(
    delete, path = "/v1/user-limits/{user}/{limit}", tag = "users",
    params(("user" = String, Path), ("limit" = String, Path)),
    responses((status = 204, description = "It is not set any more, if it was"))
)]
pub(super) async fn clear_user_limit(
    State(hall): State<Hall>,
    Places((user, limit)): Places<(String, String)>,
) -> Result<StatusCode, Problem> {
    let of = limits::user(&hall, &user)?;
    let kind = limits::kind(&limit, &of)?;
    limits::clear(&hall, of, kind).await
}
