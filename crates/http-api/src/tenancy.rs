//! Tenants: users, what they may do, and virtual hosts. What both APIs do with them alike, and what
//! they say when it can't be done.

pub(crate) mod limits;
pub(crate) mod permissions;
pub(crate) mod users;
pub(crate) mod vhosts;

use axum::http::StatusCode;
use broker::Put;

/// What a PUT is answered with.
pub(crate) fn put_status(put: Put) -> StatusCode {
    match put {
        Put::Made => StatusCode::CREATED,
        Put::Changed => StatusCode::NO_CONTENT,
    }
}
