//! Damage is found and named, wherever it is, and never becomes wrong data.

use std::collections::BTreeMap;

use storage::disk::{Faults, SimulatedDisk};
use storage::{Segment, SegmentDamage, SegmentError, SegmentSync};

use crate::model::{
    NAME, NUMBER, Run, build, check_runs, draw_from, joined, read_run, run, shared,
};

fn small() -> (Vec<Run>, Vec<u8>) {
    let runs = vec![run(1, &[40; 5]), run(2, &[0, 1, 2, 3]), run(1 << 50, &[300])];
    let disk = SimulatedDisk::new();
    build(&disk, &runs, SegmentSync::Synced).unwrap();
    (runs, disk.files().remove(NAME).unwrap())
}

/// Opens and reads everything: what is not refused is right. Says whether anything was refused.
fn right_or_refused(bytes: Vec<u8>, runs: &[Run], what: &str) -> bool {
    let disk = SimulatedDisk::with_files(BTreeMap::from([(NAME.to_owned(), bytes)]));
    let named = |error: &SegmentError| match error {
        SegmentError::Damaged { file, .. } | SegmentError::Newer { file, .. } => file == NAME,
        SegmentError::Io { .. } => false,
    };
    let segment = match Segment::open(&shared(&disk), NUMBER) {
        Ok(segment) => segment,
        Err(error) => {
            assert!(named(&error), "{what}: {error}");
            return true;
        }
    };
    check_runs(&segment, runs);
    let mut refused = false;
    for (number, run) in (0..).zip(runs) {
        match read_run(&segment, number, 1 << 20) {
            Ok(bytes) => assert_eq!(bytes, joined(run), "{what}"),
            Err(error) => {
                assert!(named(&error), "{what}: {error}");
                refused = true;
            }
        }
    }
    refused
}

#[test]
fn a_flipped_bit_anywhere_is_harmless_or_found() {
    let (runs, bytes) = small();
    assert!(!right_or_refused(bytes.clone(), &runs, "as written"));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refused = right_or_refused(flipped, &runs, &format!("bit {bit}"));
        // Of the head nothing is read that the trailer does not say as well.
        assert_eq!(refused, bit / 8 >= 32, "bit {bit}");
    }
}

#[test]
fn a_file_cut_or_lengthened_anywhere_is_no_segment() {
    let (runs, bytes) = small();
    for cut in 0..bytes.len() {
        assert!(right_or_refused(bytes[..cut].to_vec(), &runs, &format!("cut to {cut}")));
        let filled = [&bytes[..cut], &vec![0; bytes.len() - cut]].concat();
        assert!(right_or_refused(filled, &runs, &format!("zeros from {cut}")));
    }
    for more in [1, 72, 1_000] {
        let longer = [&bytes[..], &vec![0; more]].concat();
        assert!(right_or_refused(longer, &runs, &format!("{more} bytes too many")));
        let twice = [&bytes[..more.min(bytes.len())], &bytes].concat();
        assert!(right_or_refused(twice, &runs, &format!("{more} bytes before it")));
    }
}

#[test]
fn any_heap_of_damage_gives_the_right_data_or_refuses() {
    let (runs, bytes) = small();
    let mut draw = draw_from(1);
    for round in 0..20_000 {
        let mut harmed = bytes.clone();
        for _ in 0..=draw(4) {
            let (from, to, len) = (draw(harmed.len()), draw(harmed.len()), draw(60));
            let len = len.min(harmed.len() - from).min(harmed.len() - to);
            match draw(3) {
                0 => harmed[to] ^= 1 << draw(8),
                1 => harmed.copy_within(from..from + len, to),
                _ => harmed[to..to + len].fill(u8::try_from(draw(256)).unwrap()),
            }
        }
        right_or_refused(harmed, &runs, &format!("round {round}"));
    }
}

#[test]
fn blocks_before_a_damaged_one_are_still_read() {
    let runs = [run(1, &[1_000; 200])];
    let disk = SimulatedDisk::new();
    let segment = build(&disk, &runs, SegmentSync::Synced).unwrap();
    assert!(disk.flip_bit(NAME, 32 + 2 * 65_040 + 500, 3));
    let blocks = segment.read(0, 0, usize::MAX).unwrap();
    assert_eq!(blocks.len(), 2);
    let refused = segment.read(0, 130, usize::MAX).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the segment file segment-0000000007 is damaged at offset 130112: the block fails its \
         checksum. Restore the data directory from a backup; or stop the broker and let `postroom \
         repair --data-dir DIR` say what is lost, and give that up"
    );
    assert_eq!(segment.read(0, 195, 0).unwrap()[0].first, 195);
}

#[test]
fn another_segment_of_the_same_shape_is_not_taken_for_this_one() {
    let (_, bytes) = small();
    let files = BTreeMap::from([("segment-0000000008".to_owned(), bytes)]);
    let disk = SimulatedDisk::with_files(files);
    let refused = Segment::open(&shared(&disk), 8).unwrap_err();
    assert!(
        matches!(refused, SegmentError::Damaged { found: SegmentDamage::Number(7), .. }),
        "{refused}"
    );
}

#[test]
fn a_write_that_fails_is_no_reason_to_restore_a_backup() {
    let (runs, _) = small();
    let disk = SimulatedDisk::new();
    disk.set_faults(Faults { fail_write: Some(1), ..Faults::default() });
    assert_eq!(
        build(&disk, &runs, SegmentSync::Synced).unwrap_err().to_string(),
        "the segment file segment-0000000007 could not be written: Input/output error (os error 5)"
    );
}

#[test]
fn a_newer_format_is_refused_with_the_remedy() {
    let (_, mut bytes) = small();
    let version = bytes.len() - 12;
    bytes[version] = 2;
    let disk = SimulatedDisk::with_files(BTreeMap::from([(NAME.to_owned(), bytes)]));
    assert_eq!(
        Segment::open(&shared(&disk), NUMBER).unwrap_err().to_string(),
        "the segment file segment-0000000007 is written in format version 2, and this program \
         reads version 1 at most. Start the newer Postroom that wrote it"
    );
}
