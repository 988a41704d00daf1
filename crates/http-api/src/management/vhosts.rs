//! Virtual hosts: `/api/vhosts`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use broker::{Broker, User, VhostNotes, VhostView};
use domain::name::Name;
use serde::Serialize;

use super::depths::{self, Depths};
use super::fields::Fields;
use super::listing::{Detail, Wish};
use super::message_stats::MessageStats;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking::{self, Looker};
use crate::problem::Problem;
use crate::query::Places;
use crate::routes::{Need, Routes};
use crate::tenancy::vhosts::{self, NotesWish, known};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/vhosts", Need::Management, list)
        .get("/api/vhosts/{vhost}", Need::Management, one)
        .put("/api/vhosts/{vhost}", Need::Administrator, put)
        .delete("/api/vhosts/{vhost}", Need::Administrator, delete)
}

/// Whether a user may know of a virtual host.
pub(super) fn is_visible(broker: &Broker, user: &User, vhost: &Name) -> bool {
    Looker { broker, user }.sees(vhost)
}

/// A virtual host.
#[derive(Serialize)]
struct VhostOut<'a> {
    name: &'a str,
    description: &'a str,
    tags: &'a [Box<str>],
    default_queue_type: &'static str,
    metadata: Metadata<'a>,
    tracing: bool,
    cluster_state: ClusterState,
    #[serde(flatten)]
    stats: Option<Stats>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    description: &'a str,
    tags: &'a [Box<str>],
}

/// How it is at each node.
#[derive(Serialize)]
struct ClusterState {
    postroom: &'static str,
}

#[derive(Serialize)]
struct Stats {
    #[serde(flatten)]
    depths: Depths,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<MessageStats>,
}

fn shown<'a>(broker: &Broker, vhost: &'a VhostView, detail: Detail) -> VhostOut<'a> {
    let VhostNotes { description, tags } = &vhost.notes;
    let sight = (detail == Detail::Everything).then(|| broker.sight(vhost.name.as_str()));
    let stats = sight.flatten().map(|sight| {
        let sights = [sight];
        Stats { depths: Depths::of(&sights), message_stats: depths::message_stats(&sights) }
    });
    VhostOut {
        name: vhost.name.as_str(),
        description,
        tags,
        default_queue_type: "undefined",
        metadata: Metadata { description, tags },
        tracing: false,
        cluster_state: ClusterState { postroom: "running" },
        stats,
    }
}

async fn list(
    State(hall): State<Hall>,
    Guest(user): Guest,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_many(&hall, user, move |looker| {
        let mut seen = looker.broker.vhosts();
        seen.retain(|vhost| looker.sees(&vhost.name));
        wish.answer(
            seen.iter().collect(),
            |it: &&VhostView| it.name.as_str(),
            |it| shown(looker.broker, it, wish.detail),
        )
    })
    .await
}

async fn one(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(name): Places<String>,
    wish: Wish,
) -> Result<Response, Problem> {
    looking::at_one(&hall, user, move |looker| {
        let vhost = known(looker.broker, &name)?;
        if !looker.sees(&vhost.name) {
            let detail = format!("the user has no permission on vhost '{name}'");
            return Err(Problem::forbidden(detail));
        }
        wish.show(&shown(looker.broker, &vhost, wish.detail))
    })
    .await
}

async fn put(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(name): Places<String>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let wanted = fields.text("default_queue_type")?;
    if !matches!(wanted, None | Some("" | "undefined" | "classic")) {
        let problem = Problem::bad_request("a vhost's default queue type can't be chosen here");
        return Err(problem.field("default_queue_type").remedy("declare queues with x-queue-type"));
    }
    if fields.flag("tracing")? {
        let problem = Problem::bad_request("there is no tracing of single messages");
        return Err(problem.field("tracing"));
    }
    // Whoever says one of them says both.
    let is_given = ["description", "tags"].iter().any(|key| fields.get(key).is_some());
    let wish = NotesWish {
        description: is_given.then_some(fields.text("description")?.unwrap_or_default().into()),
        tags: is_given.then_some(fields.tags("tags")?),
    };
    vhosts::put(&hall, user, &name, wish).await
}

async fn delete(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<StatusCode, Problem> {
    vhosts::delete(&hall, &name).await
}
