//! A directory of the broker's, read by a person: every frame, record and segment as a line of text.
//! Nothing is changed, and nothing is believed.

mod record_line;

mod note;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use storage::disk::{Disk, SalvageDisk, UnreadPlace};
use storage::{
    Gap, OpenError, Scan, SegmentError, SegmentPlace, SegmentSight, Sight, list_segments, scan,
    segment_file_name, survey_segment,
};

use crate::chunk::Chunk;
pub use note::{Field, Note};
use record_line::{message_lines, record_kind, record_line};

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

/// Whether the messages themselves are told, where records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Only how many there are, and how large.
    Hidden,
    /// With their bodies.
    Shown,
}

/// What to tell.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// How much.
    pub detail: Detail,
    /// Whether bodies are told.
    pub bodies: Bodies,
    /// Of these files only; of all if there are none.
    pub files: Vec<String>,
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

/// Whether a file of this name may be part of a journal or a segment.
pub fn is_stored_file(name: &str) -> bool {
    storage::is_journal_file(name) || storage::segment_file_number(name).is_some()
}

/// Tells what is in a directory, and changes nothing.
pub fn inspect(
    disk: &Arc<dyn Disk>,
    inspection: &Inspection,
    tell: &mut dyn FnMut(Note),
) -> Result<Inspected, InspectError> {
    let wanted = |file: &str| {
        inspection.files.is_empty() || inspection.files.iter().any(|wanted| wanted == file)
    };
    let salvage = Arc::new(SalvageDisk::new(Arc::clone(disk)));
    let disk = &(Arc::clone(&salvage) as Arc<dyn Disk>);
    let mut inspected = Inspected::default();
    let mut at = String::new();
    let mut tally = Tally::default();
    let found = scan(&**disk, &mut |sight| {
        if let Sight::File { file, .. } | Sight::Spare { file } = &sight {
            (*file).clone_into(&mut at);
        }
        tally.see(&sight, inspection.detail, tell);
        let file = if let Sight::Gap(gap) = &sight { &gap.file } else { &at };
        if wanted(file) {
            inspected.journal_gaps += u64::from(matches!(sight, Sight::Gap(_)));
            match (&sight, sight_note(&sight, inspection)) {
                (Sight::Frame { .. }, Some(note)) if inspection.detail == Detail::Frames => {
                    tally.frame = Some(note);
                }
                (_, note) => note.into_iter().for_each(&mut *tell),
            }
        }
    })?;
    tally.end(tell);
    if inspection.files.is_empty() {
        let Scan { files, frames, records, released, .. } = found;
        let text = format!(
            "journal: {files} files, {frames} frames, {records} records; nothing before position \
             {released} is needed"
        );
        let note = Note::new("journal", text).number("files", files).number("frames", frames);
        tell(note.number("records", records).number("released", released.0));
    }
    for number in list_segments(&**disk)? {
        if wanted(&segment_file_name(number)) {
            inspected.segment_damages += segment_notes(disk, number, inspection, tell);
        }
    }
    for place in salvage.unread().iter().filter(|place| wanted(&place.file)) {
        tell(unread_note(place));
        inspected.journal_gaps += u64::from(storage::is_journal_file(&place.file));
    }
    Ok(inspected)
}

/// A frame that is told when its records have been counted.
#[derive(Default)]
struct Tally {
    frame: Option<Note>,
    kinds: Vec<(&'static str, u64)>,
}

impl Tally {
    fn see(&mut self, sight: &Sight<'_>, detail: Detail, tell: &mut dyn FnMut(Note)) {
        let Sight::Record { tag, .. } = sight else { return self.end(tell) };
        let kind = record_kind(*tag);
        match self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            _ if detail != Detail::Frames => {}
            Some((_, count)) => *count += 1,
            None => self.kinds.push((kind, 1)),
        }
    }

    fn end(&mut self, tell: &mut dyn FnMut(Note)) {
        let kinds: Vec<String> =
            self.kinds.drain(..).map(|(kind, count)| format!("{count} {kind}")).collect();
        if let Some(mut note) = self.frame.take() {
            let records = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
            note.text.push_str(": ");
            note.text.push_str(&records);
            tell(note.text("records", &records));
        }
    }
}

fn sight_note(sight: &Sight<'_>, inspection: &Inspection) -> Option<Note> {
    let detail = inspection.detail;
    Some(match sight {
        Sight::File { file, file_bytes, first, released } => {
            let text = format!(
                "{file}: {file_bytes} bytes, from position {first} on; released before {released}"
            );
            let note = Note::new("file", text).text("file", file).number("bytes", *file_bytes);
            note.number("first", first.0).number("released", released.0)
        }
        Sight::Spare { file } => {
            Note::new("spare", format!("{file}: waits to be written again")).text("file", file)
        }
        Sight::Frame { file, offset, bytes, position, durable, released } => {
            if detail < Detail::Frames {
                return None;
            }
            let text = format!(
                "frame {position}: offset {offset}, {bytes} bytes, durable {durable}, released \
                 {released}"
            );
            let note = Note::new("frame", text).at_depth(1).text("file", file);
            let note = note.number("position", position.0).number("offset", *offset);
            let note = note.number("bytes", *bytes).number("durable", durable.0);
            note.number("released", released.0)
        }
        Sight::Record { position, tag, payload } => {
            if detail < Detail::Records {
                return None;
            }
            let text = record_line(*tag, payload, inspection.bodies);
            let note = Note::new("record", text).at_depth(2).number("position", position.0);
            note.number("tag", u64::from(*tag)).number("bytes", payload.len() as u64)
        }
        Sight::Gap(gap) => gap_note(gap),
        Sight::TornEnd { file, offset, position, found } => {
            let text = format!(
                "the end, torn while it was written (no damage): {file}, offset {offset}, position \
                 {position}: {found}"
            );
            let note = Note::new("torn_end", text).at_depth(1).text("file", file);
            note.number("offset", *offset).number("position", position.0)
        }
    })
}

