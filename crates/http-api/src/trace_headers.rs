//! The trace that a request belongs to, which its messages belong to as well.

use axum::http::HeaderMap;
use broker::traces::{TRACEPARENT, TRACESTATE, TraceContext};
use serde_json::{Map, Value as Json};

/// The trace that a request belongs to, as headers of a message; none if it belongs to none.
#[derive(Debug, Default)]
pub(crate) struct TraceHeaders(Map<String, Json>);

impl TraceHeaders {
    /// What the request's own headers say.
    pub(crate) fn of(headers: &HeaderMap) -> TraceHeaders {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let parent = text(TRACEPARENT).filter(|it| TraceContext::parse(it.as_bytes()).is_some());
        let Some(parent) = parent else { return TraceHeaders::default() };
        let state = text(TRACESTATE).map(|state| (TRACESTATE, state));
        let pairs = [(TRACEPARENT, parent)].into_iter().chain(state);
        TraceHeaders(pairs.map(|(name, text)| (name.to_owned(), Json::from(text))).collect())
    }

    /// A message with these headers belongs to the trace, unless it says itself to which it belongs.
    pub(crate) fn join(&self, headers: &mut Option<Map<String, Json>>) {
        if self.0.is_empty() {
            return;
        }
        let headers = headers.get_or_insert_default();
        if !headers.contains_key(TRACEPARENT) {
            headers.extend(self.0.clone());
        }
    }
}
