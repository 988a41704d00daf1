//! A directory of the broker's, read by a person: every frame, record and segment as a line of text.
//! And its repair: the broker alone knows the tag of the record that stands for what is lost.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use storage::disk::Disk;
use storage::{
    OpenError, RepairSettings, Scan, Segment, SegmentError, Sight, list_segments, repair, scan,
    segment_file_name,
};

use crate::chunk::Chunk;
use crate::journaled::binding_records::BindingRecord;
use crate::journaled::catalogue_records::CatalogueRecord;
use crate::journaled::checkpoint_records::{Checkpoint, QueueState};
use crate::journaled::message_records::{
    Enqueued, take_chunk_head, take_returned, take_settled, take_watermark,
};
use crate::journaled::segment_records::{KeptRecord, take_next_segment};
use crate::journaled::{Malformed, exchange_records, queue_records, tag};

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Files, and what is damaged.
    Files,
    /// Also every frame and every run of a segment.
    Frames,
    /// Also every record and every block.
    Records,
}

/// What an inspection found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Damaged places of the journal.
    pub journal_gaps: u64,
    /// Damaged places of segments.
    pub segment_damages: u64,
}

/// Why a directory can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The disk refuses, or a newer program wrote the journal.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The directory can't be listed.
    #[error("the directory can't be listed: {0}")]
    List(#[from] io::Error),
}

/// Tells what is in a directory, line by line, and changes nothing.
pub fn inspect(
    disk: &Arc<dyn Disk>,
    detail: Detail,
    line: &mut dyn FnMut(&str),
) -> Result<Inspected, InspectError> {
    let found = scan(&**disk, &mut |sight| {
        if let Some(text) = sight_line(&sight, detail) {
            line(&text);
        }
    })?;
    let mut inspected = Inspected { journal_gaps: found.gaps.len() as u64, ..Inspected::default() };
    let Scan { files, frames, records, released, .. } = found;
    line(&format!(
        "journal: {files} files, {frames} frames, {records} records; nothing before position \
         {released} is needed"
    ));
    for number in list_segments(&**disk)? {
        match segment_lines(disk, number, detail, line) {
            Ok(damages) => inspected.segment_damages += damages,
            Err(error) => {
                line(&format!("DAMAGED {error}"));
                inspected.segment_damages += 1;
            }
        }
    }
    Ok(inspected)
}

