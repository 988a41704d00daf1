//! CPU time and memory of this process and of the broker under test.

use std::fs;

/// User + system CPU seconds of this process.
pub(crate) fn self_cpu_s() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// User + system CPU seconds of all threads of `pid`.
pub(crate) fn cpu_s(pid: u32) -> Option<f64> {
    let s = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &s[s.rfind(')')? + 2..];
    let f: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = f.get(11)?.parse::<u64>().ok()? + f.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn status_kb(pid: u32, key: &str) -> Option<u64> {
    let s = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = s.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Resident memory in KiB (anonymous + file pages).
pub(crate) fn rss_kb(pid: u32) -> Option<u64> {
    status_kb(pid, "VmRSS:")
}

/// Anonymous resident memory in KiB: leaves out mmapped files (page cache).
pub(crate) fn rss_anon_kb(pid: u32) -> Option<u64> {
    status_kb(pid, "RssAnon:")
}

/// Makes short sleeps of the calling thread accurate (default slack is 50 us).
pub(crate) fn tight_timers() {
    // Without it the schedule is kept less exactly, which `lag_us` shows.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Busy CPU seconds of the whole machine since boot (all cores; steal included).
pub(crate) fn machine_busy_s() -> f64 {
    let Ok(s) = fs::read_to_string("/proc/stat") else { return 0.0 };
    let f: Vec<u64> = s
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .filter_map(|x| x.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    let busy: u64 =
        f.iter().take(8).enumerate().filter(|(i, _)| *i != 3 && *i != 4).map(|(_, v)| v).sum();
    busy as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// What a run cost: this process, the broker (if its pid is known), the rest of
/// the machine. The rest should be near zero, or the run was disturbed.
pub(crate) struct Meter {
    pids: Vec<u32>,
    at: std::time::Instant,
    me: f64,
    broker: f64,
    busy: f64,
    rss: Option<u64>,
    anon: Option<u64>,
}

fn sum<T: std::iter::Sum<T>>(pids: &[u32], f: impl Fn(u32) -> Option<T>) -> Option<T> {
    if pids.is_empty() {
        return None;
    }
    Some(pids.iter().filter_map(|&p| f(p)).sum())
}

impl Meter {
    pub(crate) fn start(pids: &[u32]) -> Meter {
        Meter {
            pids: pids.to_vec(),
            at: std::time::Instant::now(),
            me: self_cpu_s(),
            broker: sum(pids, cpu_s).unwrap_or(0.0),
            busy: machine_busy_s(),
            rss: sum(pids, rss_kb),
            anon: sum(pids, rss_anon_kb),
        }
    }

    pub(crate) fn stop(self) -> crate::json::Obj {
        let wall = self.at.elapsed().as_secs_f64();
        let me = self_cpu_s() - self.me;
        let broker = sum(&self.pids, cpu_s).map(|c| c - self.broker);
        let rest = machine_busy_s() - self.busy - me - broker.unwrap_or(0.0);
        let kb = |v: Option<u64>| v.map_or("null".to_string(), |v| v.to_string());
        let rss = sum(&self.pids, rss_kb);
        let anon = sum(&self.pids, rss_anon_kb);
        crate::json::Obj::new()
            .num("wall_s", wall)
            .num("client_cpu_s", me)
            .num("broker_cpu_s", broker.unwrap_or(f64::NAN))
            .num("other_cpu_s", rest.max(0.0))
            .raw("rss_before_kb", &kb(self.rss))
            .raw("rss_after_kb", &kb(rss))
            .raw("anon_before_kb", &kb(self.anon))
            .raw("anon_after_kb", &kb(anon))
    }
}
