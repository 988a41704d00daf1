//! Parameters behind the question mark, with a complaint that names the one at fault; and parts of
//! the path.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use domain::name::Name;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::problem::Problem;

/// Parameters behind the question mark.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Parameters<T>, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        let complain = |error: axum::extract::rejection::QueryRejection| {
            Problem::bad_request(error.body_text()).remedy(KNOWN)
        };
        query.map(|Query(value)| Parameters(value)).map_err(complain)
    }
}

/// Where what there is to ask is said.
const KNOWN: &str = "the parameters there are stand in /v1/openapi.json";

/// Parameters behind the question mark as they came, some of which may come several times.
pub(crate) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = query.map_err(|error| Problem::bad_request(error.body_text()).remedy(KNOWN))?;
    Ok(pairs.0)
}

/// Reads a parameter that comes once.
pub(crate) fn once<T: FromStr>(
    slot: &mut Option<T>,
    name: &str,
    text: &str,
) -> Result<(), Problem> {
    let Ok(value) = text.parse() else {
        let problem = Problem::bad_request(format!("this can't be {text:?}"));
        return Err(problem.field(name).remedy(KNOWN));
    };
    if slot.replace(value).is_some() {
        return Err(Problem::bad_request("this is given more than once").field(name));
    }
    Ok(())
}

/// There is no parameter of that name.
pub(crate) fn unknown(name: &str) -> Problem {
    Problem::bad_request(format!("there is no parameter {name:?}")).field(name).remedy(KNOWN)
}

/// Parts of the path, decoded.
pub(crate) struct Places<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Places<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Places<T>, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Places(value))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// In which virtual host; `/` if it is not said.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InVhost {
    /// The virtual host; `/` if not said.
    #[serde(default)]
    pub(crate) vhost: Option<String>,
}

impl InVhost {
    pub(crate) fn name(&self) -> &str {
        self.vhost.as_deref().unwrap_or(broker::FIRST_VHOST)
    }
}

/// A name of an exchange, a queue or a virtual host.
pub(crate) fn name(text: &str, field: &str) -> Result<Name, Problem> {
    Name::new(text).map_err(|error| Problem::bad_request(error.to_string()).field(field))
}
