//! Repair: what can't be read any more is given up, and said to be in the journal, so that the broker
//! starts with everything else.
//!
//! A lost frame of the journal becomes a record that says so; then the journal is understood as a
//! start would understand it, and tells which messages are alive in segments. From a segment that is
//! damaged anywhere, those that can be read are copied to a new one and the others are settled, in one
//! commit; only then the damaged file is put aside. Where the journal's basis is lost, segments that
//! nothing refers to are taken back whole. So a crash leaves what was there before or what
//! is there after, and a second repair does the rest.

mod orphans;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use domain::binding::QueueId;
use domain::name::Name;
use domain::run::Run;
use stdx::clock::{Clock, Monotonic};
use storage::disk::{Disk, SalvageDisk};
use storage::{
    Journal, JournalSettings, OpenError, Opened, Poison, Position, Record, RepairSettings,
    SegmentError, SegmentSync, Shortage, Sight, Staged, Work, Writer, list_segments, repair, scan,
    segment_file_name,
};

use crate::broker::Entropy;
use crate::catalogue::Replay;
use crate::inspect::{Note, gap_note, unread_note};
use crate::journaled::catalogue_records::{CatalogueRecord, put};
use crate::journaled::message_records::{put_settled, put_watermark};
use crate::journaled::segment_records::{Alive, KeptRecord};
use crate::journaled::tag;
use crate::recover::losses::InSegment;
use crate::recover::{Recovery, ReplayError};
use crate::register::{Change, Register};
use crate::vhost::seal_job::{Part, Piece, SealError, SealJob, Source, Weigh};
use crate::vhost::timers::Moment;
use orphans::Orphans;
use survey::{Keep, Survey};

/// What is damaged in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damages {
    /// Places of the journal.
    pub journal_gaps: u64,
    /// Segments that messages are alive in.
    pub segments: u64,
    /// Messages in those that can't be read.
    pub messages_lost: u64,
    /// Places that the disk does not give back.
    pub unreadable: u64,
    /// Segments of which it is lost whose they are, and whose messages come back.
    pub segments_orphaned: u64,
    /// Virtual hosts that have a folder, and that the damaged catalogue does not know.
    pub vhosts_unknown: u64,
}

/// Where what is changed or taken away is kept.
pub trait Aside {
    /// Keeps a copy of the file of this name.
    fn copy(&mut self, file: &str) -> io::Result<()>;

    /// Moves the file of this name there.
    fn take(&mut self, file: &str) -> io::Result<()>;
}

