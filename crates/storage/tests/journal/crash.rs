//! The power goes out during every single operation of a scripted owner, with many outcomes each, and
//! again in the life after that.

use storage::SyncMode;
use storage::disk::{DiskCounts, Faults, SimulatedDisk};

use crate::ledger::{Ledger, Life};

/// Long enough for several files, releases, recycling and deletion.
const FRAMES: u64 = 40;

/// How many ways a crash at one operation may end that are looked at.
const OUTCOMES: u64 = 6;

fn power_out_at(operation: u64) -> Faults {
    Faults { power_out: Some(operation), ..Faults::default() }
}

/// One whole life on a disk that works; what it asked of the disk.
fn undisturbed(sync: SyncMode) -> DiskCounts {
    let disk = SimulatedDisk::new();
    let mut ledger = Ledger::new(sync);
    assert_eq!(ledger.live(&disk, FRAMES), Life::Full);
    assert_eq!(ledger.live(&disk, 0), Life::Full, "everything is there after a restart");
    disk.counts()
}

fn crash_everywhere(sync: SyncMode) {
    let operations = undisturbed(sync).operations;
    for operation in 1..=operations {
        let disk = SimulatedDisk::new();
        disk.set_faults(power_out_at(operation));
        let mut ledger = Ledger::new(sync);
        ledger.live(&disk, FRAMES);
        for outcome in 0..OUTCOMES {
            let mut ledger = ledger.clone();
            let seed = operation * OUTCOMES + outcome;
            let found = disk.crash(seed);
            // The second life is cut short as well, early, in the middle, or not at all.
            found.set_faults(power_out_at(1 + seed % 40));
            ledger.live(&found, 8);
            let found = found.crash(seed);
            assert_eq!(ledger.live(&found, 20), Life::Full);
            assert_eq!(ledger.live(&found, 1), Life::Full);
        }
    }
}

#[test]
fn the_script_visits_everything() {
    let counts = undisturbed(SyncMode::Always);
    assert!(counts.entry_changes > 20, "many files are begun and let go: {counts:?}");
    assert!(counts.directory_syncs > 10, "{counts:?}");
}

#[test]
fn every_confirmed_record_survives_every_crash() {
    crash_everywhere(SyncMode::Always);
}

#[test]
fn every_flushed_record_survives_every_crash_in_mode_interval() {
    crash_everywhere(SyncMode::Interval { ms: 1_000 });
}

#[test]
fn every_flushed_record_survives_every_crash_in_mode_never() {
    crash_everywhere(SyncMode::Never);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let disk = SimulatedDisk::new();
        disk.set_faults(power_out_at(90));
        let mut ledger = Ledger::new(SyncMode::Always);
        ledger.live(&disk, FRAMES);
        (ledger.durable(), disk.crash(7).files().into_keys().collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}
