//! Tokens: what programs show instead of a name and a password. They are made, listed and revoked by
//! their users, and by administrators for anybody.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::{MakeTokenError, RevokeError, Scopes, TokenView, TokenWish, User};
use domain::name::Name;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::body::Json;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::problem::Problem;
use crate::query::{self, Parameters, Places};
use crate::refusals;
use crate::routes::{Need, Routes};
use crate::waited::waited;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/tokens", Need::Login, list_tokens)
        .post("/v1/tokens", Need::Login, make_token)
        .delete("/v1/tokens/{token}", Need::Login, revoke_token)
}

const ADMINISTRATOR: &str = "administrator";

/// What a token shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenIn {
    /// One of the user's own.
    name: String,
    /// For what it is good: `read`, `publish`, `consume`, or `manage`, which is everything that the
    /// user may.
    #[schema(example = json!(["publish", "read"]))]
    scopes: Vec<String>,
    /// Where it is good; wherever the user may if not said. One that is good for one virtual host
    /// only has none of the user's tags.
    #[serde(default)]
    vhost: Option<String>,
    /// How long it is good, in seconds; for ever if not said.
    #[serde(default)]
    expires_in_seconds: Option<u64>,
    /// Whose it is; only administrators may say so.
    #[serde(default)]
    user: Option<String>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenOut {
    name: String,
    user: String,
    scopes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<String>,
    /// In milliseconds since 1970.
    created_ms: u64,
    /// In milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenMade {
    /// What is to be shown, as `Authorization: Bearer` and this. It is told this once.
    secret: String,
    #[serde(flatten)]
    token: TokenOut,
}

/// Whose token.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Whose {
    /// Whose; one's own if not said.
    user: Option<String>,
}

impl From<TokenView> for TokenOut {
    fn from(view: TokenView) -> TokenOut {
        TokenOut {
            name: view.name.into(),
            user: view.user.into(),
            scopes: view.scopes.names().collect(),
            vhost: view.vhost.map(Into::into),
            created_ms: view.created_ms,
            expires_ms: view.expires_ms,
        }
    }
}

/// Whose tokens a request is about.
fn owner(user: &User, named: Option<&str>) -> Result<Name, Problem> {
    match named {
        Some(named) if *named != *user.name().as_str() => {
            if !user.has_tag(ADMINISTRATOR) {
                let problem = Problem::forbidden("others' tokens are an administrator's business");
                return Err(problem.field("user"));
            }
            query::name(named, "user")
        }
        Some(_) | None => Ok(user.name().clone()),
    }
}

/// A token must not make one that is good for more.
fn check_password(user: &User) -> Result<(), Problem> {
    if user.has_token() {
        let problem = Problem::forbidden("a token makes and revokes no tokens");
        return Err(problem.remedy("come with the user's name and password"));
    }
    Ok(())
}

/// Lists one's own tokens; all there are, to administrators.
#[utoipa::path(
    get, path = "/v1/tokens", tag = "tokens",
    responses((status = 200, body = Vec<TokenOut>))
)]
pub(super) async fn list_tokens(State(hall): State<Hall>, Guest(user): Guest) -> Response {
    let visible = |token: &TokenView| user.has_tag(ADMINISTRATOR) || token.user == *user.name();
    let tokens = hall.broker().tokens().into_iter().filter(visible);
    axum::Json(tokens.map(TokenOut::from).collect::<Vec<_>>()).into_response()
}

/// Makes a token. Its secret is told this once.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens",
    request_body = TokenIn,
    responses((status = 201, description = "It is made", body = TokenMade))
)]
pub(super) async fn make_token(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Json(wanted): Json<TokenIn>,
) -> Result<Response, Problem> {
    check_password(&user)?;
    let owner = owner(&user, wanted.user.as_deref())?;
    let name = query::name(&wanted.name, "name")?;
    let mut scopes = Scopes::default();
    for scope in &wanted.scopes {
        let known = Scopes::parse(scope).ok_or_else(|| {
            Problem::bad_request(format!("there is no scope '{scope}'"))
                .field("scopes")
                .remedy("read, publish, consume and manage are the scopes there are")
        })?;
        scopes = scopes.and(known);
    }
    let vhost = wanted.vhost.as_deref().map(|vhost| query::name(vhost, "vhost")).transpose()?;
    let lasts_ms = wanted.expires_in_seconds.map(|seconds| seconds.saturating_mul(1_000));
    let wish = TokenWish { user: owner.clone(), name: name.clone(), scopes, vhost, lasts_ms };
    let made = waited(&hall, move |broker| {
        let secret = broker.make_token(wish)?;
        let view = broker.tokens().into_iter().find(|it| it.user == owner && it.name == name);
        Ok(view.map(|view| TokenMade { secret, token: view.into() }))
    });
    let made: Option<TokenMade> = made.await?.map_err(|error: MakeTokenError| problem(&error))?;
    // One that lasts no time may be over already.
    let made = made.ok_or_else(|| Problem::bad_request("the token is over already"))?;
    Ok((StatusCode::CREATED, axum::Json(made)).into_response())
}

fn problem(error: &MakeTokenError) -> Problem {
    match error {
        MakeTokenError::NoName => Problem::bad_request(error.to_string()).field("name"),
        MakeTokenError::NoScope => Problem::bad_request(error.to_string()).field("scopes"),
        MakeTokenError::Past => Problem::bad_request(error.to_string()).field("expires_in_seconds"),
        MakeTokenError::NoSuchUser(_) => Problem::bad_request(error.to_string()).field("user"),
        MakeTokenError::NoSuchVhost(_) => Problem::bad_request(error.to_string()).field("vhost"),
        MakeTokenError::Taken(_) => {
            Problem::new(StatusCode::CONFLICT, "taken", error.to_string()).field("name")
        }
        MakeTokenError::NoEntropy => Problem::broken(),
        MakeTokenError::Unwritten(unwritten) => refusals::unwritten(unwritten),
    }
}

/// Revokes a token: nobody gets in with it any more.
#[utoipa::path(
    delete, path = "/v1/tokens/{token}", tag = "tokens",
    params(("token" = String, Path), Whose),
    responses((status = 204, description = "It is no more"))
)]
pub(super) async fn revoke_token(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Places(token): Places<String>,
    Parameters(whose): Parameters<Whose>,
) -> Result<StatusCode, Problem> {
    check_password(&user)?;
    let owner = owner(&user, whose.user.as_deref())?;
    let token = query::name(&token, "token")?;
    let revoked = waited(&hall, move |broker| broker.revoke_token(&owner, &token)).await?;
    revoked.map_err(|error| match error {
        RevokeError::NoSuchToken(_) => Problem::not_found(error.to_string()),
        RevokeError::Unwritten(unwritten) => refusals::unwritten(&unwritten),
    })?;
    Ok(StatusCode::NO_CONTENT)
}
