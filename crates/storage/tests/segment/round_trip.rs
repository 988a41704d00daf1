//! What is written is read back, in every shape and from every place.

use storage::disk::{Disk, Faults, SimulatedDisk};
use storage::{
    Segment, SegmentBuilder, SegmentDamage, SegmentError, SegmentSync, list_segments,
    remove_segment,
};

use crate::model::{
    NAME, NUMBER, Run, build, check_runs, draw_from, joined, read_run, run, shared,
};

const KIB: usize = 1 << 10;

fn check(runs: &[Run]) {
    let disk = SimulatedDisk::new();
    // Writes that are taken in parts must make no difference.
    disk.set_faults(Faults { write_bytes_max: Some(700_001), ..Faults::default() });
    let built = build(&disk, runs, SegmentSync::Synced).unwrap();
    let opened = Segment::open(&shared(&disk), NUMBER).unwrap();
    assert_eq!(built.file_bytes(), opened.file_bytes());
    assert_eq!(opened.file_bytes(), disk.files()[NAME].len() as u64);
    for segment in [built, opened] {
        check_runs(&segment, runs);
        for (number, run) in (0..).zip(runs.iter().filter(|run| !run.records.is_empty())) {
            let all = joined(run);
            for window_bytes in [0, 100 * KIB, usize::MAX] {
                assert!(read_run(&segment, number, window_bytes).unwrap() == all);
            }
        }
    }
}

#[test]
fn every_length_around_a_block_s_is_read_back() {
    let around = [64 * KIB - 1, 64 * KIB, 64 * KIB + 1];
    check(&[]);
    check(&[run(1, &[])]);
    check(&[run(1, &[0])]);
    check(&[run(1, &[0; 100]), run(2, &[]), run(3, &vec![1; 70_000]), run(4, &[])]);
    check(&[run(9, &around), run(3, &[1]), run(5, &[1, 64 * KIB - 1, 1, 64 * KIB, 0, 0, 5])]);
    check(&[run(1, &[128 * KIB - 1, 128 * KIB, 0, 3 << 20, 1, 3 << 20]), run(2, &[1, 3 << 20])]);
}

#[test]
fn random_shapes_agree_with_a_naive_model() {
    for seed in 0..60 {
        let mut draw = draw_from(seed);
        let runs: Vec<Run> = (0..draw(8))
            .map(|owner| {
                let (records, longest) = (draw(2_000), [1, 20, 300, 3_000][draw(4)]);
                let mut lengths: Vec<usize> = (0..records).map(|_| draw(longest)).collect();
                if draw(3) == 0 {
                    lengths.push(draw(300 * KIB));
                }
                run(owner as u64, &lengths)
            })
            .collect();
        check(&runs);
    }
}

#[test]
fn ten_thousand_small_runs_are_found_again() {
    let runs: Vec<Run> = (0..10_000).map(|owner| run(owner, &[3, 4])).collect();
    check(&runs);
}

#[test]
fn a_window_starts_with_the_block_of_the_record_and_ends_with_its_run() {
    let disk = SimulatedDisk::new();
    let runs = [run(1, &[1_000; 1_000]), run(2, &[1_000; 10])];
    let segment = build(&disk, &runs, SegmentSync::Unsynced).unwrap();
    let shape = |run, index, window_bytes| -> Vec<(u32, u32)> {
        let blocks = segment.read(run, index, window_bytes).unwrap();
        blocks.iter().map(|block| (block.first, block.count)).collect()
    };
    assert_eq!(shape(0, 0, 0), [(0, 65)]);
    assert_eq!(shape(0, 64, 0), [(0, 65)]);
    assert_eq!(shape(0, 65, 1), [(65, 65)]);
    assert_eq!(shape(0, 70, 3 * 65_040), [(65, 65), (130, 65), (195, 65)]);
    assert_eq!(shape(0, 70, 3 * 65_040 - 1), [(65, 65), (130, 65)]);
    assert_eq!(shape(0, 999, usize::MAX), [(975, 25)]);
    assert_eq!(shape(1, 9, usize::MAX), [(0, 10)]);
    for (run, index) in [(0, 1_000), (1, 10), (2, 0), (u32::MAX, u32::MAX)] {
        let refused = segment.read(run, index, 1).unwrap_err();
        assert!(
            matches!(
                refused,
                SegmentError::Damaged { found: SegmentDamage::NoSuchRecord { .. }, .. }
            ),
            "{refused}"
        );
    }
}

#[test]
fn files_are_listed_removed_and_never_written_twice() {
    let disk = SimulatedDisk::new();
    for name in ["journal-0000000001", "spare-0000000002", "segment-3", "notes"] {
        disk.create(name).unwrap();
    }
    let runs = [run(1, &[10])];
    let segment = build(&disk, &runs, SegmentSync::Unsynced).unwrap();
    SegmentBuilder::create(&shared(&disk), 12).unwrap().finish(SegmentSync::Unsynced).unwrap();
    drop(SegmentBuilder::create(&shared(&disk), 13).unwrap());
    assert_eq!(list_segments(&disk).unwrap(), [NUMBER, 12], "what was not finished is gone");
    let again = SegmentBuilder::create(&shared(&disk), NUMBER).unwrap_err();
    assert!(again.to_string().contains("segment-0000000007 could not be created"), "{again}");
    assert_eq!(read_run(&segment, 0, 1).unwrap(), joined(&runs[0]), "it is left alone");
    remove_segment(&disk, NUMBER).unwrap();
    remove_segment(&disk, NUMBER).unwrap();
    assert_eq!(list_segments(&disk).unwrap(), [12]);
    assert!(Segment::open(&shared(&disk), NUMBER).unwrap_err().is_not_found());
    assert!(segment.read(0, 0, 1).unwrap_err().is_not_found());
}
