//! What is done once for a key, however often it is asked for: a client that hears nothing can't know
//! whether its request was done, and asks again with the same `Idempotency-Key`.

use std::future::Future;
use std::time::Instant;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use broker::User;

use crate::hall::Hall;
use crate::problem::Problem;
use crate::repeats::{Answer, Fingerprint, Known, Outcome};

const KEY: &str = "Idempotency-Key";

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// Says of an answer that it was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A request with a key.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) key: String,
    pub(crate) fingerprint: Fingerprint,
}

/// The key that a request says, if it says one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let key = key.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let detail = format!("a key has from 1 to {KEY_BYTES_MAX} printable characters of ASCII");
        let problem = Problem::bad_request(detail).field(KEY);
        return Err(problem.remedy("make one up for each request, such as a UUID"));
    }
    Ok(Some(key.to_owned()))
}

/// Does something, unless a request with that key has done it; then it says what that came to, also
/// if it is still being done. What was begun is done to its end, even if its client hangs up.
pub(crate) async fn once(
    hall: &Hall,
    user: &User,
    keyed: &Keyed,
    work: impl Future<Output = Outcome> + Send + 'static,
) -> Result<Response, Problem> {
    let Keyed { key, fingerprint } = keyed;
    match hall.repeats().look(user.name(), key, *fingerprint, Instant::now()) {
        Known::First(promise) => {
            let done = tokio::spawn(async move {
                let outcome = work.await;
                promise.keep(&outcome, Instant::now());
                outcome
            });
            done.await.map_err(|_panic| Problem::broken())?.map(Answer::into_response)
        }
        Known::Done(answer) => Ok(replayed(answer)),
        Known::Underway(mut outcome) => {
            // If nobody says anything any more, nobody knows.
            let told =
                outcome.wait_for(Option::is_some).await.map_err(|_gone| Problem::broken())?;
            told.clone().unwrap_or_else(|| Err(Problem::broken())).map(replayed)
        }
        Known::Another => {
            let detail = "another request had this key";
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let problem = Problem::new(status, "key_reused", detail).field(KEY);
            Err(problem.remedy("send the same request with a key, and another key with another"))
        }
    }
}

fn replayed(answer: Answer) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        (self.status, [(CONTENT_TYPE, json)], self.json).into_response()
    }
}
