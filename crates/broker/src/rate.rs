//! How fast something grows.

/// By how much per second; below zero if it shrank.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
pub(crate) fn per_second(now: u64, before: u64, elapsed_ms: u64) -> f64 {
    if elapsed_ms == 0 {
        return 0.0;
    }
    // Counts grow; depths may shrink.
    let grown = if now >= before { (now - before) as f64 } else { -((before - now) as f64) };
    grown * 1_000.0 / elapsed_ms as f64
}
