//! The node as a whole: how long it runs, and what it has of its machine.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the process has and may have of its machine, as whoever watches it found last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// More than this, and publishers are blocked.
    pub memory_bytes_max: u64,
    /// What is free on the disk of the data directory, in bytes.
    pub disk_free_bytes: u64,
    /// Less than this, and publishers are blocked.
    pub disk_free_bytes_min: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// As many there may be.
    pub open_files_max: u64,
    /// Processors.
    pub processors: u64,
}

/// The node at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// When it started, in milliseconds since 1970.
    pub started_wall_ms: u64,
    /// How long ago that was by a clock that nobody sets, in milliseconds.
    pub uptime_ms: u64,
    /// What it has of its machine; zeros until somebody looked.
    pub machine: Machine,
}

/// What is known of the node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) started_wall_ms: u64,
    pub(crate) started_ms: u64,
    machine: Mutex<Machine>,
}

impl Node {
    pub(crate) fn started_at(ms: u64, wall_ms: u64) -> Node {
        Node { started_wall_ms: wall_ms, started_ms: ms, machine: Mutex::default() }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has looked.
    pub(crate) fn tell(&self, machine: Machine) {
        *self.machine() = machine;
    }

    pub(crate) fn view(&self, now_ms: u64) -> NodeView {
        NodeView {
            started_wall_ms: self.started_wall_ms,
            uptime_ms: now_ms.saturating_sub(self.started_ms),
            machine: *self.machine(),
        }
    }
}
