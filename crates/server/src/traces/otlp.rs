//! The broker's spans in OpenTelemetry's words: names and attributes follow its semantic conventions
//! for messaging, as far as they have something for a broker.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use broker::traces::{Happening, Leaving, Span, Taking, TraceContext};
use prost::Message as _;
use stdx::clock::{Clock, Monotonic};

use super::otlp_messages::{
    AnyOf, AnyValue, Event, KeyValue, Link, Request, Resource, ResourceSpans, Scope, ScopeSpans,
    Span as SpanOut, Status,
};

/// `SPAN_KIND_SERVER`.
const SERVER: i32 = 2;

/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

/// Flags of a span whose parent is known to be another's.
const REMOTE: u32 = 0x300;

/// Translates spans.
#[derive(Debug)]
pub(super) struct Translator {
    clock: Arc<dyn Clock>,
    /// Numbers of spans are the hashes of a counter under a random key.
    numbers: RandomState,
    last_number: u64,
    instance: String,
}

/// What time it is on the wall when the broker's clock shows something.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    wall_ns: u64,
    at: Monotonic,
}

impl Anchor {
    fn wall_ns(self, moment: Monotonic) -> u64 {
        self.wall_ns.saturating_sub(self.at.0.saturating_sub(moment.0))
    }
}

impl Translator {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Translator {
        let numbers = RandomState::new();
        let instance = format!("{:016x}", numbers.hash_one("instance"));
        Translator { clock, numbers, last_number: 0, instance }
    }

    /// A request with these spans.
    pub(super) fn request(&mut self, spans: &[Span]) -> Vec<u8> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ns = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        let anchor = Anchor { wall_ns, at: self.clock.monotonic() };
        let resource = Resource {
            attributes: vec![
                text("service.name", "postroom"),
                text("service.version", env!("CARGO_PKG_VERSION")),
                text("service.instance.id", &self.instance),
            ],
        };
        let scope = Scope { name: "postroom".into(), version: env!("CARGO_PKG_VERSION").into() };
        let spans = spans.iter().map(|span| self.span(span, anchor)).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans }];
        Request { resource_spans }.encode_to_vec()
    }

    fn next_number(&mut self) -> [u8; 8] {
        self.last_number += 1;
        // Zero means none.
        self.numbers.hash_one(self.last_number).max(1).to_be_bytes()
    }

    fn span(&mut self, span: &Span, anchor: Anchor) -> SpanOut {
        let TraceContext { trace_id, span_id, flags, state } = &span.parent;
        let key = String::from_utf8_lossy(&span.routing_key);
        let destination = match &span.what {
            Happening::Queued { queue, .. } => queue.as_str(),
            Happening::Publish(_) if span.exchange.is_empty() => &key,
            Happening::Publish(_) => &span.exchange,
        };
        let mut attributes = vec![
            text("messaging.system", "postroom"),
            text("messaging.destination.name", destination),
            text("messaging.rabbitmq.destination.routing_key", &key),
            integer("messaging.message.body.size", span.body_bytes),
            text("postroom.vhost", span.vhost.as_str()),
        ];
        let mut events = Vec::new();
        let (operation, status) = match &span.what {
            Happening::Publish(taking) => {
                attributes.push(text("messaging.operation.type", "send"));
                attributes.push(text("postroom.outcome", taken(*taking)));
                let is_taken = *taking == Taking::Taken;
                ("publish", (!is_taken).then_some(taken(*taking)))
            }
            Happening::Queued { end, deliveries, delivered, .. } => {
                let (outcome, reason) = left(*end);
                attributes.push(text("postroom.outcome", outcome));
                attributes.extend(reason.map(|reason| text("postroom.reason", reason)));
                attributes.push(integer("postroom.deliveries", (*deliveries).into()));
                if let Some((first, last)) = delivered {
                    let event = |moment| Event {
                        time_unix_nano: anchor.wall_ns(moment),
                        name: "delivered".into(),
                    };
                    events.push(event(*first));
                    if *deliveries > 1 {
                        events.push(event(*last));
                    }
                }
                ("queue", reason)
            }
        };
        attributes.push(text("messaging.operation.name", operation));
        let flags = REMOTE | u32::from(*flags);
        SpanOut {
            trace_id: trace_id.to_vec(),
            span_id: self.next_number().to_vec(),
            trace_state: state.to_string(),
            parent_span_id: span_id.to_vec(),
            name: format!("{operation} {destination}"),
            kind: SERVER,
            start_time_unix_nano: anchor.wall_ns(span.begun),
            end_time_unix_nano: anchor.wall_ns(span.ended),
            attributes,
            events,
            links: vec![Link {
                trace_id: trace_id.to_vec(),
                span_id: span_id.to_vec(),
                trace_state: state.to_string(),
                flags,
            }],
            status: status.map(|reason| Status { message: reason.into(), code: ERROR }),
            flags,
        }
    }
}

fn taken(taking: Taking) -> &'static str {
    match taking {
        Taking::Taken => "taken",
        Taking::Unroutable => "unroutable",
        Taking::Refused => "refused",
    }
}

/// How a message left its queue, and why if the queue gave it up.
fn left(end: Leaving) -> (&'static str, Option<&'static str>) {
    match end {
        Leaving::Acknowledged => ("acknowledged", None),
        Leaving::Sent => ("sent", None),
        Leaving::DeadLettered(reason) => ("dead_lettered", Some(reason.as_str())),
        Leaving::Dropped(reason) => ("dropped", Some(reason.as_str())),
        Leaving::Purged => ("purged", None),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, AnyOf::Text(value.to_owned()))
}

fn integer(key: &str, value: u64) -> KeyValue {
    key_value(key, AnyOf::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn key_value(key: &str, value: AnyOf) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
