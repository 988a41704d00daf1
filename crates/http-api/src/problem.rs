//! What a client is told when its request was not done: what is wrong, where, and what to do about
//! it. RFC 9457 (`application/problem+json`); under `/api` in RabbitMQ's form.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    /// What kind of problem, in one word for programs: RabbitMQ's, where it has one.
    word: &'static str,
    detail: Cow<'static, str>,
    remedy: Option<Cow<'static, str>>,
    /// The part of the request that is at fault: a parameter's name or a path in its JSON.
    field: Option<String>,
    retry_after_seconds: Option<u32>,
}

/// A problem as RFC 9457 has it.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

/// A problem as RabbitMQ's management API has it.
#[derive(Serialize)]
struct Reason<'a> {
    error: &'a str,
    reason: &'a str,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        word: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Problem {
        let detail = detail.into();
        Problem { status, word, detail, remedy: None, field: None, retry_after_seconds: None }
    }

    /// The request is malformed.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// What the request names is not there.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Whoever asks may not.
    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "access_refused", detail)
    }

    /// The broker did what it should not.
    pub(crate) fn broken() -> Problem {
        let detail = "the broker could not do this; its log says more";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", detail)
    }

    /// Says what to do.
    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Problem {
        self.remedy = Some(remedy.into());
        self
    }

    /// Says which part of the request is at fault.
    #[must_use]
    pub(crate) fn field(mut self, field: impl Into<String>) -> Problem {
        self.field = Some(field.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u32) -> Problem {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The problem in RabbitMQ's form.
    pub(crate) fn as_rabbitmq(&self) -> Response {
        // Its clients know of no field: it goes into the words.
        let reason = match &self.field {
            Some(field) => Cow::Owned(format!("{field}: {}", self.detail)),
            None => Cow::Borrowed(&*self.detail),
        };
        // It has fewer statuses, and some words of its own.
        let (status, error) = match (self.status, self.word) {
            (StatusCode::FORBIDDEN, _) => (StatusCode::UNAUTHORIZED, "not_authorised"),
            (
                StatusCode::BAD_REQUEST,
                word @ ("page_out_of_range" | "invalid_pagination_parameters"),
            ) => (StatusCode::BAD_REQUEST, word),
            (StatusCode::BAD_REQUEST | StatusCode::CONFLICT, _) => {
                (StatusCode::BAD_REQUEST, "bad_request")
            }
            (status, word) => (status, word),
        };
        let said = Problem { status, ..self.clone() };
        said.response(&Reason { error, reason: &reason }, "application/json")
    }

    fn response(&self, document: &impl Serialize, content_type: &'static str) -> Response {
        let json = serde_json::to_vec(document).unwrap_or_default();
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Basic realm=\"Postroom\", charset=\"UTF-8\"");
            headers.insert(WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("urn:postroom:problem:{}", self.word),
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
            remedy: self.remedy.as_deref(),
        };
        let mut response = self.response(&document, "application/problem+json");
        // For whoever has to say it in other words.
        response.extensions_mut().insert(self);
        response
    }
}
