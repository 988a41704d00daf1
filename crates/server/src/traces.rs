//! Spans on their way to whoever collects them, by OTLP over HTTP. The broker hands them over and
//! goes on; a thread of its own posts them. What finds no room, or nobody who takes it, is dropped
//! and counted.

mod otlp;
mod otlp_messages;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use broker::traces::{Span, SpanCounts, SpanSink, TraceContext};
use stdx::clock::Clock;

use crate::config::Sight;
use crate::endpoint::{self, Endpoint, NoHeaders, NoUrl, PostError};
use otlp::Translator;

/// Most spans that wait, some hundred bytes each.
const WAITING_MAX: usize = 16_384;

/// Most spans that are posted together, and how long the first of them waits for the others.
const TOGETHER_MAX: usize = 1_024;
const TOGETHER_TIME: Duration = Duration::from_millis(500);

/// How long to wait before spans are posted again that did not arrive.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Why spans can't be exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracesError {
    #[error("--otlp-endpoint: {0}")]
    Url(#[from] NoUrl),

    #[error("--otlp-headers: {0}")]
    Headers(#[from] NoHeaders),

    #[error("no thread for traces: {0}")]
    Thread(std::io::Error),
}

/// What is said to the thread.
enum Word {
    Spans(Vec<Span>),
    Stop,
}

/// Where the broker leaves spans.
#[derive(Debug)]
struct Tray {
    sender: Sender<Word>,
    /// Traces whose number is below it are recorded.
    share: u64,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    exported: AtomicU64,
    dropped: AtomicU64,
    stopping: Mutex<bool>,
    stops: Condvar,
}

impl SpanSink for Tray {
    fn wants(&self, context: &TraceContext) -> bool {
        let [_, _, _, _, _, _, _, _, low @ ..] = context.trace_id;
        // As OpenTelemetry's sampler does, so that all who sample alike keep the same traces.
        let number = u64::from_be_bytes(low) >> 1;
        context.is_sampled() && number < self.share
    }

    fn take(&self, spans: Vec<Span>) {
        let count = spans.len();
        let before = self.state.waiting.fetch_add(count, Ordering::Relaxed);
        // One handing over alone may be too much for the tray, but not for the room that it has.
        let fits = before < WAITING_MAX;
        if !fits || self.sender.send(Word::Spans(spans)).is_err() {
            self.state.waiting.fetch_sub(count, Ordering::Relaxed);
            self.miss(count as u64);
        }
    }

    fn miss(&self, spans: u64) {
        self.state.dropped.fetch_add(spans, Ordering::Relaxed);
    }

    fn counts(&self) -> SpanCounts {
        SpanCounts {
            exported: self.state.exported.load(Ordering::Relaxed),
            dropped: self.state.dropped.load(Ordering::Relaxed),
        }
    }
}

impl State {
    /// Waits for as long, or until it is told to stop; returns whether it is.
    fn stops_within(&self, pause: Duration) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stops.wait_timeout_while(stopping, pause, |stopping| !*stopping);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The thread that posts spans.
#[derive(Debug)]
pub(crate) struct Traces {
    tray: Arc<Tray>,
    thread: JoinHandle<()>,
}

impl Traces {
    /// Starts it, if anybody wants traces.
    pub(crate) fn start(
        sight: &Sight,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Traces>, TracesError> {
        let Some(url) = &sight.otlp_endpoint else { return Ok(None) };
        let headers = sight.otlp_headers.as_ref().map(|secret| endpoint::headers(&secret.0));
        let headers = headers.transpose()?.unwrap_or_default();
        let endpoint = Endpoint::new(url.under("v1/traces")?, headers, "application/x-protobuf");
        let (sender, receiver) = channel();
        let state = Arc::new(State::default());
        let tray = Tray { sender, share: threshold(sight.otlp_sample_share), state: state.clone() };
        let post =
            Post { endpoint, receiver, state, translator: Translator::new(clock), down: false };
        let thread = std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || post.run())
            .map_err(TracesError::Thread)?;
        Ok(Some(Traces { tray: Arc::new(tray), thread }))
    }

    /// Where the broker leaves them.
    pub(crate) fn sink(&self) -> Arc<dyn SpanSink> {
        Arc::clone(&self.tray) as Arc<dyn SpanSink>
    }

    /// Posts what waits, if that is possible at once, and ends.
    pub(crate) fn finish(self) {
        let state = &self.tray.state;
        *state.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        state.stops.notify_all();
        // Whoever does not listen has ended.
        _ = self.tray.sender.send(Word::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that exported traces had failed");
        }
        let SpanCounts { exported, dropped } = self.tray.counts();
        tracing::info!(exported, dropped, "spans since the start");
    }
}

/// The numbers below it are that share of all.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^63")]
fn threshold(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 2_f64.powi(63)) as u64
}

struct Post {
    endpoint: Endpoint,
    receiver: Receiver<Word>,
    state: Arc<State>,
    translator: Translator,
    /// Nothing has arrived lately; said once.
    down: bool,
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Comes,
    Stops,
}

impl Post {
    fn run(mut self) {
        tracing::info!(to = %self.endpoint.url, "traces are exported");
        while self.export_some() == More::Comes {}
    }

    fn export_some(&mut self) -> More {
        let mut spans = Vec::new();
        let more = self.gather(&mut spans);
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(TOGETHER_MAX));
            if self.down && self.state.stops_within(Duration::ZERO) {
                self.state.dropped.fetch_add(spans.len() as u64, Ordering::Relaxed);
            } else {
                self.export(&spans);
            }
            self.state.waiting.fetch_sub(spans.len(), Ordering::Relaxed);
            spans = rest;
        }
        more
    }

    /// Waits for spans, and a little for more of them.
    fn gather(&self, spans: &mut Vec<Span>) -> More {
        let mut until: Option<Instant> = None;
        while spans.len() < TOGETHER_MAX {
            let word = match until {
                None => self.receiver.recv().map_err(|_hung_up| RecvTimeoutError::Disconnected),
                Some(until) => {
                    let left: Duration = Instant::saturating_duration_since(&until, Instant::now());
                    self.receiver.recv_timeout(left)
                }
            };
            match word {
                Ok(Word::Spans(more)) => spans.extend(more),
                Ok(Word::Stop) | Err(RecvTimeoutError::Disconnected) => return More::Stops,
                Err(RecvTimeoutError::Timeout) => break,
            }
            until = until.or_else(|| Some(Instant::now() + TOGETHER_TIME));
        }
        More::Comes
    }

    fn export(&mut self, spans: &[Span]) {
        let body = self.translator.request(spans);
        let count = spans.len() as u64;
        match self.post(&body) {
            Ok(()) => {
                self.state.exported.fetch_add(count, Ordering::Relaxed);
                if std::mem::take(&mut self.down) {
                    tracing::info!(to = %self.endpoint.url, "traces are exported again");
                }
            }
            Err(error) => {
                self.state.dropped.fetch_add(count, Ordering::Relaxed);
                if !std::mem::replace(&mut self.down, true) {
                    let to = &self.endpoint.url;
                    tracing::warn!(%to, %error, "traces can't be exported; they are dropped meanwhile");
                }
            }
        }
    }

    /// Tries a few times; once only while nothing arrives anyway.
    fn post(&self, body: &[u8]) -> Result<(), PostError> {
        let mut pauses = if self.down { [].iter() } else { PAUSES.iter() };
        loop {
            let Err(error) = self.endpoint.post(body) else { return Ok(()) };
            let Some(pause) = pauses.next().filter(|_| error.may_pass()) else { return Err(error) };
            if self.state.stops_within(*pause) {
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use broker::traces::{Happening, Taking};
    use domain::name::Name;
    use stdx::clock::Monotonic;

    use super::*;

    fn tray(share: f64) -> (Tray, Receiver<Word>) {
        let (sender, receiver) = channel();
        (Tray { sender, share: threshold(share), state: Arc::default() }, receiver)
    }

    #[test]
    fn a_share_of_the_sampled_traces_is_wanted() {
        let wanted = |share: f64, flags: u8| {
            let (tray, _receiver) = tray(share);
            let context = |number: u64| {
                let low = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let trace_id = (u128::from(number) << 64 | u128::from(low)).to_be_bytes();
                TraceContext { trace_id, span_id: [1; 8], flags, state: Box::default() }
            };
            (1..=1_000).filter(|number| tray.wants(&context(*number))).count()
        };
        assert_eq!(wanted(1.0, 1), 1_000);
        assert_eq!(wanted(0.0, 1), 0);
        assert_eq!(wanted(1.0, 0), 0);
        let tenth = wanted(0.1, 1);
        assert!((80..120).contains(&tenth), "{tenth}");
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let (tray, receiver) = tray(1.0);
        let span = Span {
            parent: TraceContext::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
                .unwrap(),
            what: Happening::Publish(Taking::Taken),
            vhost: Name::from_static("/"),
            exchange: "".into(),
            routing_key: b"q"[..].into(),
            body_bytes: 1,
            begun: Monotonic(1),
            ended: Monotonic(2),
        };
        for _ in 0..WAITING_MAX + 7 {
            tray.take(vec![span.clone()]);
        }
        assert_eq!(tray.counts(), SpanCounts { exported: 0, dropped: 7 });
        assert_eq!(receiver.try_iter().count(), WAITING_MAX);
        drop(receiver);
        tray.state.waiting.store(0, Ordering::Relaxed);
        tray.take(vec![span; 2]);
        assert_eq!(tray.counts().dropped, 9);
        assert_eq!(tray.state.waiting.load(Ordering::Relaxed), 0);
    }
}
