//! What the broker refuses, as problems: the words are the broker's, the status HTTP's.

use axum::http::StatusCode;
use broker::operation::Verb;
use broker::{Closing, ConnectRefusal, RefusalKind, Unwritten, explain};
use domain::refusal::Refusal;

use crate::problem::Problem;

/// A refused request.
pub(crate) fn refused(refusal: &Refusal, verb: Verb, vhost: &str) -> Problem {
    let (kind, words) = explain(refusal, verb, vhost);
    match kind {
        RefusalKind::NotFound => Problem::not_found(words),
        RefusalKind::AccessRefused => Problem::forbidden(words),
        RefusalKind::ResourceLocked => Problem::new(StatusCode::CONFLICT, "resource_locked", words),
        RefusalKind::PreconditionFailed => {
            Problem::new(StatusCode::BAD_REQUEST, "precondition_failed", words)
        }
        RefusalKind::NotAllowed | RefusalKind::ChannelError | RefusalKind::NotImplemented => {
            Problem::bad_request(words)
        }
    }
}

/// A virtual host that could not be entered.
pub(crate) fn turned_away(refusal: &ConnectRefusal, vhost: &str) -> Problem {
    match refusal {
        ConnectRefusal::NoSuchVhost => Problem::not_found(format!("there is no vhost '{vhost}'")),
        ConnectRefusal::NotAllowed => {
            Problem::forbidden(format!("the user has no permission on vhost '{vhost}'"))
                .remedy("an administrator can give it")
        }
        ConnectRefusal::Full(_) => unavailable(refusal.to_string()),
        ConnectRefusal::Stopping => unavailable("the broker is stopping".to_owned()),
        ConnectRefusal::Poisoned(poison) => poisoned(vhost, poison),
    }
}

/// A virtual host that was closed while something was asked of it.
pub(crate) fn closed(closing: &Closing, vhost: &str) -> Problem {
    match closing {
        Closing::Shutdown => unavailable("the broker is stopping".to_owned()),
        Closing::Poisoned(poison) => poisoned(vhost, poison),
        Closing::Deleted => Problem::not_found(format!("vhost '{vhost}' was deleted")),
        Closing::Forced(why) => unavailable(format!("somebody in charge ended this: {why}")),
    }
}

/// A change that the catalogue does not have.
pub(crate) fn unwritten(unwritten: &Unwritten) -> Problem {
    let detail = format!("the catalogue of users and vhosts can't be written: {unwritten}");
    match unwritten {
        Unwritten::Full(_) => unavailable(detail),
        Unwritten::Poisoned(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "poisoned", detail)
            .remedy("look at the disk, then start the broker anew; what was confirmed is safe"),
    }
}

fn unavailable(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(5)
}

fn poisoned(vhost: &str, why: &dyn std::fmt::Display) -> Problem {
    let detail = format!("vhost '{vhost}' takes no more writes: {why}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "poisoned", detail)
        .remedy("look at the disk, then start the broker anew; what was confirmed is safe")
}
