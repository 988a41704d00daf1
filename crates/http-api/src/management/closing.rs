//! Closing others' connections.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use broker::User;

use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::{self, Places};
use crate::routes::{Need, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.delete("/api/connections/{name}", Need::Management, close).delete(
        "/api/connections/username/{user}",
        Need::Management,
        close_user,
    )
}

const ADMINISTRATOR: &str = "administrator";

/// Whoever closes may say why.
fn reason(headers: &HeaderMap) -> String {
    let said = headers.get("x-reason").and_then(|value| value.to_str().ok());
    said.unwrap_or("Closed via management plugin").to_owned()
}

fn check_whose(user: &User, whose: &str) -> Result<(), Problem> {
    if *user.name().as_str() == *whose || user.has_tag(ADMINISTRATOR) {
        return Ok(());
    }
    Err(Problem::forbidden("others' connections are closed by administrators"))
}

async fn close(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(name): Places<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let connection = hall.broker().connection(&name);
    let connection =
        connection.ok_or_else(|| Problem::not_found(format!("there is no connection '{name}'")))?;
    check_whose(&user, connection.user.as_str())?;
    hall.broker().close_connection(&connection, &reason(&headers));
    Ok(StatusCode::NO_CONTENT)
}

async fn close_user(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(whose): Places<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let whose = query::name(&whose, "user")?;
    let reason = reason(&headers);
    let mut connections = hall.broker().connections();
    connections.retain(|connection| connection.user == whose);
    if !connections.is_empty() {
        check_whose(&user, whose.as_str())?;
    }
    for connection in connections {
        hall.broker().close_connection(&connection, &reason);
    }
    Ok(StatusCode::NO_CONTENT)
}
