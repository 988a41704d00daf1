//! What can be read of the messages of one segment, whatever happened to the segment.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::binding::QueueId;
use domain::run::{Place, Run};
use storage::disk::Disk;
use storage::{SegmentError, SegmentSight, segment_file_name, survey_segment};

use crate::chunk::Chunk;
use crate::inspect::{Note, segment_damage_note, segment_sight_note};
use crate::journaled::message_records::Span;
use crate::recover::losses::InSegment;

/// What is kept of the blocks that are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Where they are.
    Places,
    /// Also the messages in them.
    Messages,
}

/// What can be read of one segment.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Whole blocks, by run and the number of the first message in it.
    blocks: BTreeMap<(u32, u32), Block>,
    /// Damaged places.
    flaws: u64,
}

#[derive(Debug)]
struct Block {
    count: u32,
    chunk: Arc<Chunk>,
}

impl Survey {
    /// Reads the whole segment, and tells of everything that is damaged.
    pub(super) fn of(
        disk: &Arc<dyn Disk>,
        number: u64,
        keep: Keep,
        tell: &mut dyn FnMut(Note),
    ) -> Result<Survey, SegmentError> {
        let name = segment_file_name(number);
        let mut survey = Survey::default();
        let mut notes = Vec::new();
        let surveyed = survey_segment(disk, number, &mut |sight| {
            notes.extend(segment_sight_note(&name, &sight));
            let SegmentSight::Block(place, bytes) = sight else { return };
            match Chunk::parse(bytes) {
                Ok(chunk) if chunk.count() == place.count && place.count > 0 => {
                    let chunk = if keep == Keep::Messages { chunk } else { Chunk::default() };
                    let block = Block { count: place.count, chunk: Arc::new(chunk) };
                    survey.blocks.entry((place.run, place.first)).or_insert(block);
                }
                Ok(_) | Err(_) => {
                    let text = format!(
                        "DAMAGED {name}, offset {}: the block is not made of whole messages",
                        place.offset
                    );
                    notes.push(Note::new("damage", text).text("file", &name));
                }
            }
        });
        match surveyed.map(|surveyed| surveyed.segment) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => notes.insert(0, segment_damage_note(&name, &error)),
            Err(error) if error.is_not_found() => {
                let text = format!("DAMAGED {name}: the file is missing");
                notes.push(Note::new("damage", text).text("file", &name));
            }
            Err(error) => return Err(error),
        }
        survey.flaws = notes.len() as u64;
        notes.into_iter().for_each(tell);
        Ok(survey)
    }

    /// Whether the segment may stay as it is: also a damaged block of messages that are gone is in
    /// the way of whoever reads those around it.
    pub(super) fn is_whole_for(&self, alive: &[InSegment]) -> bool {
        self.flaws == 0 && self.lost(alive).is_empty()
    }

    /// The messages that can't be read.
    pub(super) fn lost(&self, alive: &[InSegment]) -> BTreeMap<QueueId, Vec<Span>> {
        let mut lost: BTreeMap<QueueId, Vec<Span>> = BTreeMap::new();
        for alive in alive {
            let mut next = alive.messages.first;
            let mut add = |first, count| {
                if count > 0 {
                    lost.entry(alive.queue).or_default().push((first, count));
                }
            };
            for (readable, _) in self.readable(alive) {
                add(next, span(next.0, readable.first.0));
                next = readable.end();
            }
            add(next, span(next.0, alive.messages.end().0));
        }
        lost
    }

    /// Those that can, and in which of [`Survey::chunks`] each lies; their places are in that.
    pub(super) fn readable(&self, alive: &InSegment) -> Vec<(Run, u32)> {
        let mut found = Vec::new();
        let mut rest = Some(alive.messages);
        for (source, ((run, first), block)) in (0u32..).zip(&self.blocks) {
            if *run != alive.segment_run {
                continue;
            }
            let end = first.saturating_add(block.count);
            let Some(messages) = rest else { break };
            let index = messages.place.index;
            if end <= index {
                continue;
            }
            let mut messages = messages;
            if *first > index {
                let (_lost, behind) = messages.split(*first - index);
                let Some(behind) = behind else { break };
                messages = behind;
            }
            let (here, behind) = messages.split(end - messages.place.index);
            let place = Place { chunk: source, index: here.place.index - *first };
            found.push((Run { place, ..here }, source));
            rest = behind;
        }
        found
    }

    /// The messages of the whole blocks.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Arc<Chunk>> {
        self.blocks.values().map(|block| Arc::clone(&block.chunk))
    }
}

fn span(first: u64, end: u64) -> u32 {
    u32::try_from(end.saturating_sub(first)).unwrap_or(u32::MAX)
}
