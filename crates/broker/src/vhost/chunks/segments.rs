//! The segments of a virtual host: how much of each is alive, which may go, which are worth being
//! written anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage::Segment;

use super::sealed::SealedRun;
use crate::limits;

/// A segment that something alive lies in.
#[derive(Debug)]
struct SegmentSlot {
    segment: Arc<Segment>,
    /// Runs of it that have a slot.
    runs: u32,
    /// Roughly the bytes of what lives in it.
    live_bytes: u64,
    /// The same at the last look.
    live_bytes_before: u64,
    /// It lost much since then.
    is_drained: bool,
}

/// All segments.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    by_number: BTreeMap<u64, SegmentSlot>,
    /// Nothing of them is alive any more; not yet said in the journal.
    doomed: Vec<u64>,
    next_number: u64,
    next_key: u64,
    /// Something has happened to them since the last look.
    changed: bool,
}

/// What all segments take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentTotals {
    pub(crate) segments: u64,
    pub(crate) file_bytes: u64,
    pub(crate) live_bytes: u64,
}

impl Segments {
    pub(crate) fn new(next_number: u64) -> Segments {
        Segments { next_number, ..Segments::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    /// The number was given once.
    pub(crate) fn give_no_more(&mut self, number: u64) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// The number of a new segment.
    pub(crate) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// The number that the next one will get.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The key of a new run.
    pub(crate) fn take_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    pub(crate) fn add_run(&mut self, run: &SealedRun) {
        let slot = self.by_number.entry(run.segment.number()).or_insert_with(|| SegmentSlot {
            segment: Arc::clone(&run.segment),
            runs: 0,
            live_bytes: 0,
            live_bytes_before: 0,
            is_drained: false,
        });
        slot.runs += 1;
        self.changed = true;
    }

    /// Whether it is worth looking at them.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// They were looked at.
    pub(crate) fn seen(&mut self) {
        self.changed = false;
    }

    /// Something lies in it that comes from elsewhere.
    pub(crate) fn held(&mut self, run: &SealedRun, count: u64) {
        if let Some(slot) = self.by_number.get_mut(&run.segment.number()) {
            slot.live_bytes += bytes_of(run, count);
        }
    }

    pub(crate) fn released(&mut self, run: &SealedRun, count: u64) {
        if let Some(slot) = self.by_number.get_mut(&run.segment.number()) {
            slot.live_bytes = slot.live_bytes.saturating_sub(bytes_of(run, count));
            self.changed = true;
        }
    }

    pub(crate) fn remove_run(&mut self, run: &SealedRun) {
        let number = run.segment.number();
        let Some(slot) = self.by_number.get_mut(&number) else { return };
        slot.runs -= 1;
        if slot.runs == 0 {
            self.by_number.remove(&number);
            self.doomed.push(number);
        }
    }

    /// A segment was written, and nothing of it is alive.
    pub(crate) fn doom(&mut self, number: u64) {
        self.doomed.push(number);
    }

    /// What nothing refers to any more once the present turn is durable.
    pub(crate) fn take_doomed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.doomed)
    }

    /// Those to be written anew together: mostly dead ones, or many small ones; empty if there is
    /// no need.
    pub(crate) fn worth_rewriting(&mut self, dead_bytes_min: u64, small_bytes: u64) -> Vec<u64> {
        // What is being drained just now will soon be gone without that.
        let mut drained = false;
        for slot in self.by_number.values_mut() {
            let before = std::mem::replace(&mut slot.live_bytes_before, slot.live_bytes);
            slot.is_drained = slot.live_bytes < before - before / 8;
            drained |= slot.is_drained;
        }
        self.changed |= drained;
        let live = |(number, slot): (&u64, &SegmentSlot)| (*number, slot.live_bytes);
        let mut chosen: Vec<(u64, u64)> = (self.by_number.iter())
            .filter(|(_, slot)| !slot.is_drained)
            .filter(|(_, slot)| slot.live_bytes < slot.segment.file_bytes() / 2)
            .map(live)
            .collect();
        let small: Vec<(u64, u64)> = (self.by_number.iter())
            .filter(|(_, slot)| !slot.is_drained && slot.live_bytes < small_bytes)
            .map(live)
            .collect();
        let dead_bytes: u64 = (chosen.iter())
            .filter_map(|(number, live)| {
                let file_bytes = self.by_number.get(number)?.segment.file_bytes();
                Some(file_bytes.saturating_sub(*live))
            })
            .sum();
        // A few kilobytes of waste are no reason to write.
        if dead_bytes < dead_bytes_min {
            chosen.clear();
        }
        if small.len() >= limits::SMALL_SEGMENTS_MAX {
            chosen.extend(small);
            chosen.sort_unstable();
            chosen.dedup();
        }
        let mut bytes = 0;
        chosen.retain(|(_, live_bytes)| {
            bytes += live_bytes;
            bytes <= limits::SEAL_JOB_BYTES as u64
        });
        chosen.into_iter().map(|(number, _)| number).collect()
    }

    pub(crate) fn totals(&self) -> SegmentTotals {
        let mut totals = SegmentTotals::default();
        for slot in self.by_number.values() {
            totals.segments += 1;
            totals.file_bytes += slot.segment.file_bytes();
            totals.live_bytes += slot.live_bytes;
        }
        totals
    }
}

/// About so many bytes are `count` messages of a run.
fn bytes_of(run: &SealedRun, count: u64) -> u64 {
    let found = run.segment.runs().get(run.run as usize);
    found.map_or(0, |whole| count * whole.payload_bytes / u64::from(whole.records.max(1)))
}
