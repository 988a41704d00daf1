//! Bodies of requests: read whole, within bounds of size, time and memory, and as JSON with a
//! complaint that names the field.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::hall::{Hall, ROOM_UNIT_BYTES};
use crate::problem::Problem;

/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_mins(1);

/// How long a request waits for others' bodies to make room.
const ROOM_TIME_MAX: Duration = Duration::from_secs(10);

/// A whole body, and the room it takes until it is dropped.
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// A body that is JSON.
pub(crate) struct Json<T>(pub(crate) T);

/// A body that is JSON, or none at all.
pub(crate) struct MaybeJson<T>(pub(crate) Option<T>);

/// What the sender says that its body has, in bytes.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body has more than {bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        .remedy("send less at once; a single message is bounded by --max-message-bytes")
}

/// Reads a body whole.
pub(crate) async fn read(hall: &Hall, headers: &HeaderMap, body: Body) -> Result<Whole, Problem> {
    let bytes_max = hall.body_bytes_max();
    let announced = announced(headers);
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    // Who does not say how much comes may send the most.
    let units = announced.unwrap_or(bytes_max).div_ceil(ROOM_UNIT_BYTES).max(1);
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let room = hall.room().clone().acquire_many_owned(units);
    let Ok(Ok(room)) = timeout(ROOM_TIME_MAX, room).await else {
        let detail = "too many requests with large bodies are being read";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
        return Err(problem.retry_after(1));
    };
    let collected = timeout(BODY_TIME_MAX, Limited::new(body, bytes_max).collect()).await;
    let Ok(collected) = collected else {
        let detail = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail));
    };
    match collected {
        Ok(collected) => Ok(Whole { bytes: collected.to_bytes(), _room: room }),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(bytes_max)),
        Err(error) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
    }
}

/// Understands bytes as JSON.
pub(crate) fn parse<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed: Result<T, _> = serde_path_to_error::deserialize(&mut deserializer);
    let value = parsed.map_err(|error| {
        let path = error.path().to_string();
        let problem = Problem::bad_request(error.inner().to_string());
        match &*path {
            "." if error.inner().is_data() => {
                problem.remedy("what belongs into the JSON stands in /v1/openapi.json")
            }
            "." => problem.remedy("send JSON"),
            _field => problem.field(path),
        }
    })?;
    let end = deserializer.end();
    end.map_err(|error| Problem::bad_request(format!("behind the JSON: {error}")))?;
    Ok(value)
}

/// Whether the body says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let found = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = found.and_then(|text| text.split(';').next()).map(str::trim);
    essence.is_some_and(|text| {
        text.eq_ignore_ascii_case("application/json")
            || text.to_ascii_lowercase().ends_with("+json")
    })
}

impl<T: DeserializeOwned> FromRequest<Hall> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, hall: &Hall) -> Result<Json<T>, Problem> {
        let (parts, body) = request.into_parts();
        let whole = read(hall, &parts.headers, body).await?;
        parse(&whole.bytes).map(Json)
    }
}

impl<T: DeserializeOwned> FromRequest<Hall> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, hall: &Hall) -> Result<MaybeJson<T>, Problem> {
        let (parts, body) = request.into_parts();
        let whole = read(hall, &parts.headers, body).await?;
        if whole.bytes.is_empty() {
            return Ok(MaybeJson(None));
        }
        parse(&whole.bytes).map(|value| MaybeJson(Some(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only the way there matters")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only the way there matters")]
        count: u8,
    }

    #[test]
    fn a_complaint_names_the_field() {
        for (text, expected) in [
            ("{\"inner\": [{\"count\": 1}, {\"count\": \"x\"}]}", Some("inner[1].count")),
            ("{\"inner\": [{}]}", Some("inner[0]")),
            ("{\"outer\": 1}", Some("outer")),
            ("", None),
            ("{\"inner\": []} x", None),
        ] {
            let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
            let expected_problem = match expected {
                Some(field) => problem.clone().field(field),
                None => problem.clone(),
            };
            assert_eq!(problem, expected_problem, "{text}");
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
        }
    }
}
