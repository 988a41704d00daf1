//! Alerts without Prometheus: the conditions of its rules are looked at here every few seconds, and
//! whoever wants to know is posted what begins and what is over. A thread of its own does it; what
//! can't be posted is tried again, and the newest are kept.

mod notice;

mod board;

mod conditions;

mod past;

mod look;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broker::Broker;
use tokio::time::{Instant, sleep};

use crate::config::Settings;
use crate::endpoint::{self, Endpoint, NoHeaders};
use board::{Board, Change};
use conditions::Watch;
use look::Look;

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(5);

/// Most changes that wait to be posted.
const WAITING_MAX: usize = 1_000;

/// How long to wait after a post that did not arrive; doubled each time, up to the most.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Looks for ever.
pub(crate) struct Alerts {
    broker: Arc<Broker>,
    endpoint: Arc<Endpoint>,
    watch: Watch,
    board: Board,
    mail: Mail,
}

/// What is to be posted.
#[derive(Debug, Default)]
struct Mail {
    waiting: VecDeque<Change>,
    /// Given up for want of room.
    lost: u64,
    failures: u32,
    next_try: Option<Instant>,
}

impl Alerts {
    /// Ready to look, if anybody wants to know.
    pub(crate) fn new(
        settings: &Settings,
        broker: &Arc<Broker>,
    ) -> Result<Option<Alerts>, NoHeaders> {
        let sight = &settings.sight;
        let Some(url) = &sight.alert_webhook else { return Ok(None) };
        let headers = sight.alert_headers.as_ref().map(|secret| endpoint::headers(&secret.0));
        let headers = headers.transpose()?.unwrap_or_default();
        let endpoint = Endpoint::new(url.clone(), headers, "application/json");
        let lease_ms = Some(settings.limits.consumer_timeout_ms).filter(|ms| *ms > 0);
        Ok(Some(Alerts {
            broker: Arc::clone(broker),
            endpoint: Arc::new(endpoint),
            watch: Watch::new(lease_ms),
            board: Board::new(sight.alert_after_ms),
            mail: Mail::default(),
        }))
    }

    /// Looks and posts until the broker stops.
    pub(crate) async fn watch(mut self) {
        tracing::info!(to = %self.endpoint.url, "alerts are posted");
        loop {
            // It waits for the owners of virtual hosts.
            let broker = Arc::clone(&self.broker);
            let Ok(look) = tokio::task::spawn_blocking(move || Look::take(&broker)).await else {
                tracing::error!("alerts are looked for no more");
                return;
            };
            let findings = self.watch.findings(&look);
            let changes = self.board.update(&findings, look.now_ms, wall_ms());
            self.mail.add(changes);
            self.post().await;
            sleep(PERIOD).await;
        }
    }

    async fn post(&mut self) {
        let is_time = self.mail.next_try.is_none_or(|at| at <= Instant::now());
        if self.mail.waiting.is_empty() || !is_time {
            return;
        }
        let body = notice::body(self.mail.waiting.make_contiguous(), self.mail.lost);
        let endpoint = Arc::clone(&self.endpoint);
        let posted = tokio::task::spawn_blocking(move || endpoint.post(&body)).await;
        match posted {
            Ok(Ok(())) => self.mail.arrived(),
            Ok(Err(error)) if error.may_pass() => {
                let pause = self.mail.failed();
                let seconds = pause.as_secs();
                tracing::warn!(to = %self.endpoint.url, %error, seconds, "alerts did not arrive; tried again later");
            }
            Ok(Err(error)) => {
                let count = self.mail.waiting.len();
                tracing::error!(to = %self.endpoint.url, %error, count, "alerts were refused and are dropped");
                self.mail.arrived();
            }
            Err(error) => tracing::error!(%error, "alerts could not be posted"),
        }
    }
}

impl Mail {
    fn add(&mut self, changes: Vec<Change>) {
        self.waiting.extend(changes);
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
            self.lost += 1;
        }
    }

    fn arrived(&mut self) {
        *self = Mail::default();
    }

    fn failed(&mut self) -> Duration {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        self.failures += 1;
        self.next_try = Some(Instant::now() + pause);
        pause
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
