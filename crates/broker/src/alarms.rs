//! Alarms of the whole broker: the disk or the memory is nearly used up. While one is raised,
//! connections that publish are blocked by their protocol; everything else goes on, so that
//! consumers can make room.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

/// What is nearly used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Resident memory.
    Memory,
    /// Space on the disk.
    Disk,
}

impl Resource {
    const ALL: [Resource; 2] = [Resource::Memory, Resource::Disk];

    fn bit(self) -> u8 {
        match self {
            Resource::Memory => 1,
            Resource::Disk => 2,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::Memory => "memory",
            Resource::Disk => "disk",
        })
    }
}

/// The alarms that are raised. Shown as what is low: `memory & disk`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms(u8);

impl Alarms {
    /// Whether none is.
    pub fn are_clear(self) -> bool {
        self.0 == 0
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, resource: Resource) -> Alarms {
        Alarms(self.0 | resource.bit())
    }
}

impl fmt::Display for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raised = Resource::ALL.iter().filter(|resource| self.0 & resource.bit() != 0);
        for (at, resource) in raised.enumerate() {
            write!(f, "{}{resource}", if at == 0 { "" } else { " & " })?;
        }
        Ok(())
    }
}

/// Where everybody can see which alarms are raised. Whoever changes it wakes the sessions.
#[derive(Debug, Default)]
pub(crate) struct AlarmBoard(AtomicU8);

impl AlarmBoard {
    /// Returns whether it was not raised before.
    pub(crate) fn raise(&self, resource: Resource) -> bool {
        self.0.fetch_or(resource.bit(), Ordering::AcqRel) & resource.bit() == 0
    }

    /// Returns whether it was raised before.
    pub(crate) fn clear(&self, resource: Resource) -> bool {
        self.0.fetch_and(!resource.bit(), Ordering::AcqRel) & resource.bit() != 0
    }

    pub(crate) fn raised(&self) -> Alarms {
        Alarms(self.0.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_raised_and_cleared_once() {
        let board = AlarmBoard::default();
        assert!(board.raised().are_clear());
        for (raise, resource, changed, shown) in [
            (true, Resource::Disk, true, "disk"),
            (true, Resource::Disk, false, "disk"),
            (true, Resource::Memory, true, "memory & disk"),
            (false, Resource::Disk, true, "memory"),
            (false, Resource::Disk, false, "memory"),
            (false, Resource::Memory, true, ""),
        ] {
            let done = if raise { board.raise(resource) } else { board.clear(resource) };
            assert_eq!((done, board.raised().to_string().as_str()), (changed, shown));
        }
        assert!(board.raised().are_clear());
    }
}
