//! Traces: what the broker did with messages whose publishers trace them. A message says so by
//! its headers `traceparent` and `tracestate` (W3C Trace Context), which are read here and changed
//! nowhere. What came of it is told in spans, to whoever wants them.

use std::sync::Arc;

use domain::dead_letter::Reason;
use domain::name::Name;
use domain::properties::Properties;
use stdx::clock::Monotonic;

/// The headers that carry the context.
pub const TRACEPARENT: &str = "traceparent";
/// What vendors add to it.
pub const TRACESTATE: &str = "tracestate";

/// A longer one is left out of spans (W3C Trace Context §3.3.1.5 asks for at least as much).
const STATE_BYTES_MAX: usize = 512;

/// Flag of a trace of which spans are recorded.
const SAMPLED: u8 = 1;

/// The span of which a message's spans are children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span in it.
    pub span_id: [u8; 8],
    /// Its flags.
    pub flags: u8,
    /// What vendors added; empty if nothing.
    pub state: Box<str>,
}

impl TraceContext {
    /// The context that a message's headers carry.
    pub fn of(properties: Properties<'_>) -> Option<TraceContext> {
        let parent = TraceContext::parse(properties.text_header(TRACEPARENT)?)?;
        let state = properties.text_header(TRACESTATE).unwrap_or_default();
        let printable = |byte: &u8| (0x20..0x7f).contains(byte);
        let is_whole = state.len() <= STATE_BYTES_MAX && state.iter().all(printable);
        let state = if is_whole { std::str::from_utf8(state).unwrap_or_default() } else { "" };
        Some(TraceContext { state: state.into(), ..parent })
    }

    /// Understands a `traceparent`: version, trace, span and flags in hexadecimal digits. What
    /// later versions add behind them is passed over.
    pub fn parse(text: &[u8]) -> Option<TraceContext> {
        let mut parts = text.splitn(5, |byte| *byte == b'-');
        let [version] = hexadecimal::<1>(parts.next()?)?;
        let trace_id = hexadecimal::<16>(parts.next()?)?;
        let span_id = hexadecimal::<8>(parts.next()?)?;
        let [flags] = hexadecimal::<1>(parts.next()?)?;
        let is_known = match version {
            0 => parts.next().is_none(),
            0xff => false,
            _later => true,
        };
        let is_given = trace_id != [0; 16] && span_id != [0; 8];
        let state = Box::default();
        (is_known && is_given).then_some(TraceContext { trace_id, span_id, flags, state })
    }

    /// Whether spans of the trace are recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// So many bytes in lower-case digits, and nothing else.
fn hexadecimal<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _other => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

/// Something that happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What its publisher did meanwhile.
    pub parent: TraceContext,
    /// What happened.
    pub what: Happening,
    /// Where.
    pub vhost: Name,
    /// What the message was published to.
    pub exchange: Box<str>,
    /// And with which key.
    pub routing_key: Box<[u8]>,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// When it began.
    pub begun: Monotonic,
    /// When it was over.
    pub ended: Monotonic,
}

/// What a span tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A message was taken, routed and, if it asked for it, put on disk.
    Publish(Taking),
    /// A message was in a queue.
    Queued {
        /// Which.
        queue: Name,
        /// How it left.
        end: Leaving,
        /// How often it was handed out.
        deliveries: u32,
        /// When that was first, and when it was last.
        delivered: Option<(Monotonic, Monotonic)>,
    },
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// Somebody has it.
    Taken,
    /// No queue was there for it.
    Unroutable,
    /// A queue that is full refused it.
    Refused,
}

/// How a message left a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It was acknowledged.
    Acknowledged,
    /// It was sent to somebody who need not acknowledge.
    Sent,
    /// The queue gave it up, and it went on as a dead letter.
    DeadLettered(Reason),
    /// The queue gave it up.
    Dropped(Reason),
    /// It was purged, or went with its queue.
    Purged,
}

/// What became of spans since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Told to whoever collects them.
    pub exported: u64,
    /// Given up: too many waited, or nobody took them.
    pub dropped: u64,
}

/// Where spans go. Called while others wait: it must not wait itself.
pub trait SpanSink: Send + Sync + std::fmt::Debug {
    /// Whether spans of that trace are wanted.
    fn wants(&self, context: &TraceContext) -> bool;

    /// Takes spans, as far as there is room.
    fn take(&self, spans: Vec<Span>);

    /// So many could not even be begun.
    fn miss(&self, spans: u64);

    /// What became of them.
    fn counts(&self) -> SpanCounts;
}

/// Spans on their way.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) sink: Arc<dyn SpanSink>,
    pub(crate) spans: Vec<Span>,
}

impl Passing {
    /// They go.
    pub(crate) fn hand_over(self) {
        self.sink.take(self.spans);
    }

    /// They end now, and go.
    pub(crate) fn hand_over_ended(mut self, now: Monotonic) {
        for span in &mut self.spans {
            span.ended = now;
        }
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_understood_or_is_none() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        for (text, flags) in [
            (format!("00-{trace}-{span}-01"), Some(1)),
            (format!("00-{trace}-{span}-00"), Some(0)),
            (format!("01-{trace}-{span}-03-more-of-it"), Some(3)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{trace}-{span}-1"), None),
            (format!("00-{trace}-{span}"), None),
            (String::new(), None),
        ] {
            let found = TraceContext::parse(text.as_bytes());
            assert_eq!(found.as_ref().map(|context| context.flags), flags, "{text}");
            if let Some(context) = found {
                assert_eq!(context.trace_id[..2], [0x0a, 0xf7]);
                assert_eq!(context.span_id[6..], [0x33, 0x31]);
                assert_eq!(context.is_sampled(), context.flags & 1 == 1);
            }
        }
        let whole = format!("00-{trace}-{span}-01");
        for cut in 0..whole.len() {
            assert_eq!(TraceContext::parse(&whole.as_bytes()[..cut]), None, "{cut}");
        }
    }
}
