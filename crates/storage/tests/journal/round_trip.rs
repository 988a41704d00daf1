//! What was committed comes back after a reopening: in order, byte for byte, and nothing else.

use crate::support::{open, open_with, settings, work_until_idle};
use bytes::Bytes;
use stdx::clock::Monotonic;
use storage::disk::SimulatedDisk;
use storage::{Nudge, Position, Staged, Work};

#[test]
fn records_come_back_in_order_with_their_tags() {
    let disk = SimulatedDisk::new();
    let mut opened = open(&disk).unwrap();
    assert_eq!(opened.summary.files, 0, "an empty directory is an empty journal");
    let mut staged = Staged::default();
    let long = Bytes::from(vec![7; 100_000]);
    for (index, wait) in [(0u8, "a"), (1, "b"), (2, "c")] {
        staged.record(index, |out| out.extend_from_slice(&[index; 3]));
        staged.record_with(100 + index, |out| out.push(index), long.clone());
        staged.wait(wait);
        staged.urge();
        let committed = opened.journal.commit(&mut staged, Monotonic(0)).unwrap();
        assert_eq!(committed.position, Position(u64::from(index) + 1));
        assert_eq!(committed.nudge, Nudge::Writer);
        assert!(staged.is_empty(), "the staged records moved");
        assert_eq!(work_until_idle(&mut opened.writer, Monotonic(0)), [wait]);
        assert_eq!(opened.journal.durable(), committed.position);
    }
    drop(opened);

    let reopened = open(&disk).unwrap();
    let with_head = |head: u8| [&[head][..], &long].concat();
    let expected: Vec<(u64, u8, Vec<u8>)> = (0..3u8)
        .flat_map(|index| {
            let position = u64::from(index) + 1;
            [(position, index, vec![index; 3]), (position, 100 + index, with_head(index))]
        })
        .collect();
    assert_eq!(reopened.records, expected);
    assert_eq!((reopened.summary.frames, reopened.summary.records), (3, 6));
    assert_eq!(reopened.summary.torn_tail, None);
    assert_eq!(reopened.journal.durable(), Position(3));
}

#[test]
fn a_record_of_sixteen_mebibytes_and_a_frame_longer_than_a_file() {
    let disk = SimulatedDisk::new();
    let mut opened = open_with(&disk, settings(1 << 20)).unwrap();
    let body = Bytes::from((0..16u32 << 20).map(|i| i.to_le_bytes()[1]).collect::<Vec<u8>>());
    for _ in 0..2 {
        let mut staged = Staged::default();
        staged.record_with(1, |out| out.extend_from_slice(b"head"), body.clone());
        staged.urge();
        opened.journal.commit(&mut staged, Monotonic(0)).unwrap();
        work_until_idle(&mut opened.writer, Monotonic(0));
    }
    let reopened = open(&disk).unwrap();
    assert_eq!(reopened.records.len(), 2);
    assert_eq!(reopened.summary.files, 2);
    for (_, _, payload) in &reopened.records {
        assert!(payload[..4] == *b"head" && payload[4..] == body);
    }
}

#[test]
fn thousands_of_slices_and_short_writes_make_one_frame() {
    let disk = SimulatedDisk::new();
    disk.set_faults(storage::disk::Faults {
        write_bytes_max: Some(10_007),
        ..storage::disk::Faults::default()
    });
    let mut opened = open(&disk).unwrap();
    let mut staged = Staged::default();
    for index in 0..3_000u32 {
        let body = Bytes::from(vec![index.to_le_bytes()[0]; 600]);
        staged.record_with(1, |out| out.extend_from_slice(&index.to_le_bytes()), body);
    }
    staged.urge();
    opened.journal.commit(&mut staged, Monotonic(0)).unwrap();
    work_until_idle(&mut opened.writer, Monotonic(0));
    let reopened = open(&disk).unwrap();
    assert_eq!(reopened.summary.frames, 1);
    assert_eq!(reopened.records.len(), 3_000);
    for (index, (_, _, payload)) in (0..3_000u32).zip(&reopened.records) {
        let expected = [&index.to_le_bytes()[..], &[index.to_le_bytes()[0]; 600]].concat();
        assert_eq!(payload, &expected);
    }
}

#[test]
fn waiters_come_back_in_order_whichever_way_they_came() {
    let disk = SimulatedDisk::new();
    let mut opened = open(&disk).unwrap();
    let mut staged = Staged::default();
    staged.record(1, |_| {});
    staged.wait("commit");
    staged.urge();
    let first = opened.journal.commit(&mut staged, Monotonic(0)).unwrap().position;
    assert_eq!(opened.journal.when_durable(first, "late"), None);
    assert_eq!(opened.journal.when_durable(Position(0), "at once"), Some("at once"));
    let Work::Wrote { position, waiters } = opened.writer.work(Monotonic(0)) else {
        panic!("the frame was due");
    };
    assert_eq!((position, waiters), (first, vec!["commit", "late"]));
    // Nobody overtakes those who have yet to be told.
    assert_eq!(opened.journal.when_durable(first, "meanwhile"), None);
    assert_eq!(opened.journal.when_durable(Position(0), "meanwhile, too"), None);
    assert_eq!(opened.writer.latecomers(), ["meanwhile", "meanwhile, too"]);
    assert_eq!(opened.journal.when_durable(first, "still meanwhile"), None);
    assert_eq!(opened.writer.latecomers(), ["still meanwhile"]);
    assert!(opened.writer.latecomers().is_empty());
    assert_eq!(opened.journal.when_durable(first, "after"), Some("after"));
}
