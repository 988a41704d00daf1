//! Watches the room that is left, on the disk and in memory, and blocks publishers while there is
//! too little. Consumers go on and make room. Also keeps the reserve, or makes it again when there is
//! room for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Machine, Resource};
use tokio::sync::watch;

use crate::config::Watermarks;
use crate::heap::{self, Heap};
use crate::reserve::Reserve;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// How often when little room is left: a fast publisher fills gigabytes in a second.
const LOOK_CLOSELY: Duration = Duration::from_millis(100);

/// Less room than this many times the least, and it is looked closely.
const CLOSE_FACTOR: u64 = 8;

/// One of so many parts of the reserve is for what is on its way when the disk gets full.
const RESERVE_PARTS: u64 = 4;

/// So much may always be on its way, in bytes.
const INFLIGHT_BYTES_LEAST: usize = 1 << 20;

/// What was short is enough when there is this part of the least more.
const SLACK: u64 = 16;

/// Watches until the broker stops; `watermarks` may change meanwhile.
pub(crate) async fn watch(
    data_dir: PathBuf,
    reserve: Arc<Reserve>,
    broker: Arc<Broker>,
    mut watermarks: watch::Receiver<Watermarks>,
) {
    let memory_bytes = memory_bytes();
    let mut heap = Heap::default();
    loop {
        if heap.is_to_shrink(broker.messages_memory()) {
            let _ = tokio::task::spawn_blocking(heap::shrink).await;
        }
        let limits = *watermarks.borrow_and_update();
        let room = disk_room(&data_dir, limits)
            .map(|room| if broker.is_disk_full() { room } else { keep(&reserve, room, limits) });
        broker.limit_inflight(inflight_bytes(room.as_ref().ok(), limits));
        let disk = look(&broker, Resource::Disk, room);
        let memory = look(&broker, Resource::Memory, memory_room(memory_bytes, limits));
        let rest = if disk || memory { LOOK_CLOSELY } else { LOOK };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            changed = watermarks.changed() => if changed.is_err() { return },
        }
    }
}

/// What the process has of its machine is found out with this.
#[derive(Debug)]
pub(crate) struct Scales {
    pub(crate) data_dir: PathBuf,
    pub(crate) watermarks: watch::Receiver<Watermarks>,
    pub(crate) open_files_max: u64,
}

impl Scales {
    /// What it has now; zero for what can't be found out.
    pub(crate) fn weigh(&self) -> Machine {
        let limits = *self.watermarks.borrow();
        let all_bytes = memory_bytes();
        let memory = memory_room(all_bytes, limits).unwrap_or(Room { free: all_bytes, least: 0 });
        let disk = disk_room(&self.data_dir, limits).unwrap_or(Room { free: 0, least: 0 });
        // The look itself has one open.
        let open_files = fs::read_dir("/proc/self/fd").map_or(1, Iterator::count) as u64 - 1;
        Machine {
            memory_bytes: all_bytes.saturating_sub(memory.free),
            memory_bytes_max: all_bytes.saturating_sub(memory.least),
            disk_free_bytes: disk.free,
            disk_free_bytes_min: disk.least,
            open_files,
            open_files_max: self.open_files_max,
            processors: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
        }
    }
}

/// How much there is, and how much there must be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    free: u64,
    least: u64,
}

impl Room {
    fn is_short(self) -> bool {
        self.free < self.least
    }

    /// Once short, a little more than the least is needed, lest publishers be stopped and let go in turn.
    fn is_short_still(self) -> bool {
        self.free < self.least.saturating_add(self.least / SLACK)
    }

    fn is_close(self) -> bool {
        self.free / CLOSE_FACTOR < self.least
    }
}

/// What may be on its way to the disk. Where little is left of that, somebody else may take it between
/// two looks: what is on its way must then fit into the reserve, beside the acknowledgements that the
/// reserve is for, which are written behind it.
fn inflight_bytes(room: Option<&Room>, limits: Watermarks) -> usize {
    match room {
        Some(room) if room.is_close() => {
            let part = limits.disk_reserve_bytes / RESERVE_PARTS;
            usize::try_from(part).unwrap_or(usize::MAX).max(INFLIGHT_BYTES_LEAST)
        }
        Some(_) | None => usize::MAX,
    }
}

