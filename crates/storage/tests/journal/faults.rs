//! Every single thing that a disk can refuse, once, in the life of a scripted owner: the journal stops
//! or does not open, and everything confirmed is there when the disk works again.

use storage::SyncMode;
use storage::disk::{DiskCounts, Faults, Rot, SimulatedDisk, Stall};

use crate::ledger::{Leave, Ledger, Life};

/// Long enough for several files, releases, recycling and deletion.
const FRAMES: u64 = 40;

/// How many ways a crash may end that are looked at.
const OUTCOMES: u64 = 4;

fn undisturbed() -> (SimulatedDisk, Ledger, DiskCounts) {
    let (disk, mut ledger) = (SimulatedDisk::new(), Ledger::new(SyncMode::Always));
    assert_eq!(ledger.live_and(&disk, FRAMES, Leave::Flushed), Life::Full);
    let counts = disk.counts();
    (disk, ledger, counts)
}

/// A life on a disk that fails once: it is cut short, and the next one, after a crash or without
/// one, finds what it must.
fn cut_short_and_whole_again(faults: Faults) {
    let what = format!("{faults:?}");
    let disk = SimulatedDisk::new();
    disk.set_faults(faults);
    let mut ledger = Ledger::new(SyncMode::Always);
    assert_eq!(ledger.live_and(&disk, FRAMES, Leave::Flushed), Life::CutShort, "{what}");
    disk.set_faults(Faults::default());
    for seed in 0..OUTCOMES {
        let found = disk.crash(seed);
        let mut ledger = ledger.clone();
        assert_eq!(ledger.live(&found, 10), Life::Full, "{what}, crash {seed}");
        assert_eq!(ledger.live(&found, 0), Life::Full, "{what}, crash {seed}");
    }
    assert_eq!(ledger.live(&disk, 10), Life::Full, "{what}");
    assert_eq!(ledger.live(&disk, 0), Life::Full, "{what}");
}

#[test]
fn a_creation_renaming_or_removal_that_fails_stops_the_journal() {
    let (_, _, counts) = undisturbed();
    assert!(counts.entry_changes > 20, "{counts:?}");
    for nth in 1..=counts.entry_changes {
        cut_short_and_whole_again(Faults { fail_entry_change: Some(nth), ..Faults::default() });
    }
}

#[test]
fn a_directory_sync_that_fails_stops_the_journal() {
    let (_, _, counts) = undisturbed();
    assert!(counts.directory_syncs > 10, "{counts:?}");
    for nth in 1..=counts.directory_syncs {
        cut_short_and_whole_again(Faults { fail_directory_sync: Some(nth), ..Faults::default() });
    }
}

#[test]
fn a_read_that_fails_is_no_end_of_the_journal() {
    let (disk, ledger, _) = undisturbed();
    let read = |faults| {
        let again = SimulatedDisk::with_files(disk.files());
        again.set_faults(faults);
        let life = ledger.clone().live(&again, 0);
        (life, again)
    };
    let (life, again) = read(Faults::default());
    assert_eq!(life, Life::Full);
    let reads = again.counts().reads;
    assert!(reads > 5, "{reads}");
    for nth in 1..=reads {
        let (life, again) = read(Faults { fail_read: Some(nth), ..Faults::default() });
        assert_eq!(life, Life::CutShort, "read {nth}");
        again.set_faults(Faults::default());
        assert_eq!(ledger.clone().live(&again, 3), Life::Full, "after read {nth}");
    }
}

#[test]
fn a_slow_disk_costs_time_and_nothing_else() {
    let (quick, _, counts) = undisturbed();
    let disk = SimulatedDisk::new();
    disk.set_faults(Faults { stall: Some(Stall { every: 3, ms: 7 }), ..Faults::default() });
    let mut ledger = Ledger::new(SyncMode::Always);
    assert_eq!(ledger.live_and(&disk, FRAMES, Leave::Flushed), Life::Full);
    assert_eq!(disk.counts().operations, counts.operations);
    let lengths = |disk: &SimulatedDisk| {
        disk.files().into_iter().map(|(name, bytes)| (name, bytes.len())).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&disk), lengths(&quick));
    assert!(disk.take_stalled_ms() >= counts.operations / 3 * 7, "it did stall");
}

#[test]
fn a_bit_that_rots_at_any_time_is_harmless_or_refused() {
    let (_, _, counts) = undisturbed();
    let mut refused = 0;
    for at in 1..=counts.operations {
        for seed in 0..OUTCOMES {
            let disk = SimulatedDisk::new();
            disk.set_faults(Faults { rot: Some(Rot { at, seed }), ..Faults::default() });
            let mut ledger = Ledger::new(SyncMode::Always);
            assert_eq!(ledger.live_and(&disk, FRAMES, Leave::Flushed), Life::Full);
            // Never wrong records, nor fewer without a word: the ledger compares.
            match ledger.live(&disk, 0) {
                Life::Full => {}
                Life::Refused => refused += 1,
                Life::CutShort => panic!("rot at {at}, seed {seed}: a disk that works"),
            }
        }
    }
    let all = counts.operations * OUTCOMES;
    assert!(refused > 20 && refused < all, "{refused} of {all}");
}
