//! A survey finds every block that is whole, with the index and without it, and nothing else.

use std::collections::BTreeMap;

use storage::disk::SimulatedDisk;
use storage::{SegmentError, SegmentPlace, SegmentSight, SegmentSync, survey_segment};

use crate::model::{NAME, NUMBER, Run, build, joined, run, shared};

/// Runs of several blocks each; one record imitates a block's magic.
fn runs() -> Vec<Run> {
    let mut runs = vec![run(1, &[9_000; 20]), run(2, &[100; 3]), run(9, &[30_000; 5])];
    let bytes = &mut runs[1].records[1].1;
    bytes[..4].copy_from_slice(b"PoBl");
    runs
}

type Blocks = BTreeMap<(u32, u32), Vec<u8>>;

/// The whole blocks, how many places are damaged, and whether the segment opens.
fn surveyed(bytes: &[u8]) -> (Blocks, usize, bool) {
    let disk = SimulatedDisk::with_files(BTreeMap::from([(NAME.to_owned(), bytes.to_vec())]));
    let (mut blocks, mut damaged) = (Blocks::new(), 0);
    let survey = survey_segment(&shared(&disk), NUMBER, &mut |sight| match sight {
        SegmentSight::Block(SegmentPlace { run, first, count, .. }, bytes) => {
            assert!(count > 0);
            assert_eq!(blocks.insert((run, first), bytes.to_vec()), None);
        }
        SegmentSight::Damaged(..) | SegmentSight::Waste { .. } => damaged += 1,
    });
    let survey = survey.unwrap();
    assert_eq!(survey.file_bytes, bytes.len() as u64);
    assert_eq!(disk.counts().operations, 0, "nothing is changed");
    (blocks, damaged, survey.segment.is_ok())
}

fn whole() -> (Vec<u8>, Blocks) {
    let disk = SimulatedDisk::new();
    build(&disk, &runs(), SegmentSync::Synced).unwrap();
    let bytes = disk.files().remove(NAME).unwrap();
    let (blocks, damaged, opens) = surveyed(&bytes);
    assert!(opens && damaged == 0 && blocks.len() > 6, "{}", blocks.len());
    for (number, run) in (0u32..).zip(runs()) {
        let of_run = blocks.range((number, 0)..=(number, u32::MAX));
        assert_eq!(of_run.flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<u8>>(), joined(&run));
    }
    (bytes, blocks)
}

#[test]
fn one_flipped_bit_costs_one_block_at_most() {
    let (bytes, all) = whole();
    let end = bytes.len();
    for with_index in [true, false] {
        let mut bytes = bytes.clone();
        if !with_index {
            bytes[end - 40] ^= 1;
        }
        for offset in (0..end - 72).step_by(101).chain(32..72) {
            bytes[offset] ^= 2;
            let (blocks, damaged, opens) = surveyed(&bytes);
            bytes[offset] ^= 2;
            let what = format!("byte {offset}, index: {with_index}");
            assert!(blocks.iter().all(|(place, bytes)| all.get(place) == Some(bytes)), "{what}");
            assert!(blocks.len() + 1 >= all.len(), "{what}");
            assert!(blocks.len() == all.len() || damaged > 0 || !opens, "{what}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_keeps_the_blocks_before_it() {
    let (bytes, all) = whole();
    let mut before = 0;
    for cut in (0..bytes.len()).step_by(997) {
        let (blocks, _, opens) = surveyed(&bytes[..cut]);
        assert!(!opens);
        assert!(blocks.iter().all(|(place, bytes)| all.get(place) == Some(bytes)));
        assert!(blocks.len() >= before);
        before = blocks.len();
    }
    assert!(before + 1 >= all.len());
}

#[test]
fn another_segments_blocks_are_none() {
    let (mut bytes, _) = whole();
    let end = bytes.len();
    bytes[end - 40] ^= 1;
    let files = BTreeMap::from([("segment-0000000008".to_owned(), bytes)]);
    let disk = SimulatedDisk::with_files(files);
    let survey = survey_segment(&shared(&disk), 8, &mut |sight| {
        assert!(!matches!(sight, SegmentSight::Block(..)), "{sight:?}");
    });
    assert!(matches!(survey.unwrap().segment, Err(SegmentError::Damaged { .. })));
}
