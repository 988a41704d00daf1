//! Virtual hosts: `/api/vhosts`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::{Broker, CreateVhostError, DeleteVhostError, Permission, User, VhostNotes, VhostView};
use domain::name::Name;
use serde_json::{Value as Json, json};

use super::fields::Fields;
use super::users::put_status;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::{self, Places};
use crate::refusals;
use crate::routes::{Need, Routes};
use crate::waited::waited;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/api/vhosts", Need::Management, list)
        .get("/api/vhosts/{vhost}", Need::Management, one)
        .put("/api/vhosts/{vhost}", Need::Administrator, put)
        .delete("/api/vhosts/{vhost}", Need::Administrator, delete)
}

/// The virtual host of that name, or a problem.
pub(super) fn known(broker: &Broker, name: &str) -> Result<VhostView, Problem> {
    broker.vhost(name).ok_or_else(|| Problem::not_found(format!("there is no vhost '{name}'")))
}

/// Whether a user may know of a virtual host: those who watch over the node know of all.
pub(super) fn is_visible(broker: &Broker, user: &User, vhost: &Name) -> bool {
    Need::Monitoring.tags().iter().any(|tag| user.has_tag(tag)) || broker.may_enter(user, vhost)
}

fn shown(vhost: &VhostView) -> Json {
    let VhostNotes { description, tags } = &vhost.notes;
    json!({
        "name": vhost.name.as_str(),
        "description": description,
        "tags": tags[..],
        "default_queue_type": "undefined",
        "metadata": { "description": description, "tags": tags[..] },
        "tracing": false,
    })
}

async fn list(State(hall): State<Hall>, Guest(user): Guest) -> Response {
    let broker = hall.broker();
    let vhosts = broker.vhosts();
    let visible = vhosts.iter().filter(|vhost| is_visible(broker, &user, &vhost.name));
    axum::Json(visible.map(shown).collect::<Json>()).into_response()
}

async fn one(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(name): Places<String>,
) -> Result<Response, Problem> {
    let vhost = known(hall.broker(), &name)?;
    if !is_visible(hall.broker(), &user, &vhost.name) {
        return Err(Problem::forbidden(format!("the user has no permission on vhost '{name}'")));
    }
    Ok(axum::Json(shown(&vhost)).into_response())
}

/// What comes of making and noting.
enum PutVhostError {
    Create(CreateVhostError),
    Note(DeleteVhostError),
}

/// Whoever makes a virtual host gets all permissions on it.
async fn put(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(name): Places<String>,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let name = query::name(&name, "vhost")?;
    let wanted = fields.text("default_queue_type")?;
    if !matches!(wanted, None | Some("" | "undefined" | "classic")) {
        let problem = Problem::bad_request("a vhost's default queue type can't be chosen here");
        return Err(problem.field("default_queue_type").remedy("declare queues with x-queue-type"));
    }
    if fields.flag("tracing")? {
        let problem = Problem::bad_request("there is no tracing of single messages");
        return Err(problem.field("tracing"));
    }
    let notes = VhostNotes {
        description: fields.text("description")?.unwrap_or_default().into(),
        tags: fields.tags("tags")?.into(),
    };
    let is_given = ["description", "tags"].iter().any(|key| fields.get(key).is_some());
    let notes = is_given.then_some(notes);
    let make = move |broker: &Broker| {
        let put = broker.create_vhost(&name).map_err(PutVhostError::Create)?;
        if let Some(notes) = notes {
            broker.note_vhost(&name, &notes).map_err(PutVhostError::Note)?;
        }
        if put == broker::Put::Made {
            let all: Box<str> = ".*".into();
            let permission = Permission { configure: all.clone(), write: all.clone(), read: all };
            if let Err(error) = broker.grant(user.name(), &name, &permission) {
                tracing::warn!(vhost = %name, user = %user.name(), %error, "nothing was granted");
            }
        }
        Ok(put)
    };
    waited(&hall, make).await?.map(put_status).map_err(|error| match error {
        PutVhostError::Create(CreateVhostError::NoName) => {
            Problem::bad_request("a vhost's name can't be empty")
        }
        PutVhostError::Create(CreateVhostError::Unwritten(unwritten)) => {
            refusals::unwritten(&unwritten)
        }
        PutVhostError::Create(error @ CreateVhostError::Open(_)) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
        }
        PutVhostError::Note(error) => problem(&error),
    })
}

fn problem(error: &DeleteVhostError) -> Problem {
    match error {
        DeleteVhostError::NoSuchVhost(_) => Problem::not_found(error.to_string()),
        DeleteVhostError::Unwritten(unwritten) => refusals::unwritten(unwritten),
    }
}

async fn delete(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<StatusCode, Problem> {
    let name = known(hall.broker(), &name)?.name;
    let deleted = waited(&hall, move |broker| broker.delete_vhost(&name)).await?;
    deleted.map_err(|error| problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
