//! Health, for those who only want to know whether to restart the broker or to send it traffic:
//! liveness, readiness, alarms. Nobody needs a name to ask, and nobody learns anything else.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::hall::Hall;
use crate::problem::Problem;
use crate::routes::{Need, Routes};

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/health/live", Need::Nothing, live).get("/health/ready", Need::Nothing, ready).get(
        "/health/alarms",
        Need::Nothing,
        alarms,
    )
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

const OK: Health = Health { status: "ok" };

/// The process answers.
async fn live() -> Response {
    axum::Json(OK).into_response()
}

/// Clients can be served: a virtual host that can't write makes the node unready.
async fn ready(State(hall): State<Hall>) -> Response {
    match hall.broker().poisoned() {
        None => axum::Json(OK).into_response(),
        Some((vhost, poison)) => {
            let detail = format!("vhost '{vhost}' takes no more writes: {poison}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "poisoned", detail)
                .remedy("look at the disk, then start the broker anew; what was confirmed is safe")
                .into_response()
        }
    }
}

/// No alarm is raised: publishers are not blocked.
async fn alarms(State(hall): State<Hall>) -> Response {
    let raised = hall.broker().alarms();
    if raised.are_clear() {
        return axum::Json(OK).into_response();
    }
    let detail = format!("publishers are blocked: low on {raised}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "alarm", detail)
        .remedy("free memory or disk space, or let consumers drain the queues")
        .into_response()
}
