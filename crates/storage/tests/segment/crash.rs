//! A segment that was finished survives every crash; one that was not is never taken for one.

use storage::disk::{Faults, SimulatedDisk};
use storage::{Operation, Segment, SegmentError, SegmentSync, list_segments};

use crate::model::{NUMBER, Run, build, check_runs, joined, read_run, run, shared};

fn some_runs() -> Vec<Run> {
    vec![run(1, &[900; 1_500]), run(2, &[200_000, 5, 7]), run(3, &[1_000; 900])]
}

fn check_whole(segment: &Segment, runs: &[Run], what: &str) {
    check_runs(segment, runs);
    for (number, run) in (0..).zip(runs) {
        assert!(read_run(segment, number, 1 << 20).unwrap() == joined(run), "{what}");
    }
}

#[test]
fn after_the_power_failed_a_segment_is_whole_or_none() {
    let runs = some_runs();
    let working = SimulatedDisk::new();
    build(&working, &runs, SegmentSync::Synced).unwrap();
    let operations = working.counts().operations;
    assert!(operations >= 6, "{operations}");
    let (mut whole, mut partly) = (0, 0);
    for power_out in 1..=operations + 1 {
        let disk = SimulatedDisk::new();
        disk.set_faults(Faults { power_out: Some(power_out), ..Faults::default() });
        let finished = build(&disk, &runs, SegmentSync::Synced).is_ok();
        assert_eq!(finished, power_out > operations);
        for seed in 0..40 {
            let what = format!("power out at {power_out}, seed {seed}");
            let crashed = disk.crash(seed);
            match Segment::open(&shared(&crashed), NUMBER) {
                // Its end may be on the disk before its middle is, as long as nothing refers to it.
                Ok(segment) if !finished => {
                    check_runs(&segment, &runs);
                    for (number, run) in (0..).zip(&runs) {
                        match read_run(&segment, number, 1 << 20) {
                            Ok(bytes) => assert!(bytes == joined(run), "{what}"),
                            Err(SegmentError::Damaged { .. }) => partly += 1,
                            Err(error) => panic!("{what}: {error}"),
                        }
                    }
                }
                Ok(segment) => {
                    check_whole(&segment, &runs, &what);
                    whole += 1;
                }
                Err(error) => {
                    assert!(!finished, "{what}: {error}");
                    let there = list_segments(&crashed).unwrap() == [NUMBER];
                    assert_eq!(error.is_not_found(), !there, "{what}: {error}");
                }
            }
        }
    }
    assert_eq!(whole, 40, "a finished one is there after every crash");
    assert!(partly > 0, "an unfinished one is seen in part");
}

#[test]
fn a_full_disk_is_said_to_be_full_and_gets_its_room_back() {
    let runs = some_runs();
    let file_bytes = build(&SimulatedDisk::new(), &runs, SegmentSync::Synced).unwrap().file_bytes();
    for capacity_bytes in [0, 1, 1 << 20, file_bytes - 1] {
        let disk = SimulatedDisk::new();
        let faults = Faults { capacity_bytes: Some(capacity_bytes), ..Faults::default() };
        disk.set_faults(faults);
        let error = build(&disk, &runs, SegmentSync::Synced).unwrap_err();
        assert!(error.is_no_space() && !error.is_not_found(), "{error}");
        assert!(error.to_string().contains("Make room on the disk"), "{error}");
        assert!(disk.files().is_empty(), "what could not be finished is undone");
    }
    let disk = SimulatedDisk::new();
    disk.set_faults(Faults { capacity_bytes: Some(file_bytes), ..Faults::default() });
    check_whole(&build(&disk, &runs, SegmentSync::Synced).unwrap(), &runs, "it just fits");
}

#[test]
fn a_disk_that_fails_is_named_with_what_it_failed_at() {
    let runs = some_runs();
    let working = SimulatedDisk::new();
    build(&working, &runs, SegmentSync::Synced).unwrap();
    let fails = |faults, expected| {
        let disk = SimulatedDisk::new();
        disk.set_faults(faults);
        match build(&disk, &runs, SegmentSync::Synced) {
            Err(SegmentError::Io { file, operation, error }) => {
                assert_eq!((file.as_str(), operation), ("segment-0000000007", expected));
                assert_eq!(error.raw_os_error(), Some(5));
                let error = SegmentError::Io { file, operation, error };
                assert!(!error.is_no_space() && !error.is_not_found());
            }
            other => panic!("{other:?}"),
        }
        assert!(disk.files().is_empty());
    };
    for write in 1..=working.counts().writes {
        fails(Faults { fail_write: Some(write), ..Faults::default() }, Operation::Write);
    }
    fails(Faults { fail_sync: Some(1), ..Faults::default() }, Operation::Sync);
    let unsynced = SimulatedDisk::new();
    unsynced.set_faults(Faults { fail_sync: Some(1), ..Faults::default() });
    build(&unsynced, &runs, SegmentSync::Unsynced).unwrap();
    let counts = unsynced.counts();
    assert_eq!((counts.syncs, counts.directory_syncs), (0, 0));
}
