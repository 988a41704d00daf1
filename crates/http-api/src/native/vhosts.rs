//! Virtual hosts under `/v1`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use broker::Sight;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cursor::{Page, PageParameters, Part};
use super::node::Contents;
use super::queues::{self, CountsOut, RatesOut};
use crate::body::MaybeJson;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking::{self, Looker};
use crate::problem::Problem;
use crate::query::{Parameters, Places};
use crate::routes::{Need, Routes};
use crate::tenancy::vhosts::{self, NotesWish};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/vhosts", Need::Login, list_vhosts)
        .get("/v1/vhosts/{vhost}", Need::Login, get_vhost)
        .put("/v1/vhosts/{vhost}", Need::Administrator, put_vhost)
        .delete("/v1/vhosts/{vhost}", Need::Administrator, delete_vhost)
}

/// A virtual host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VhostOut {
    name: String,
    description: String,
    tags: Vec<String>,
    queues: usize,
    ready: u64,
    unacked: u64,
    counts: CountsOut,
    rates: RatesOut,
}

/// What is noted of a virtual host. What is not said stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VhostIn {
    /// What it is for.
    #[serde(default)]
    description: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

fn shown(looker: &Looker<'_>, sight: &Sight) -> VhostOut {
    let mut contents = Contents::default();
    contents.add(sight);
    let totals = sight.totals();
    let name = sight.vhost().as_str();
    let notes = looker.broker.vhost(name).map(|vhost| vhost.notes).unwrap_or_default();
    VhostOut {
        name: name.to_owned(),
        description: notes.description.into_string(),
        tags: notes.tags.iter().map(ToString::to_string).collect(),
        queues: contents.queues,
        ready: contents.ready,
        unacked: contents.unacked,
        counts: CountsOut::of(&totals.counts),
        rates: RatesOut::of(&totals.rates),
    }
}

/// Lists the virtual hosts that the user may see.
#[utoipa::path(
    get, path = "/v1/vhosts", tag = "vhosts",
    params(PageParameters),
    responses((status = 200, body = Page<VhostOut>))
)]
pub(super) async fn list_vhosts(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Response, Problem> {
    let part = Part::of(&parameters)?;
    looking::at_many(&hall, user, move |looker| {
        part.answer(
            queues::asked(looker, parameters.vhost.as_ref())?,
            |it| it.vhost().as_str(),
            |it| it.vhost().as_str().to_owned(),
            |it| shown(looker, it),
        )
    })
    .await
}

/// A virtual host.
#[utoipa::path(
    get, path = "/v1/vhosts/{vhost}", tag = "vhosts",
    params(("vhost" = String, Path)),
    responses((status = 200, body = VhostOut))
)]
pub(super) async fn get_vhost(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        looking::json(&shown(looker, &looker.sight(&vhost)?))
    })
    .await
}

/// Makes a virtual host, or notes something on the one there is. Whoever makes one may do everything
/// in it. Needs the tag `administrator`.
#[utoipa::path(
    put, path = "/v1/vhosts/{vhost}", tag = "vhosts",
    params(("vhost" = String, Path)),
    request_body(content = Option<VhostIn>),
    responses(
        (status = 201, description = "It is made"),
        (status = 204, description = "It was there, and is as asked for"),
    )
)]
pub(super) async fn put_vhost(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(vhost): Places<String>,
    MaybeJson(wish): MaybeJson<VhostIn>,
) -> Result<StatusCode, Problem> {
    let VhostIn { description, tags } = wish.unwrap_or_default();
    let wish = NotesWish {
        description: description.map(Into::into),
        tags: tags.map(|tags| tags.into_iter().map(String::into_boxed_str).collect()),
    };
    vhosts::put(&hall, user, &vhost, wish).await
}

/// Deletes a virtual host with everything in it; its connections are closed. Needs the tag
/// `administrator`.
#[utoipa::path(
    delete, path = "/v1/vhosts/{vhost}", tag = "vhosts",
    params(("vhost" = String, Path)),
    responses((status = 204, description = "It is no more"))
)]
pub(super) async fn delete_vhost(
    State(hall): State<Hall>,
    Places(vhost): Places<String>,
) -> Result<StatusCode, Problem> {
    vhosts::delete(&hall, &vhost).await
}
