//! Copies on a simulated disk: of a journal whose owner writes on, of one that is damaged, onto a disk
//! that fails, and what the power leaves of them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use stdx::clock::Monotonic;

use super::{CopyError, OpenError, copy_journal};
use crate::disk::{Disk, DiskFile, Faults, SimulatedDisk};
use crate::journal::{Journal, JournalSettings, Position, Work, Writer, open};
use crate::staged::Staged;

/// Writes one record to a frame: the frame's number.
#[derive(Debug)]
struct Owner {
    journal: Arc<Journal<()>>,
    writer: Writer<()>,
    written: u64,
    /// How many of the newest frames are still needed.
    needed: u64,
}

impl Owner {
    fn new(disk: &SimulatedDisk, frames: u64, needed: u64) -> Owner {
        let opened = open(Arc::new(disk.clone()), settings(), &mut |_| {}).expect("empty");
        let mut owner =
            Owner { journal: opened.journal, writer: opened.writer, written: 0, needed };
        (0..frames).for_each(|_| owner.write());
        owner
    }

    fn write(&mut self) {
        let mut staged = Staged::default();
        self.written += 1;
        let number = self.written;
        staged.record(7, |out| out.extend([number.to_le_bytes(); 300].as_flattened()));
        staged.urge();
        self.journal.commit(&mut staged, Monotonic(0)).expect("it works");
        self.journal.release_before(Position(number.saturating_sub(self.needed)));
        loop {
            match self.writer.work(Monotonic(0)) {
                Work::Wrote { .. } => {}
                Work::Idle { .. } => return,
                Work::Full { .. } | Work::Poisoned { .. } => unreachable!("the disk works"),
            }
        }
    }
}

fn settings() -> JournalSettings {
    let mut generation = 1;
    let draw = move || {
        generation += 1;
        generation
    };
    JournalSettings { file_bytes: 64 << 10, ..JournalSettings::new(Box::new(draw)) }
}

/// The numbers of the records that a journal shows.
fn numbers(disk: SimulatedDisk) -> Vec<u64> {
    let mut numbers = Vec::new();
    open::<()>(Arc::new(disk), settings(), &mut |record| {
        let (number, _) = record.payload.split_first_chunk().expect("a number");
        numbers.push(u64::from_le_bytes(*number));
    })
    .expect("a copy opens");
    numbers
}

/// The disk of an owner that writes whenever somebody looks at it.
#[derive(Debug)]
struct BusyDisk {
    disk: SimulatedDisk,
    owner: Mutex<Owner>,
    frames_at_a_look: u64,
}

impl BusyDisk {
    fn write(&self) {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        (0..self.frames_at_a_look).for_each(|_| owner.write());
    }
}

impl Disk for BusyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let listed = self.disk.list();
        self.write();
        listed
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let opened = self.disk.open(name);
        self.write();
        opened
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

#[test]
fn a_copy_has_everything_that_was_written_before_and_nothing_is_missing_in_between() {
    // Frames still needed, frames written at every look, and whether a copy must come of it.
    let cases = [
        (12, 0, "comes"),
        (12, 1, "comes"),
        (60, 2, "comes"),
        (60, 4, "comes"),
        (12, 2, "may come"),
        (3, 4, "may come"),
        (1, 9, "may come"),
    ];
    for (needed, frames_at_a_look, expected) in cases {
        let case = format!("{needed} needed, {frames_at_a_look} at a look");
        let disk = SimulatedDisk::new();
        let owner = Mutex::new(Owner::new(&disk, 70, needed));
        let busy = BusyDisk { disk, owner, frames_at_a_look };
        let copy = SimulatedDisk::new();
        match copy_journal(&busy, &copy) {
            Ok(_) => {}
            // Whoever reads slower than the owner lets files go is told so.
            Err(CopyError::Outrun | CopyError::Read(_)) if expected == "may come" => continue,
            Err(error) => unreachable!("{case}: {error}"),
        }
        let found = numbers(copy.crash(frames_at_a_look));
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            unreachable!("{case}: the copy is empty")
        };
        assert!(found.iter().copied().eq(*first..=*last), "{case}: {found:?}");
        assert!(*first <= last - needed && *last >= 70, "{case}: {first} to {last}");
    }
}

