//! Time as an argument: whoever needs it is handed a clock, so that a simulated run repeats exactly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

/// Nanoseconds since an arbitrary start; never goes backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// So many milliseconds after the start.
    pub fn from_ms(ms: u64) -> Monotonic {
        Monotonic(ms.saturating_mul(1_000_000))
    }

    /// Milliseconds since the start.
    pub fn ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This moment and `ms` milliseconds more.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Monotonic {
        Monotonic(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, on a clock that never steps.
    fn monotonic(&self) -> Monotonic;

    /// Now, in milliseconds since 1970, on a clock that may step.
    fn wall_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts at zero now.
    pub fn start() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    passed: AtomicU64,
    /// How much later than [`MANUAL_WALL_MS`] it was on the wall when it started.
    later_ms: u64,
}

/// What a manual clock shows on the wall when it starts, in milliseconds since 1970.
const MANUAL_WALL_MS: u64 = 1_700_000_000_000;

impl ManualClock {
    /// A clock that was started `ms` milliseconds ago.
    pub fn started_before(ms: u64) -> ManualClock {
        ManualClock { passed: AtomicU64::new(ms * 1_000_000), later_ms: 0 }
    }

    /// A clock that starts now, `ms` milliseconds after the first one: the same wall, another
    /// process.
    pub fn started_after(ms: u64) -> ManualClock {
        ManualClock { passed: AtomicU64::new(0), later_ms: ms }
    }

    /// Moves the clock forward.
    pub fn advance_ms(&self, ms: u64) {
        self.passed.fetch_add(ms * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.passed.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        MANUAL_WALL_MS + self.later_ms + self.monotonic().ms()
    }
}