/// Replaces what is lost of a directory's journal by records that say so. Nobody may have it open.
/// `put_aside` gets the name of each file before it is changed.
pub fn repair_directory(
    disk: &Arc<dyn Disk>,
    generation: &mut dyn FnMut() -> u64,
    put_aside: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<u64, InspectError> {
    let settings = RepairSettings { void_tag: tag::VOID, generation, put_aside };
    Ok(repair(&**disk, settings)?.gaps.len() as u64)
}

fn sight_line(sight: &Sight<'_>, detail: Detail) -> Option<String> {
    Some(match sight {
        Sight::File { file, file_bytes, first, released } => format!(
            "{file}: {file_bytes} bytes, from position {first} on; released before {released}"
        ),
        Sight::Spare { file } => format!("{file}: waits to be written again"),
        Sight::Frame { offset, bytes, position, durable, released, .. } => {
            if detail < Detail::Frames {
                return None;
            }
            format!(
                "  frame {position}: offset {offset}, {bytes} bytes, durable {durable}, released \
                 {released}"
            )
        }
        Sight::Record { tag, payload, .. } => {
            if detail < Detail::Records {
                return None;
            }
            format!("    {}", record_line(*tag, payload))
        }
        Sight::Gap(gap) => {
            let (file, offset, found) = (&gap.file, gap.offset, gap.found);
            let frames = gap.missing.clone().count();
            let lost = match frames {
                0 => "no frame is lost".to_owned(),
                1 => format!("the frame of position {} is lost", gap.missing.start),
                _ => format!(
                    "{frames} frames are lost, positions {} to {}",
                    gap.missing.start,
                    gap.missing.end - 1
                ),
            };
            format!("DAMAGED {file}, offset {offset}: {found}; {lost}")
        }
        Sight::TornEnd { file, offset, position, found } => format!(
            "  the end, torn while it was written (no damage): {file}, offset {offset}, position \
             {position}: {found}"
        ),
    })
}

fn segment_lines(
    disk: &Arc<dyn Disk>,
    number: u64,
    detail: Detail,
    line: &mut dyn FnMut(&str),
) -> Result<u64, SegmentError> {
    let segment = Segment::open(disk, number)?;
    let (name, bytes, runs) = (segment_file_name(number), segment.file_bytes(), segment.runs());
    line(&format!("{name}: {bytes} bytes, {} runs", runs.len()));
    let mut damages = 0;
    for (number, run) in (0u32..).zip(runs) {
        if detail >= Detail::Frames {
            line(&format!(
                "  run {number}: queue {}, {} messages, sequences {} to {}, {} bytes",
                run.owner, run.records, run.first_id, run.last_id, run.payload_bytes
            ));
        }
        for block in segment.blocks(number) {
            let read = segment.read(number, block.first, 0);
            if detail >= Detail::Records {
                line(&format!(
                    "    block: offset {}, {} bytes, messages {} to {} of the run",
                    block.offset,
                    block.bytes,
                    block.first,
                    block.first.saturating_add(block.count).saturating_sub(1)
                ));
            }
            if let Err(error) = read {
                damages += 1;
                line(&format!(
                    "DAMAGED {error}; {} messages of queue {} are lost as far as they still wait",
                    block.count, run.owner
                ));
            }
        }
    }
    Ok(damages)
}

/// One record, whatever its bytes are.
fn record_line(tag: u8, payload: &Bytes) -> String {
    known_record(tag, payload).unwrap_or_else(|Malformed| {
        format!("malformed record of kind {tag}, {} bytes", payload.len())
    })
}

fn known_record(tag: u8, payload: &Bytes) -> Result<String, Malformed> {
    Ok(match tag {
        tag::CHUNK | tag::DEAD_CHUNK => {
            let (id, head_bytes) = take_chunk_head(payload)?;
            let chunk = Chunk::parse(payload.slice(head_bytes..)).map_err(|_| Malformed)?;
            let kind = if tag == tag::CHUNK { "chunk" } else { "dead chunk" };
            format!("{kind} {}: {} messages, {} bytes", id.0, chunk.count(), payload.len())
        }
        tag::ENQUEUED | tag::ENQUEUED_MARKED => {
            let Enqueued { queue, first, chunk, index, count, mark } =
                Enqueued::take(payload, tag)?;
            format!(
                "enqueued: queue {}, sequence {}, {count} messages from message {index} of chunk \
                 {}, {mark:?}",
                queue.0, first.0, chunk.0
            )
        }
        tag::SETTLED => {
            let (queue, spans) = take_settled(payload)?;
            let spans: Vec<(u64, u32)> =
                spans.into_iter().map(|(first, count)| (first.0, count)).collect();
            format!("settled: queue {}, (first, count) {spans:?}", queue.0)
        }
        tag::RETURNED => {
            let (queue, spans) = take_returned(payload)?;
            format!("returned: queue {}, {spans:?}", queue.0)
        }
        tag::WATERMARK => {
            let (queue, sequence) = take_watermark(payload)?;
            format!("watermark: queue {}, delivered before {}", queue.0, sequence.0)
        }
        tag::QUEUE_DECLARED => {
            let (id, name, declaration) = queue_records::take_declared(payload)?;
            format!("queue declared: {} is '{name}', {declaration:?}", id.0)
        }
        tag::QUEUE_DELETED => {
            format!("queue deleted: {}", queue_records::take_deleted(payload)?.0)
        }
        tag::EXCHANGE_DECLARED => {
            let (name, settings) = exchange_records::take_declared(payload)?;
            format!("exchange declared: '{name}', {settings:?}")
        }
        tag::EXCHANGE_DELETED => {
            format!("exchange deleted: '{}'", exchange_records::take_deleted(payload)?)
        }
        tag::BINDING_MADE => format!("binding made: {:?}", BindingRecord::take(payload)?),
        tag::BINDING_REMOVED => format!("binding removed: {:?}", BindingRecord::take(payload)?),
        tag::CHECKPOINT => format!("checkpoint: {:?}", Checkpoint::take(payload)?),
        tag::QUEUE_STATE => format!("queue state: {:?}", QueueState::take(payload)?),
        tag::KEPT => {
            let KeptRecord { segment, run, queue, alive } = KeptRecord::take(payload)?;
            let messages: u64 = alive.iter().map(|alive| u64::from(alive.kept.count)).sum();
            let ends = alive
                .first()
                .zip(alive.last())
                .map(|(first, last)| (first.kept.first.0, last.kept.first.plus(last.kept.count).0));
            format!(
                "kept: {messages} messages of queue {} in run {run} of {}, sequences {ends:?}",
                queue.0,
                segment_file_name(segment)
            )
        }
        tag::NEXT_SEGMENT => format!("next segment: {}", take_next_segment(payload)?),
        tag::VOID => "void: what was here is lost".to_owned(),
        other => match CatalogueRecord::take(other, payload)? {
            Some(CatalogueRecord::Checkpoint) => "catalogue checkpoint".to_owned(),
            Some(CatalogueRecord::Change(change)) => format!("{change:?}"),
            None => format!("record of unknown kind {other}, {} bytes", payload.len()),
        },
    })
}