/// What is to be said of a place where something of a journal is missing.
pub(crate) fn gap_note(gap: &Gap) -> Note {
    let Gap { file, offset, found, missing, .. } = gap;
    let frames = missing.end.saturating_sub(missing.start);
    let lost = match frames {
        0 => "no frame is lost".to_owned(),
        1 => format!("the frame of position {} is lost", missing.start),
        _ => format!(
            "{frames} frames are lost, positions {} to {}",
            missing.start,
            missing.end.saturating_sub(1)
        ),
    };
    let note = Note::new("damage", format!("DAMAGED {file}, offset {offset}: {found}; {lost}"));
    let note = note.text("file", file).number("offset", *offset).number("frames_lost", frames);
    note.number("first_lost", missing.start)
}

/// What is to be said of what the disk does not give back.
pub(crate) fn unread_note(place: &UnreadPlace) -> Note {
    let UnreadPlace { file, offset, bytes } = place;
    let text = format!(
        "DAMAGED {file}, offset {offset}: the disk does not give {bytes} bytes back; what was in them \
         is lost"
    );
    Note::new("damage", text).text("file", file).number("offset", *offset).number("bytes", *bytes)
}

/// What is to be said of a segment that does not open.
pub(crate) fn segment_damage_note(file: &str, error: &SegmentError) -> Note {
    let what = match error {
        SegmentError::Damaged { offset, found, .. } => format!("offset {offset}: {found}"),
        SegmentError::Io { .. } | SegmentError::Newer { .. } => error.to_string(),
    };
    Note::new("damage", format!("DAMAGED {file}, {what}")).text("file", file)
}

/// What is to be said of something damaged in a segment; nothing of what is whole.
pub(crate) fn segment_sight_note(file: &str, sight: &SegmentSight) -> Option<Note> {
    let (text, offset) = match sight {
        SegmentSight::Block(..) => return None,
        SegmentSight::Damaged(place, found) => {
            let SegmentPlace { run, first, count, offset, .. } = *place;
            let last = last_of(first, count);
            let whose = format!("messages {first} to {last} of run {run}");
            (format!("DAMAGED {file}, offset {offset}: {found}; {whose}"), offset)
        }
        SegmentSight::Waste { offset, bytes } => {
            (format!("DAMAGED {file}, offset {offset}: {bytes} bytes are no whole block"), *offset)
        }
    };
    Some(Note::new("damage", text).text("file", file).number("offset", offset))
}

fn segment_notes(
    disk: &Arc<dyn Disk>,
    number: u64,
    inspection: &Inspection,
    tell: &mut dyn FnMut(Note),
) -> u64 {
    let name = segment_file_name(number);
    let detail = inspection.detail;
    let mut damages = 0;
    let mut notes = Vec::new();
    let survey = survey_segment(disk, number, &mut |sight| {
        if let Some(note) = segment_sight_note(&name, &sight) {
            damages += 1;
            notes.push(note);
        } else if let SegmentSight::Block(place, bytes) = &sight
            && detail == Detail::Records
        {
            notes.push(block_note(place, bytes, inspection.bodies));
        }
    });
    match survey.map(|survey| (survey.file_bytes, survey.segment)) {
        Err(error) | Ok((_, Err(error))) => {
            damages += 1;
            tell(segment_damage_note(&name, &error));
        }
        Ok((file_bytes, Ok(segment))) => {
            let runs = segment.runs();
            let text = format!("{name}: {file_bytes} bytes, {} runs", runs.len());
            let note = Note::new("segment", text).text("file", &name);
            tell(note.number("bytes", file_bytes).number("runs", runs.len() as u64));
            for (number, run) in (0u64..).zip(runs).filter(|_| detail >= Detail::Frames) {
                let text = format!(
                    "run {number}: written for queue {}, {} messages, sequences {} to {}, {} bytes",
                    run.owner, run.records, run.first_id, run.last_id, run.payload_bytes
                );
                let note = Note::new("run", text).at_depth(1).text("file", &name);
                let note = note.number("run", number).number("queue", run.owner);
                tell(note.number("messages", run.records.into()));
            }
        }
    }
    notes.into_iter().for_each(tell);
    damages
}

fn block_note(place: &SegmentPlace, bytes: &Bytes, bodies: Bodies) -> Note {
    let SegmentPlace { run, first, count, offset, bytes: block_bytes } = *place;
    let messages = match Chunk::parse(bytes.clone()) {
        Ok(chunk) if chunk.count() == count => message_lines(&chunk, first, bodies),
        Ok(_) | Err(_) => ", and not made of whole messages".to_owned(),
    };
    let last = last_of(first, count);
    let text = format!(
        "block: offset {offset}, {block_bytes} bytes, messages {first} to {last} of run {run}\
         {messages}"
    );
    let note = Note::new("block", text).at_depth(2).number("offset", offset);
    note.number("run", run.into()).number("first", first.into()).number("messages", count.into())
}

fn last_of(first: u32, count: u32) -> u32 {
    first.saturating_add(count).saturating_sub(1)
}
