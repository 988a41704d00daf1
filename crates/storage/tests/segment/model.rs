//! What a segment should hold, the naive way: every run a list of records.

use std::sync::Arc;

use storage::disk::{Disk, SimulatedDisk};
use storage::{Segment, SegmentBuilder, SegmentError, SegmentSync};

/// The number of the segment that all tests write.
pub(crate) const NUMBER: u64 = 7;

/// Its name.
pub(crate) const NAME: &str = "segment-0000000007";

/// One run: its owner, and its records with their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) owner: u64,
    pub(crate) records: Vec<(u64, Vec<u8>)>,
}

/// A generator that repeats exactly; `draw(n)` is a number below n.
pub(crate) fn draw_from(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |end| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end.max(1)
    }
}

/// Records of these lengths, their bytes different in every run and place.
pub(crate) fn run(owner: u64, lengths: &[usize]) -> Run {
    let records = (0..).zip(lengths).map(|(at, length)| {
        let seed = u8::try_from((owner * 31 + at * 7) % 251).unwrap();
        let record = (0..*length).map(|byte| seed.wrapping_add(byte.to_le_bytes()[0])).collect();
        (owner * 1_000 + 3 * at, record)
    });
    Run { owner, records: records.collect() }
}

pub(crate) fn shared(disk: &SimulatedDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

pub(crate) fn build(
    disk: &SimulatedDisk,
    runs: &[Run],
    sync: SegmentSync,
) -> Result<Segment, SegmentError> {
    let mut builder = SegmentBuilder::create(&shared(disk), NUMBER)?;
    let mut number = 0;
    for run in runs {
        assert_eq!(builder.begin_run(run.owner), number);
        for (id, record) in &run.records {
            builder.append(*id, record)?;
        }
        number += u32::from(!run.records.is_empty());
    }
    builder.finish(sync)
}

/// Reads all of a run in windows of this length, and checks that it goes on where it stopped.
pub(crate) fn read_run(
    segment: &Segment,
    run: u32,
    window_bytes: usize,
) -> Result<Vec<u8>, SegmentError> {
    let records = segment.runs()[usize::try_from(run).unwrap()].records;
    let (mut next, mut all) = (0, Vec::new());
    while next < records {
        for block in segment.read(run, next, window_bytes)? {
            assert_eq!(block.first, next);
            assert!(block.count > 0);
            next += block.count;
            all.extend_from_slice(&block.bytes);
        }
    }
    assert_eq!(next, records);
    Ok(all)
}

/// Fails unless the segment says of itself what the model says.
pub(crate) fn check_runs(segment: &Segment, runs: &[Run]) {
    let runs: Vec<&Run> = runs.iter().filter(|run| !run.records.is_empty()).collect();
    assert_eq!(segment.runs().len(), runs.len());
    for (seen, run) in segment.runs().iter().zip(runs) {
        let payload_bytes: usize = run.records.iter().map(|(_, record)| record.len()).sum();
        assert_eq!(seen.owner, run.owner);
        assert_eq!(seen.records as usize, run.records.len());
        assert_eq!(Some(seen.first_id), run.records.first().map(|(id, _)| *id));
        assert_eq!(Some(seen.last_id), run.records.last().map(|(id, _)| *id));
        assert_eq!(seen.payload_bytes, payload_bytes as u64);
    }
}

/// All records of a run side by side.
pub(crate) fn joined(run: &Run) -> Vec<u8> {
    run.records.iter().flat_map(|(_, record)| record.iter().copied()).collect()
}
