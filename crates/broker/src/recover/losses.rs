//! Recovery of a journal that a repair gave something up of: what is left without a name gets one,
//! and what lies in segments is known before any of them is opened.

use std::collections::BTreeMap;

use domain::binding::QueueId;
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::run::{Deadline, Run, Runs};
use domain::table::Table;

use super::{HomeOf, Recovery, ReplayError};
use crate::journaled::message_records::Mark;
use crate::journaled::segment_records::{Alive, Kept};

/// What is known of what a repair gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AfterLoss {
    /// Frames that stand for lost ones.
    pub void_records: u64,
    /// Records that refer to what is unknown, and were passed over.
    pub passed_over: u64,
}

/// Messages of a queue that are alive in a run of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InSegment {
    pub(crate) queue: QueueId,
    /// The run's number in the segment.
    pub(crate) segment_run: u32,
    pub(crate) messages: Run,
}

impl Recovery {
    /// What a repair had to give up, as far as it was met.
    pub(crate) fn after_loss(&self) -> AfterLoss {
        self.after_loss
    }

    /// Why the records can't be understood, if they can't.
    pub(crate) fn take_error(&mut self) -> Option<ReplayError> {
        self.error.take()
    }

    /// Messages of queues that no checkpoint and no declaration knows went with their queue; unless
    /// what knew it is lost: then it gets a name that says so, and is durable, or nobody would ever
    /// see them again.
    pub(super) fn look_after_nameless(&mut self) {
        let mut nameless: Vec<QueueId> = (self.messages.iter())
            .filter(|(queue, messages)| !self.queues.contains_key(*queue) && !messages.is_empty())
            .map(|(queue, _)| *queue)
            .collect();
        nameless.sort_unstable();
        for queue in nameless {
            let name = format!("postroom.repaired.queue-{}", queue.0);
            match Name::new(&name) {
                Ok(name)
                    if self.after_loss.void_records > 0
                        && self.topology.queue(name.as_str()).is_none() =>
                {
                    let declaration = QueueDeclaration {
                        durable: true,
                        exclusive: false,
                        auto_delete: false,
                        arguments: Table::default(),
                    };
                    self.topology.add_queue(name.clone(), queue);
                    self.queues.insert(queue, (name, declaration));
                }
                Ok(_) | Err(_) => {
                    let messages = self.messages.remove(&queue);
                    self.gone.extend(messages.into_iter().flat_map(|mut all| all.drain()));
                }
            }
        }
        self.release_gone();
    }

    /// What is alive in segments, by the segment's number.
    pub(crate) fn in_segments(&mut self) -> BTreeMap<u64, Vec<InSegment>> {
        self.look_after_nameless();
        let mut found: BTreeMap<u64, Vec<InSegment>> = BTreeMap::new();
        let mut queues: Vec<QueueId> = self.messages.keys().copied().collect();
        queues.sort_unstable();
        for queue in queues {
            for messages in self.messages.get(&queue).into_iter().flat_map(Runs::iter) {
                let home = self.homes.get(messages.place.chunk as usize);
                if let Some(HomeOf::Run { segment, run }) = home.map(|home| &home.of) {
                    let alive = InSegment { queue, segment_run: *run, messages: *messages };
                    found.entry(*segment).or_default().push(alive);
                }
            }
        }
        found
    }

    /// A queue's name.
    pub(crate) fn queue_name(&self, queue: QueueId) -> &str {
        self.queues.get(&queue).map_or("", |(name, _)| name.as_str())
    }

    /// Queues that there are, and messages in them.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let messages = self.messages.values().map(Runs::messages).sum();
        (self.queues.len() as u64, messages)
    }

    /// The number that no segment had yet, as far as the journal says.
    pub(crate) fn next_segment(&self) -> u64 {
        self.next_segment
    }

    /// What the journal has to say of messages that lie at another index now.
    pub(crate) fn alive(&self, messages: &Run, index: u32) -> Alive {
        let deadline = messages.label.deadline;
        let left_ms = deadline.0.saturating_sub(self.now.ms);
        let wall_ms = self.now.wall_ms.saturating_add(left_ms);
        let deadline_wall_ms = (deadline != Deadline::NEVER).then_some(wall_ms);
        Alive {
            kept: Kept { first: messages.first, count: messages.count, index },
            mark: Mark { level: messages.label.level, deadline_wall_ms },
            counts: messages.label.counts,
        }
    }
}
