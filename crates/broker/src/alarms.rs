//! Alarms of the whole broker: the disk or the memory is nearly used up. While one is raised,
//! connections that publish are blocked by their protocol; everything else goes on, so that
//! consumers can make room. Two may say that the disk is: whoever watches how much is free, and a
//! journal that found no room.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::hub::Hub;

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

/// Where everybody can see which alarms are raised.
#[derive(Debug, Default)]
pub(crate) struct AlarmBoard {
    raised: AtomicU8,
    /// Journals that found no room and have not gone on since.
    full_journals: AtomicUsize,
    /// Whose sessions look at the board when something on it has changed.
    watchers: Mutex<Vec<Weak<Hub>>>,
}

impl AlarmBoard {
    /// This virtual host's sessions are woken when something changes.
    pub(crate) fn watched_by(&self, hub: &Arc<Hub>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(hub));
    }

    pub(crate) fn raise(&self, resource: Resource) {
        self.change(|| {
            self.raised.fetch_or(resource.bit(), Ordering::AcqRel);
        });
    }

    pub(crate) fn clear(&self, resource: Resource) {
        self.change(|| {
            self.raised.fetch_and(!resource.bit(), Ordering::AcqRel);
        });
    }

    /// Whether it was raised and not cleared, whatever journals find.
    pub(crate) fn is_raised(&self, resource: Resource) -> bool {
        self.raised.load(Ordering::Acquire) & resource.bit() != 0
    }

    /// A journal found no room.
    pub(crate) fn journal_full(&self) {
        self.change(|| {
            self.full_journals.fetch_add(1, Ordering::AcqRel);
        });
    }

    /// It goes on, or never will.
    pub(crate) fn journal_goes_on(&self) {
        self.change(|| {
            self.full_journals.fetch_sub(1, Ordering::AcqRel);
        });
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        self.full_journals.load(Ordering::Acquire) > 0
    }

    pub(crate) fn raised(&self) -> Alarms {
        let alarms = Alarms(self.raised.load(Ordering::Acquire));
        if self.is_disk_full() { alarms.with(Resource::Disk) } else { alarms }
    }

    /// Lets every session look, if there is something new to see. Not to be called by an owner.
    fn change(&self, act: impl FnOnce()) {
        let before = self.raised();
        act();
        if self.raised() == before {
            return;
        }
        let watchers: Vec<Arc<Hub>> = {
            let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
            watchers.iter().filter_map(Weak::upgrade).collect()
        };
        for hub in watchers {
            hub.rouse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_raised_is_shown_until_everybody_has_cleared_it() {
        type Step = fn(&AlarmBoard);
        let board = AlarmBoard::default();
        assert!(board.raised().are_clear());
        let steps: [(Step, &str); 9] = [
            (|board| board.raise(Resource::Disk), "disk"),
            (|board| board.raise(Resource::Disk), "disk"),
            (|board| board.raise(Resource::Memory), "memory & disk"),
            (AlarmBoard::journal_full, "memory & disk"),
            (|board| board.clear(Resource::Disk), "memory & disk"),
            (AlarmBoard::journal_full, "memory & disk"),
            (AlarmBoard::journal_goes_on, "memory & disk"),
            (|board| board.clear(Resource::Memory), "disk"),
            (AlarmBoard::journal_goes_on, ""),
        ];
        for (step, (act, shown)) in steps.into_iter().enumerate() {
            act(&board);
            assert_eq!(board.raised().to_string(), shown, "step {step}");
        }
        assert!(board.raised().are_clear());
    }
}
