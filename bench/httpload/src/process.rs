//! What the broker's process takes of the machine.

use std::fs;

use crate::failure::Failure;

/// User and system time of all its threads, in seconds.
pub(crate) fn cpu_s(pid: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.map_err(|_gone| Failure::NoProcess(pid))?;
    // The name in brackets may have spaces.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// What it has resident, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|_gone| Failure::NoProcess(pid))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.unwrap_or_default() / 1024.0)
}
