//! Segments that nothing refers to, where the journal's basis is lost: their runs say of which queue
//! the messages are, so these come back; but not which of them were settled.

use std::sync::Arc;

use domain::binding::QueueId;
use storage::disk::Disk;
use storage::{Position, Segment, SegmentError, list_segments, segment_file_name};

use super::RepairError;
use crate::inspect::Note;
use crate::recover::Recovery;
use crate::recover::orphans::Orphan;

/// What there is of them.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// Whose messages come back.
    pub(super) runs: Vec<Orphan>,
    /// Segments of which it can't be read whose they are.
    pub(super) unknown: Vec<u64>,
    segments: u64,
}

impl Orphans {
    /// Finds them if there are any, and tells of each; `first` is the position that the journal begins
    /// with, if there is one.
    pub(super) fn find(
        disk: &Arc<dyn Disk>,
        (recovery, first): (&mut Recovery, Option<Position>),
        tell: &mut dyn FnMut(Note),
    ) -> Result<Orphans, RepairError> {
        let mut orphans = Orphans::default();
        if recovery.has_basis(first) {
            return Ok(orphans);
        }
        let known = recovery.in_segments();
        for number in list_segments(&**disk)?.into_iter().filter(|it| !known.contains_key(it)) {
            orphans.segments += 1;
            let file = segment_file_name(number);
            let (text, messages) = match Segment::open(disk, number) {
                Ok(segment) => {
                    let messages = orphans.add(&segment);
                    let text = format!(
                        "{file}: the journal that referred to it is lost; with --yes its {messages} \
                         messages come back, also those of them that were settled"
                    );
                    (text, messages)
                }
                Err(error @ SegmentError::Newer { .. }) => return Err(error.into()),
                Err(_unreadable) => {
                    orphans.unknown.push(number);
                    let text = format!(
                        "{file}: the journal that referred to it is lost, and its index can't be \
                         read, so that nobody knows whose its messages are; --yes puts it aside, as \
                         it is"
                    );
                    (text, 0)
                }
            };
            tell(Note::new("orphan", text).text("file", &file).number("messages", messages));
        }
        Ok(orphans)
    }

    /// How many there are.
    pub(super) fn segments(&self) -> u64 {
        self.segments
    }

    fn add(&mut self, segment: &Segment) -> u64 {
        for (segment_run, run) in (0u32..).zip(segment.runs()) {
            self.runs.push(Orphan {
                queue: QueueId(run.owner),
                first: run.first_id,
                segment: segment.number(),
                segment_run,
                messages: run.records,
            });
        }
        segment.runs().iter().map(|run| u64::from(run.records)).sum()
    }
}