#[test]
fn a_failing_copy_says_so_and_leaves_the_original_alone() {
    let whole = Faults::default();
    let disk = SimulatedDisk::new();
    let mut owner = Owner::new(&disk, 50, 12);
    let before = disk.files();
    let mut failed = 0;
    for nth in 1..40 {
        let faults = [
            Faults { fail_write: Some(nth), ..whole.clone() },
            Faults { fail_sync: Some(nth), ..whole.clone() },
            Faults { fail_entry_change: Some(nth), ..whole.clone() },
            Faults { fail_directory_sync: Some(nth), ..whole.clone() },
            Faults { power_out: Some(nth), ..whole.clone() },
            Faults { capacity_bytes: Some(nth * 1_000), ..whole.clone() },
        ];
        for faults in faults {
            let copy = SimulatedDisk::new();
            copy.set_faults(faults.clone());
            match copy_journal(&disk, &copy) {
                // What counts as done is durable.
                Ok(_) => assert_eq!(numbers(copy.crash(nth)), numbers(disk.clone()), "{faults:?}"),
                Err(CopyError::Write { .. }) => failed += 1,
                Err(error) => unreachable!("{faults:?}: {error}"),
            }
            assert_eq!(disk.files(), before, "{faults:?}");
        }
    }
    assert!(failed > 40, "only {failed} failed");
    owner.write();
    assert_eq!(numbers(disk).last(), Some(&51));
}

#[test]
fn an_original_that_can_not_be_read_is_not_copied_in_part() {
    let disk = SimulatedDisk::new();
    Owner::new(&disk, 50, 12);
    let mut failed = 0;
    for nth in 1..40 {
        let faulty = SimulatedDisk::with_files(disk.files());
        faulty.set_faults(Faults { fail_read: Some(nth), ..Faults::default() });
        let copy = SimulatedDisk::new();
        match copy_journal(&faulty, &copy) {
            Ok(_) => assert_eq!(numbers(copy), numbers(disk.clone()), "read {nth}"),
            Err(CopyError::Read(_)) => failed += 1,
            Err(error) => unreachable!("read {nth}: {error}"),
        }
    }
    assert!(failed > 3, "only {failed} failed");
}

#[test]
fn a_damaged_original_is_not_copied_as_if_it_had_ended_there() {
    let disk = SimulatedDisk::new();
    Owner::new(&disk, 50, 12);
    let all = numbers(disk.clone());
    let files = disk.files();
    let journals = files.iter().filter(|(name, _)| name.starts_with("journal"));
    let (mut refused, mut unharmed) = (0, 0);
    for (name, bytes) in journals {
        for offset in (0..bytes.len()).step_by(997) {
            let harmed = SimulatedDisk::with_files(files.clone());
            assert!(harmed.flip_bit(name, offset, 3));
            let copy = SimulatedDisk::new();
            match copy_journal(&harmed, &copy) {
                Ok(_) => {
                    let found = numbers(copy.crash(1));
                    // Nothing behind the newest frame says that it was durable.
                    let newest = all.len() - found.len() == 1 && all.starts_with(&found);
                    let released = all.ends_with(&found) && found.len() >= 12;
                    assert!(newest || released, "{name}, byte {offset}: {found:?} of {all:?}");
                    unharmed += 1;
                }
                Err(CopyError::Read(
                    OpenError::Corrupt { file, .. } | OpenError::Newer { file, .. },
                )) => {
                    assert_eq!(&file, name);
                    refused += 1;
                }
                Err(error) => unreachable!("{name}, byte {offset}: {error}"),
            }
        }
    }
    assert!(refused > 40 && unharmed > 10, "{refused} refused, {unharmed} unharmed");
}
