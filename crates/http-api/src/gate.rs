//! Who may pass: each request is stopped here until it is known whose it is, that no foreign web
//! page makes it in the user's name, and that the user may ask such a thing at all.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use broker::{Scopes, User};
use domain::name::Name;

use crate::asked::Asked;
use crate::auth;
use crate::hall::Hall;
use crate::need::Need;
use crate::peer::Peer;
use crate::problem::Problem;

/// What guards a route.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) hall: Hall,
    pub(crate) need: Need,
}

/// Whoever has passed a gate that asks for a login.
#[derive(Clone, Debug)]
pub(crate) struct Guest(pub(crate) User);

/// Lets a request through to its handler, or says why not.
pub(crate) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let asked = Asked::of(&request, gate.need);
    let admitted = admit(&gate, &mut request).await;
    let guest = asked.as_ref().and_then(|_| request.extensions().get::<Guest>());
    let guest = guest.map(|Guest(user)| user.name().clone());
    let response = match admitted {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(asked) = asked {
        asked.answered(guest.as_ref().map(Name::as_str), response.status());
    }
    response
}

async fn admit(gate: &Gate, request: &mut Request) -> Result<(), Problem> {
    check_site(request.method(), request.headers())?;
    if gate.need == Need::Nothing {
        return Ok(());
    }
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.ok_or_else(|| Problem::forbidden("nobody knows where this comes from"))?;
    let user = auth::identify(&gate.hall, request.headers(), peer.address.ip()).await?;
    check_scope(request.method(), gate.need, &user)?;
    check_tags(gate.need, &user)?;
    request.extensions_mut().insert(Guest(user));
    Ok(())
}

/// What a token is good for. Where no tag is needed, changes are a matter of the broker's
/// permissions, and it knows the token.
fn check_scope(method: &Method, need: Need, user: &User) -> Result<(), Problem> {
    let scope = match *method {
        Method::GET | Method::HEAD => Scopes::READ,
        _ if need.tags().is_empty() => return Ok(()),
        _ => Scopes::MANAGE,
    };
    if user.may(scope) {
        return Ok(());
    }
    let wanted: Vec<&str> = scope.names().collect();
    let problem = Problem::forbidden(format!("the token has no scope {}", wanted.join(", ")));
    Err(problem.remedy("make a token with that scope"))
}

fn check_tags(need: Need, user: &User) -> Result<(), Problem> {
    let tags = need.tags();
    if tags.is_empty() || tags.iter().any(|tag| user.has_tag(tag)) {
        return Ok(());
    }
    let detail = format!("user '{}' has none of the tags {}", user.name(), tags.join(", "));
    // RabbitMQ answers 401 to a user it knows too; its clients look for the word.
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "not_authorized", detail);
    Err(problem.remedy("an administrator can give the user one of them"))
}

/// A browser sends what it has of a user's credentials along with requests that any page makes.
/// Those of another site are refused where they could change something.
fn check_site(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let foreign = match text("sec-fetch-site") {
        Some(site) => !matches!(site, "same-origin" | "none"),
        None => headers.get(ORIGIN).is_some_and(|origin| {
            let origin = origin.to_str().unwrap_or_default();
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            let named = origin.split_once("://").map(|(_scheme, named)| named);
            host.is_none() || named != host
        }),
    };
    if foreign {
        let problem = Problem::forbidden("a page of another site asks for a change");
        return Err(problem.remedy("ask from a program, or from a page of this address"));
    }
    Ok(())
}

/// Says problems in the words of the API that was asked.
pub(crate) async fn speak(request: Request, next: Next) -> Response {
    let is_rabbitmqs = request.uri().path().starts_with("/api/");
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) if is_rabbitmqs => {
            let mut said = problem.as_rabbitmq();
            for (name, value) in response.headers() {
                said.headers_mut().entry(name).or_insert_with(|| value.clone());
            }
            said
        }
        Some(_) | None => response,
    }
}

impl<S: Sync> FromRequestParts<S> for Guest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Guest, Problem> {
        let guest = parts.extensions.get::<Guest>().cloned();
        // A handler that wants a user behind a gate that asks for none.
        guest.ok_or_else(|| Problem::forbidden("this needs a login"))
    }
}
