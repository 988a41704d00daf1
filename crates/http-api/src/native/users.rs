//! Users under `/v1`. Of passwords nothing is told but whether there is one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use broker::{Credentials, PasswordHash, Reach, UserView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::cursor::{Page, PageParameters, Part};
use crate::body::MaybeJson;
use crate::gate::Guest;
use crate::hall::Hall;
use crate::looking;
use crate::problem::Problem;
use crate::query::{Parameters, Places};
use crate::routes::{Need, Routes};
use crate::tenancy::users::{self, Proof};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/v1/whoami", Need::Login, whoami)
        .get("/v1/users", Need::Administrator, list_users)
        .get("/v1/users/{user}", Need::Administrator, get_user)
        .put("/v1/users/{user}", Need::Administrator, put_user)
        .delete("/v1/users/{user}", Need::Administrator, delete_user)
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhoamiOut {
    name: String,
    /// What counts of the user's tags: a token for one virtual host has none.
    tags: Vec<String>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserOut {
    name: String,
    tags: Vec<String>,
    /// Whether anybody can log in with a password.
    has_password: bool,
    /// Whether the user may come from the broker's own machine only.
    only_from_this_machine: bool,
}

/// What a user shall be. What is not said stays as it is; a new user has no password then, and no
/// tags.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserIn {
    /// The password; with an empty one nobody logs in with a password.
    #[serde(default)]
    password: Option<String>,
    /// In place of the password: its hash, as RabbitMQ writes it.
    #[serde(default)]
    password_hash: Option<String>,
    /// How that was hashed, in RabbitMQ's words; `rabbit_password_hashing_sha256` if not said.
    #[serde(default)]
    hashing_algorithm: Option<String>,
    /// What the user may ask for over HTTP: `management`, `policymaker`, `monitoring`,
    /// `administrator`; and `impersonator`. Others mean nothing.
    #[serde(default)]
    #[schema(example = json!(["monitoring"]))]
    tags: Option<Vec<String>>,
}

/// Which part of the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsersParameters {
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// Go on behind this: `next` of the page before.
    after: Option<String>,
    /// Only those whose name begins with this.
    name: Option<String>,
    /// Only those whose name matches this regular expression somewhere.
    pattern: Option<String>,
}

fn shown(view: &UserView) -> UserOut {
    UserOut {
        name: view.name.as_str().to_owned(),
        tags: view.tags.iter().map(ToString::to_string).collect(),
        has_password: view.password != PasswordHash::nothing(),
        only_from_this_machine: view.reach == Reach::Loopback,
    }
}

/// Says who asks.
#[utoipa::path(
    get, path = "/v1/whoami", tag = "users",
    responses((status = 200, body = WhoamiOut))
)]
pub(super) async fn whoami(Guest(user): Guest) -> Response {
    let known = ["administrator", "impersonator", "management", "monitoring", "policymaker"];
    let counts = |tag: &&str| user.has_tag(tag) || !known.contains(tag);
    let tags = user.tags().iter().map(|tag| &**tag).filter(counts).map(str::to_owned).collect();
    axum::Json(WhoamiOut { name: user.name().as_str().to_owned(), tags }).into_response()
}

/// Lists the users. Needs the tag `administrator`.
#[utoipa::path(
    get, path = "/v1/users", tag = "users",
    params(UsersParameters),
    responses((status = 200, body = Page<UserOut>))
)]
pub(super) async fn list_users(
    State(hall): State<Hall>,
    Guest(user): Guest,
    Parameters(parameters): Parameters<UsersParameters>,
) -> Result<Response, Problem> {
    let UsersParameters { limit, after, name, pattern } = parameters;
    let part = Part::of(&PageParameters { vhost: None, limit, after, name, pattern })?;
    looking::at_many(&hall, user, move |looker| {
        part.answer(
            looker.broker.users(),
            |it| it.name.as_str(),
            |it| it.name.as_str().to_owned(),
            shown,
        )
    })
    .await
}

/// A user. Needs the tag `administrator`.
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "users",
    params(("user" = String, Path)),
    responses((status = 200, body = UserOut))
)]
pub(super) async fn get_user(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<Response, Problem> {
    looking::json(&shown(&users::known(hall.broker(), &name)?))
}

/// Makes a user, or changes the one of that name. It enters a virtual host once it has a permission
/// there. Needs the tag `administrator`.
#[utoipa::path(
    put, path = "/v1/users/{user}", tag = "users",
    params(("user" = String, Path)),
    request_body(content = Option<UserIn>),
    responses(
        (status = 201, description = "It is made"),
        (status = 204, description = "It was there, and is as asked for"),
    )
)]
pub(super) async fn put_user(
    State(hall): State<Hall>,
    Places(name): Places<String>,
    MaybeJson(wish): MaybeJson<UserIn>,
) -> Result<StatusCode, Problem> {
    let UserIn { password, password_hash, hashing_algorithm, tags } = wish.unwrap_or_default();
    let proof = Proof {
        password: password.as_deref(),
        hash: password_hash.as_deref(),
        algorithm: hashing_algorithm.as_deref(),
    };
    let credentials = proof.credentials()?.unwrap_or(Credentials::Unchanged);
    let tags = tags.map(|tags| tags.into_iter().map(String::into_boxed_str).collect());
    users::put(&hall, &name, credentials, tags).await
}

/// Deletes a user with its permissions and tokens; its connections are closed. Needs the tag
/// `administrator`.
#[utoipa::path(
    delete, path = "/v1/users/{user}", tag = "users",
    params(("user" = String, Path)),
    responses((status = 204, description = "It is no more"))
)]
pub(super) async fn delete_user(
    State(hall): State<Hall>,
    Places(name): Places<String>,
) -> Result<StatusCode, Problem> {
    users::delete(&hall, &name).await
}
