//! A broker that nobody uses yet: how soon it is ready, and how much memory it takes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Form, Outcome};
use crate::checkout;
use crate::failure::Failure;

const START_MAX: Duration = Duration::from_millis(100);
const RESIDENT_KIB_MAX: u64 = 14 << 10;

/// Starts tried, of which the quickest counts: the others share the machine with somebody.
const TRIES: usize = 5;

pub(super) fn start_and_idle(_form: Form) -> Result<Outcome, Failure> {
    let mut quickest = Duration::MAX;
    let mut resident_kib = u64::MAX;
    for _ in 0..TRIES {
        let (start, kib) = start_once()?;
        quickest = quickest.min(start);
        resident_kib = resident_kib.min(kib);
    }
    println!("ready after {} ms, resident {resident_kib} KiB", quickest.as_millis());
    if quickest > START_MAX {
        return Err(Failure::new(format!("a start must take at most {START_MAX:?}")));
    }
    if resident_kib > RESIDENT_KIB_MAX {
        return Err(Failure::new(format!("idle memory must be at most {RESIDENT_KIB_MAX} KiB")));
    }
    Ok(Outcome::Passed)
}

/// A broker on a fresh directory: the time until it takes connections, its memory a second later.
fn start_once() -> Result<(Duration, u64), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("postroom: {error}"));
    let data_dir = checkout::root().join("target/idle-data");
    if data_dir.exists() {
        fs::remove_dir_all(&data_dir).map_err(failed)?;
    }
    let start = Instant::now();
    let broker = Command::new(checkout::root().join("target/release/postroom"))
        .args(["serve", "--amqp-port", "0", "--http-port", "0", "--log", "warn", "--data-dir"])
        .arg(&data_dir)
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let broker = Broker(broker);
    while !data_dir.join("ports.json").exists() {
        if start.elapsed() > Duration::from_secs(20) {
            return Err(Failure::new("postroom is not ready after 20 s"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let ready = start.elapsed();
    std::thread::sleep(Duration::from_secs(1));
    let kib = resident_kib(broker.0.id())
        .ok_or_else(|| Failure::new("/proc tells no resident memory"))?;
    Ok((ready, kib))
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status =
        fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Gone when the measurement is over.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have gone by itself; the caller has said so then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