/// Holds the reserve if it leaves enough room. While it is not held, the disk is short.
fn keep(reserve: &Reserve, room: Room, limits: Watermarks) -> Room {
    let bytes = limits.disk_reserve_bytes;
    let after = Room { free: room.free.saturating_sub(bytes), ..room };
    if reserve.is_short_of(bytes) && after.is_short() {
        return after;
    }
    match reserve.hold(bytes) {
        Ok(()) => room,
        Err(error) => {
            tracing::warn!(%error, bytes, "the disk reserve could not be made");
            Room { free: 0, ..room }
        }
    }
}

/// Raises or clears an alarm; says whether to look closely.
fn look(broker: &Broker, resource: Resource, room: io::Result<Room>) -> bool {
    let room = match room {
        Ok(room) => room,
        // Nothing is known, so nothing changes.
        Err(error) => {
            tracing::warn!(%resource, %error, "what is left of it could not be found out");
            return false;
        }
    };
    let raised = broker.is_blocked(resource);
    let short = if raised { room.is_short_still() } else { room.is_short() };
    if short {
        broker.block(resource);
    } else {
        broker.unblock(resource);
    }
    if short != raised {
        let (free_bytes, least_bytes) = (room.free, room.least);
        if short {
            tracing::warn!(%resource, free_bytes, least_bytes, "low: publishers are blocked");
        } else {
            tracing::info!(%resource, free_bytes, least_bytes, "enough again");
        }
    }
    room.is_close()
}

fn disk_room(data_dir: &Path, limits: Watermarks) -> io::Result<Room> {
    let disk = rustix::fs::statvfs(data_dir)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    Ok(Room { free, least: limits.disk_free_min_bytes })
}

/// What may be used is `limits` of the whole; the rest is the least that is to be left.
fn memory_room(memory_bytes: u64, limits: Watermarks) -> io::Result<Room> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of what the machine has, to a byte or two"
    )]
    let usable = (memory_bytes as f64 * limits.memory_high_watermark) as u64;
    let least = memory_bytes - usable.min(memory_bytes);
    Ok(Room { free: memory_bytes.saturating_sub(resident_bytes()?), least })
}

fn resident_bytes() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// The machine's memory, or what the control group may have of it.
pub(crate) fn memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = total(&meminfo).unwrap_or(u64::MAX);
    // As a container sees them: version 2 of control groups, then version 1.
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .fold(machine, u64::min)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortness_and_closeness() {
        for (free, least, expected) in [
            (100, 0, (false, false)),
            (800, 100, (false, false)),
            (799, 100, (false, true)),
            (100, 100, (false, true)),
            (99, 100, (true, true)),
            (0, 0, (false, false)),
        ] {
            let room = Room { free, least };
            assert_eq!((room.is_short(), room.is_close()), expected, "{room:?}");
        }
    }

    #[test]
    fn what_is_on_its_way_fits_into_the_reserve_where_the_disk_is_nearly_full() {
        for (free, reserve, expected) in [
            (800, 16 << 20, usize::MAX),
            (799, 16 << 20, 4 << 20),
            (0, 16 << 20, 4 << 20),
            (799, 0, INFLIGHT_BYTES_LEAST),
        ] {
            let limits = Watermarks {
                disk_free_min_bytes: 100,
                disk_reserve_bytes: reserve,
                memory_high_watermark: 0.5,
            };
            let room = Room { free, least: 100 };
            assert_eq!(inflight_bytes(Some(&room), limits), expected, "{free} {reserve}");
        }
    }

    #[test]
    fn what_this_machine_has() {
        let limits = |memory_high_watermark| Watermarks {
            disk_free_min_bytes: 7,
            disk_reserve_bytes: 0,
            memory_high_watermark,
        };
        let disk = disk_room(Path::new("/"), limits(0.5)).unwrap();
        assert!(disk.free > 0 && disk.least == 7);
        let memory_bytes = memory_bytes();
        assert!(memory_bytes < u64::MAX);
        let room = |share| memory_room(memory_bytes, limits(share)).unwrap();
        assert!(room(0.0).is_short());
        assert!(!room(1.0).is_short());
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16 kB\n"), Some(16 << 10));
        assert_eq!(total("MemTotal: many"), None);
    }
}
