//! Looks at the broker again and again while something else goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::proc::{Sight, mib};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);

/// How many moments a report tells of.
const MOMENTS_TOLD: usize = 24;

/// A watch that is kept.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(f64, Sight)>>,
}

/// What was seen, with the seconds since the watch began.
#[derive(Debug, Default)]
pub(crate) struct Seen(pub(crate) Vec<(f64, Sight)>);

impl Watch {
    pub(crate) fn start(pid: u32, data: &Path) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let (stop, data): (_, PathBuf) = (Arc::clone(&over), data.to_path_buf());
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                if let Ok(sight) = Sight::of(pid, &data) {
                    seen.push((start.elapsed().as_secs_f64(), sight));
                }
                sleep(LOOK);
            }
            seen
        });
        Watch { over, thread }
    }

    pub(crate) fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        Seen(self.thread.join().unwrap_or_default())
    }
}

impl Seen {
    pub(crate) fn resident_mib_max(&self) -> f64 {
        self.0.iter().map(|(_, sight)| sight.resident_mib()).fold(0.0, f64::max)
    }

    pub(crate) fn disk_mib_max(&self) -> f64 {
        self.0.iter().map(|(_, sight)| sight.disk_mib()).fold(0.0, f64::max)
    }

    /// Some of the moments, evenly spread: seconds, resident MiB, disk MiB, journal files, segments.
    pub(crate) fn moments(&self) -> Value {
        let step = self.0.len().div_ceil(MOMENTS_TOLD).max(1);
        self.0
            .iter()
            .step_by(step)
            .map(|(s, sight)| {
                json!([
                    s.round(),
                    sight.resident_mib().round(),
                    mib(sight.disk_bytes).round(),
                    sight.journal_files,
                    sight.segment_files,
                ])
            })
            .collect()
    }
}
