//! Being told to stop: the first signal asks, the second insists.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long connections may take to say goodbye. The journal's last sync comes after that, and
/// whoever sent the signal waits ten seconds for both.
pub(crate) const GOODBYE_MAX: Duration = Duration::from_secs(6);

/// How long sockets stay open after the last session is over, so that its last words arrive.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(1_100);

/// How often it is looked whether sessions are over.
pub(crate) const SESSIONS_LOOK: Duration = Duration::from_millis(20);

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals no longer end the process by themselves.
    pub(crate) fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one and names it.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
