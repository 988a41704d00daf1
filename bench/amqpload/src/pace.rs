//! Whether a run keeps its pace: what had been done when, looked at every few milliseconds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

use crate::stamp;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(4);

/// How many equal parts of the work are told apart.
const PARTS: u64 = 10;

/// What had been done at some moments.
#[derive(Debug, Default)]
pub(crate) struct Pace(Vec<(u64, u64)>);

impl Pace {
    /// Looks at `done` until `over`.
    pub(crate) fn watch(done: &AtomicU64, over: &AtomicBool) -> Pace {
        let mut pace = Pace::default();
        while !over.load(Relaxed) {
            pace.note(stamp::now_ns(), done.load(Relaxed));
            sleep(LOOK);
        }
        pace.note(stamp::now_ns(), done.load(Relaxed));
        pace
    }

    /// Only moments at which something had happened: the first is the start, the last the end.
    fn note(&mut self, now_ns: u64, done: u64) {
        match self.0.last_mut() {
            Some(last) if last.1 == done && done == 0 => *last = (now_ns, done),
            Some(last) if last.1 == done => {}
            Some(_) | None => self.0.push((now_ns, done)),
        }
    }

    /// The rate per second in each tenth of the work, from the first to the last; empty if the
    /// run was too short to tell.
    pub(crate) fn tenths(&self) -> Vec<f64> {
        let Some(&(_, total)) = self.0.last() else { return Vec::new() };
        if self.0.len() < 2 * PARTS as usize {
            return Vec::new();
        }
        let at: Vec<f64> = (0..=PARTS).map(|part| self.when(total * part / PARTS)).collect();
        at.windows(2).map(|w| total as f64 / PARTS as f64 / ((w[1] - w[0]) / 1e9)).collect()
    }

    /// When so much had been done, in nanoseconds.
    fn when(&self, done: u64) -> f64 {
        let after = self.0.partition_point(|&(_, had)| had < done).min(self.0.len() - 1);
        let (at, had) = self.0[after];
        let (before_at, before) = self.0[after.saturating_sub(1)];
        if had == before {
            return at as f64;
        }
        let part = (done - before) as f64 / (had - before) as f64;
        before_at as f64 + part * (at - before_at) as f64
    }

    pub(crate) fn to_json(&self) -> String {
        let tenths: Vec<String> = self.tenths().iter().map(|rate| format!("{rate:.0}")).collect();
        format!("[{}]", tenths.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn a_slower_half_shows() {
        let mut pace = Pace::default();
        for ms in 0..=300_u64 {
            // 1,000 in the first 100 ms, 1,000 in the other 200.
            let done = if ms <= 100 { ms * 10 } else { 1000 + (ms - 100) * 5 };
            pace.note(ms * 1_000_000, done);
        }
        let tenths: Vec<u64> = pace.tenths().iter().map(|rate| rate.round() as u64).collect();
        assert_eq!(tenths, [10_000, 10_000, 10_000, 10_000, 10_000, 5000, 5000, 5000, 5000, 5000]);
        assert!(Pace::default().tenths().is_empty());
    }
}
