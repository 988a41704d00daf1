//! Virtual hosts: found, made, noted, deleted.

use axum::http::StatusCode;
use broker::{
    Broker, CreateVhostError, DeleteVhostError, Permission, Put, User, VhostNotes, VhostView,
};

use super::put_status;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query;
use crate::refusals;
use crate::waited::waited;

/// The virtual host of that name, or a problem.
pub(crate) fn known(broker: &Broker, name: &str) -> Result<VhostView, Problem> {
    broker.vhost(name).ok_or_else(|| Problem::not_found(format!("there is no vhost '{name}'")))
}

/// What is to be noted; what is not said stays as it is.
#[derive(Debug, Default)]
pub(crate) struct NotesWish {
    pub(crate) description: Option<Box<str>>,
    pub(crate) tags: Option<Vec<Box<str>>>,
}

impl NotesWish {
    fn over(self, before: VhostNotes) -> VhostNotes {
        VhostNotes {
            description: self.description.unwrap_or(before.description),
            tags: self.tags.map_or(before.tags, Into::into),
        }
    }
}

/// What comes of making and noting.
enum PutVhostError {
    Create(CreateVhostError),
    Note(DeleteVhostError),
}

/// Makes a virtual host, or notes something on the one there is. Whoever makes one gets all
/// permissions on it.
pub(crate) async fn put(
    hall: &Hall,
    user: User,
    name: &str,
    wish: NotesWish,
) -> Result<StatusCode, Problem> {
    let name = query::name(name, "vhost")?;
    let make = move |broker: &Broker| {
        let put = broker.create_vhost(&name).map_err(PutVhostError::Create)?;
        let before = broker.vhost(name.as_str()).map(|vhost| vhost.notes).unwrap_or_default();
        broker.note_vhost(&name, &wish.over(before)).map_err(PutVhostError::Note)?;
        if put == Put::Made {
            let all: Box<str> = ".*".into();
            let permission = Permission { configure: all.clone(), write: all.clone(), read: all };
            if let Err(error) = broker.grant(user.name(), &name, &permission) {
                tracing::warn!(vhost = %name, user = %user.name(), %error, "nothing was granted");
            }
        }
        Ok(put)
    };
    waited(hall, make).await?.map(put_status).map_err(|error| match error {
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

/// Deletes a virtual host with everything in it.
pub(crate) async fn delete(hall: &Hall, name: &str) -> Result<StatusCode, Problem> {
    let name = known(hall.broker(), name)?.name;
    let deleted = waited(hall, move |broker| broker.delete_vhost(&name)).await?;
    deleted.map_err(|error| problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