/// Why a directory can't be repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The disk refuses, or a newer program wrote the journal.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The journal is whole and can't be understood.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A segment can't be read or written.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// What is to be said in the journal has no room.
    #[error("{0}")]
    Full(Shortage),
    /// What is to be said in the journal can't be written.
    #[error(transparent)]
    Poisoned(#[from] Poison),
    /// A file can't be put aside.
    #[error("{file} can't be put aside: {error}")]
    Aside {
        /// The file.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// The directory can't be listed, or a place in it not be written.
    #[error("the directory can't be read or written: {0}")]
    Io(#[from] io::Error),
}

/// Tells what is damaged in the directory of a virtual host and what would be lost, and changes
/// nothing.
pub fn examine_vhost(
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    tell: &mut dyn FnMut(Note),
) -> Result<Damages, RepairError> {
    let salvage = Arc::new(SalvageDisk::new(Arc::clone(disk)));
    let disk = &(Arc::clone(&salvage) as Arc<dyn Disk>);
    let mut recovery = Recovery::new(Moment::now(clock));
    let (journal_gaps, first) = scan_records(disk, tell, &mut |record| recovery.record(record))?;
    if let Some(error) = recovery.take_error() {
        return Err(error.into());
    }
    let mut damages = Damages { journal_gaps, ..Damages::default() };
    let orphans = Orphans::find(disk, (&mut recovery, first), tell)?;
    damages.segments_orphaned = orphans.segments();
    recovery.adopt(&orphans.runs);
    let alive = recovery.in_segments();
    for (number, alive) in &alive {
        let survey = Survey::of(disk, *number, Keep::Places, tell)?;
        if survey.is_whole_for(alive) {
            continue;
        }
        damages.segments += 1;
        for (queue, spans) in survey.lost(alive) {
            let messages: u64 = spans.iter().map(|(_, count)| u64::from(*count)).sum();
            damages.messages_lost += messages;
            let (file, name) = (segment_file_name(*number), recovery.queue_name(queue));
            let text = format!("queue '{name}': {messages} messages of {file} are lost");
            let note = Note::new("lost", text).text("queue", name).text("file", &file);
            tell(note.number("messages", messages));
        }
    }
    if journal_gaps > 0 {
        let referred =
            |number: &u64| alive.contains_key(number) || orphans.unknown.contains(number);
        for number in list_segments(&**disk)?.into_iter().filter(|number| !referred(number)) {
            let file = segment_file_name(number);
            let text = format!(
                "{file}: nothing that can be read refers to it; --yes puts it aside, whole as it is"
            );
            tell(Note::new("unreferenced", text).text("file", &file));
        }
    }
    damages.unreadable = tell_unread(&salvage, tell);
    let (queues, messages) = recovery.totals();
    let left = messages.saturating_sub(damages.messages_lost);
    let text = format!("{queues} queues with {left} messages can be read");
    tell(Note::new("left", text).number("queues", queues).number("messages", left));
    Ok(damages)
}

/// Gives up what is lost of a virtual host. Nobody may have its directory open.
pub fn repair_vhost(
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    entropy: &Entropy,
    aside: &mut dyn Aside,
) -> Result<(), RepairError> {
    let gaps = mend_journal(disk, entropy, aside)?;
    // What segments do not give back is not copied.
    let readable = &(Arc::new(SalvageDisk::new(Arc::clone(disk))) as Arc<dyn Disk>);
    let mut recovery = Recovery::new(Moment::now(clock));
    let opened = storage::open(Arc::clone(disk), settings(entropy), &mut |record| {
        recovery.record(&record);
    })?;
    if let Some(error) = recovery.take_error() {
        return Err(error.into());
    }
    let first = opened.summary.first;
    let mut journal = OpenJournal::new(opened, clock.monotonic());
    let orphans = Orphans::find(readable, (&mut recovery, first), &mut |_| {})?;
    let delivered = recovery.adopt(&orphans.runs);
    if !delivered.is_empty() {
        // Their queues have no names any more.
        journal.staged.record(tag::VOID, |_nothing| {});
    }
    let alive = recovery.in_segments();
    let there = list_segments(&**disk)?;
    let after_there = there.last().map_or(0, |last| last.saturating_add(1));
    let mut next_number = recovery.next_segment().max(after_there);
    let mut gone = orphans.unknown;
    for (number, alive) in &alive {
        let survey = Survey::of(readable, *number, Keep::Places, &mut |_| {})?;
        if survey.is_whole_for(alive) {
            if orphans.runs.iter().any(|orphan| orphan.segment == *number) {
                for alive in alive {
                    let record = kept_where_it_is(*number, alive, &recovery);
                    journal.staged.record(tag::KEPT, |out| record.put(out));
                }
            }
            continue;
        }
        for (queue, spans) in survey.lost(alive) {
            journal.staged.record(tag::SETTLED, |out| put_settled(out, queue, &spans));
        }
        let survey = Survey::of(readable, *number, Keep::Messages, &mut |_| {})?;
        for record in move_readable(disk, next_number, &survey, alive, &recovery)? {
            journal.staged.record(tag::KEPT, |out| record.put(out));
        }
        next_number += 1;
        journal.sync()?;
        gone.push(*number);
    }
    if !delivered.is_empty() {
        for (queue, end) in delivered {
            journal.staged.record(tag::WATERMARK, |out| put_watermark(out, queue, end));
        }
        journal.sync()?;
    }
    if gaps > 0 {
        let unreferred = |number: &&u64| !alive.contains_key(*number) && !gone.contains(*number);
        let unreferred: Vec<u64> = there.iter().filter(unreferred).copied().collect();
        gone.extend(unreferred);
    }
    for number in gone.into_iter().filter(|number| there.contains(number)) {
        let file = segment_file_name(number);
        aside.take(&file).map_err(|error| RepairError::Aside { file, error })?;
    }
    Ok(())
}

/// What the journal has to say of messages that stay in a segment it did not refer to any more.
fn kept_where_it_is(segment: u64, alive: &InSegment, recovery: &Recovery) -> KeptRecord {
    let messages = &alive.messages;
    let InSegment { segment_run: run, queue, .. } = *alive;
    let alive = vec![recovery.alive(messages, messages.place.index)];
    KeptRecord { segment, run, queue, alive }
}

/// As [`examine_vhost`], for the catalogue; `vhosts` have folders.
pub fn examine_catalogue(
    disk: &Arc<dyn Disk>,
    vhosts: &[Name],
    tell: &mut dyn FnMut(Note),
) -> Result<Damages, RepairError> {
    let salvage = Arc::new(SalvageDisk::new(Arc::clone(disk)));
    let disk = &(Arc::clone(&salvage) as Arc<dyn Disk>);
    let mut replay = Replay::default();
    let (journal_gaps, _) = scan_records(disk, tell, &mut |record| replay.record(record))?;
    let unreadable = tell_unread(&salvage, tell);
    let mut damages = Damages { journal_gaps, unreadable, ..Damages::default() };
    if journal_gaps == 0 {
        return Ok(damages);
    }
    let register = replay.finish()?;
    for vhost in unknown(vhosts, &register) {
        damages.vhosts_unknown += 1;
        let text = format!(
            "virtual host '{vhost}' is not in the catalogue any more, but its folder is there; \
             --yes puts it back, but not the permissions"
        );
        tell(Note::new("vhost", text).text("vhost", vhost.as_str()));
    }
    let (users, permissions) = (register.users.len() as u64, register.permissions.len() as u64);
    let text = format!("{users} users can be read, {permissions} of them with permissions");
    tell(Note::new("left", text).number("users", users));
    if users == 0 {
        let text = "no user can be read: after the repair the first user is made as at the first \
                    start of a broker"
            .to_owned();
        tell(Note::new("users", text));
    }
    Ok(damages)
}

/// Gives up what is lost of the catalogue; `vhosts` have folders and stay. Nobody may have its
/// directory open.
pub fn repair_catalogue(
    disk: &Arc<dyn Disk>,
    vhosts: &[Name],
    clock: &dyn Clock,
    entropy: &Entropy,
    aside: &mut dyn Aside,
) -> Result<(), RepairError> {
    mend_journal(disk, entropy, aside)?;
    let mut replay = Replay::default();
    let opened = storage::open(Arc::clone(disk), settings(entropy), &mut |record| {
        replay.record(&record);
    })?;
    let register = replay.finish()?;
    let mut journal = OpenJournal::new(opened, clock.monotonic());
    if register.users.is_empty() {
        // Nothing may be left that says so, and then the start must know.
        journal.staged.record(tag::VOID, |_nothing| {});
    }
    for vhost in unknown(vhosts, &register) {
        put(&CatalogueRecord::Change(Change::Vhost(vhost.clone())), &mut journal.staged);
    }
    journal.sync()
}

/// The virtual hosts that the catalogue neither knows nor knows to be deleted.
fn unknown<'v>(vhosts: &'v [Name], register: &'v Register) -> impl Iterator<Item = &'v Name> {
    let known =
        move |vhost: &Name| register.vhosts.contains(vhost) || register.doomed.contains(vhost);
    vhosts.iter().filter(move |vhost| !known(vhost))
}

/// Shows the records as they will be after a repair, and tells of every gap. Returns how many there
/// are, and where the journal begins.
fn scan_records(
    disk: &Arc<dyn Disk>,
    tell: &mut dyn FnMut(Note),
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<(u64, Option<Position>), RepairError> {
    let found = scan(&**disk, &mut |sight| match sight {
        Sight::Record { position, tag, payload } => {
            visit(&Record { position, tag, payload, file: "", offset: 0 });
        }
        Sight::Gap(gap) => {
            tell(gap_note(gap));
            if !gap.missing.is_empty() {
                let position = Position(gap.missing.start);
                let payload = bytes::Bytes::new();
                visit(&Record { position, tag: tag::VOID, payload, file: "", offset: 0 });
            }
        }
        Sight::File { .. } | Sight::Spare { .. } | Sight::Frame { .. } | Sight::TornEnd { .. } => {}
    })?;
    Ok((found.gaps.len() as u64, found.first))
}

/// Says how many places the disk did not give back.
fn tell_unread(salvage: &SalvageDisk, tell: &mut dyn FnMut(Note)) -> u64 {
    let places = salvage.unread();
    places.iter().map(unread_note).for_each(tell);
    places.len() as u64
}

fn mend_journal(
    disk: &Arc<dyn Disk>,
    entropy: &Entropy,
    aside: &mut dyn Aside,
) -> Result<usize, RepairError> {
    let salvage = SalvageDisk::new(Arc::clone(disk));
    scan(&salvage, &mut |_| {})?;
    let mut copied = BTreeSet::new();
    for place in salvage.unread() {
        let failed = |error| RepairError::Aside { file: place.file.clone(), error };
        if copied.insert(place.file.clone()) {
            aside.copy(&place.file).map_err(failed)?;
        }
        // From now on the disk gives something back there, which is damaged as anything else is.
        place.overwrite(&**disk)?;
    }
    let settings = RepairSettings {
        void_tag: tag::VOID,
        generation: &mut || entropy(),
        put_aside: &mut |file| {
            if copied.insert(file.to_owned()) { aside.copy(file) } else { Ok(()) }
        },
    };
    Ok(repair(&**disk, settings)?.gaps.len())
}

fn settings(entropy: &Entropy) -> JournalSettings {
    let entropy = Arc::clone(entropy);
    JournalSettings::new(Box::new(move || entropy()))
}

/// A journal that is written by whoever waits for it.
struct OpenJournal {
    journal: Arc<Journal<()>>,
    writer: Writer<()>,
    staged: Staged<()>,
    now: Monotonic,
}

impl OpenJournal {
    fn new(opened: Opened<()>, now: Monotonic) -> OpenJournal {
        let Opened { journal, writer, .. } = opened;
        OpenJournal { journal, writer, staged: Staged::default(), now }
    }

    /// Commits what is staged, and waits until it is durable.
    fn sync(&mut self) -> Result<(), RepairError> {
        self.staged.urge();
        self.journal.commit(&mut self.staged, self.now)?;
        loop {
            match self.writer.flush(self.now) {
                Work::Wrote { .. } => {}
                Work::Idle { .. } => return Ok(()),
                Work::Full { shortage, .. } => return Err(RepairError::Full(shortage)),
                Work::Poisoned { poison, .. } => return Err(poison.into()),
            }
        }
    }
}

/// Copies what can be read of a segment's live messages to a new segment of this number; nothing
/// refers to that before the records are durable that come back.
fn move_readable(
    disk: &Arc<dyn Disk>,
    number: u64,
    survey: &Survey,
    alive: &[InSegment],
    recovery: &Recovery,
) -> Result<Vec<KeptRecord>, RepairError> {
    // One run for every level of every queue, as sealing makes them.
    let mut groups: BTreeMap<(QueueId, u8), Vec<(Run, u32)>> = BTreeMap::new();
    for alive in alive {
        let group = groups.entry((alive.queue, alive.messages.label.level)).or_default();
        group.extend(survey.readable(alive));
    }
    groups.retain(|_, group| !group.is_empty());
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let mut pieces = Vec::with_capacity(groups.len());
    for ((queue, _), group) in &mut groups {
        group.sort_unstable_by_key(|(messages, _)| messages.first);
        let part = |(messages, source): &(Run, u32)| {
            let (first, count, index) = (messages.first, messages.count, messages.place.index);
            Part { first, count, source: *source, index }
        };
        let parts = group.iter().map(part).collect();
        pieces.push(Piece { queue: *queue, weigh: Weigh::No, parts });
    }
    let sources = survey.chunks().map(Source::Chunk).collect();
    let sync = SegmentSync::Synced;
    let job = SealJob { number, disk: Arc::clone(disk), sources, pieces, sync };
    let sealed = job.run().map_err(|error| match error {
        SealError::Write(error) => RepairError::Segment(error),
        SealError::Read(error) => RepairError::Replay(ReplayError::Read(error)),
    })?;
    let mut records = Vec::new();
    for (((queue, _), group), placed) in groups.iter().zip(&sealed.placed) {
        let mut index = 0;
        let mut alive: Vec<Alive> = Vec::new();
        for (messages, _) in group {
            let next = recovery.alive(messages, index);
            index += messages.count;
            match alive.last_mut() {
                Some(last) if last.continues_with(&next) => last.kept.count += next.kept.count,
                _apart => alive.push(next),
            }
        }
        records.push(KeptRecord { segment: number, run: placed.run, queue: *queue, alive });
    }
    Ok(records)
}
