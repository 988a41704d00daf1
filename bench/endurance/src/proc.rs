//! What the system knows of a process, and what a directory takes of the disk.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::failure::Failure;

/// A look at the broker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    /// Resident memory. Pages of files that are only read through the page cache do not count.
    pub(crate) resident_kib: u64,
    /// The part of it that is the process's own.
    pub(crate) anonymous_kib: u64,
    /// Blocks that the data directory takes.
    pub(crate) disk_bytes: u64,
    pub(crate) journal_files: u64,
    pub(crate) spare_files: u64,
    pub(crate) segment_files: u64,
    /// What it asked the file system to read; sockets do not count.
    pub(crate) read_chars: u64,
    /// What came from the device.
    pub(crate) read_bytes: u64,
    /// What it gave the file system to write; sockets do not count. (The kernel's other figure,
    /// pages dirtied, counts a huge page whole for one byte.)
    pub(crate) written_chars: u64,
    /// What the disk under the data directory was given to write, by everybody.
    pub(crate) device_written_bytes: u64,
    pub(crate) cpu_s: f64,
}

impl Sight {
    pub(crate) fn of(pid: u32, data: &Path) -> Result<Sight, Failure> {
        let status = read(pid, "status")?;
        let io = read(pid, "io")?;
        let mut sight = Sight {
            resident_kib: field(&status, "VmRSS:"),
            anonymous_kib: field(&status, "RssAnon:"),
            read_chars: field(&io, "rchar:"),
            read_bytes: field(&io, "read_bytes:"),
            written_chars: field(&io, "wchar:"),
            device_written_bytes: device_written_bytes(data).unwrap_or(0),
            cpu_s: cpu_s(pid)?,
            ..Sight::default()
        };
        sight.add_files(data);
        Ok(sight)
    }

    /// Files may go while we look; whatever can't be seen is not there.
    fn add_files(&mut self, directory: &Path) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                self.add_files(&entry.path());
                continue;
            }
            self.disk_bytes += metadata.blocks() * 512;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            self.journal_files += u64::from(name.starts_with("journal-"));
            self.spare_files += u64::from(name.starts_with("spare-"));
            self.segment_files += u64::from(name.starts_with("segment-"));
        }
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        self.resident_kib as f64 / 1024.0
    }

    pub(crate) fn disk_mib(&self) -> f64 {
        mib(self.disk_bytes)
    }
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn read(pid: u32, what: &'static str) -> Result<String, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/{what}"));
    text.map_err(|_gone| Failure::Proc { what, pid })
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Of the device that the directory is on, if it is one that counts.
fn device_written_bytes(directory: &Path) -> Option<u64> {
    let device = fs::metadata(directory).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

/// User and system time of all threads.
fn cpu_s(pid: u32) -> Result<f64, Failure> {
    let stat = read(pid, "stat")?;
    // The name in brackets may have spaces.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
