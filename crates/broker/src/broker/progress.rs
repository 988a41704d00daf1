//! A recovery that takes long tells how it gets on.

use domain::name::Name;
use stdx::clock::Clock;
use storage::Record;

/// Tells how a long recovery gets on.
pub(super) struct Progress<'r> {
    vhost: &'r Name,
    clock: &'r dyn Clock,
    records: u64,
    bytes: u64,
    told_ms: u64,
}

impl<'r> Progress<'r> {
    pub(super) fn new(vhost: &'r Name, clock: &'r dyn Clock) -> Progress<'r> {
        Progress { vhost, clock, records: 0, bytes: 0, told_ms: clock.monotonic().ms() }
    }

    pub(super) fn record(&mut self, record: &Record<'_>) {
        self.records += 1;
        self.bytes += record.payload.len() as u64;
        // The clock is not asked at every record.
        if self.records.is_multiple_of(4096) {
            let now_ms = self.clock.monotonic().ms();
            if now_ms.saturating_sub(self.told_ms) >= 1_000 {
                self.told_ms = now_ms;
                let (records, mib) = (self.records, self.bytes >> 20);
                tracing::info!(vhost = %self.vhost, records, mib, "still reading the journal");
            }
        }
    }
}
