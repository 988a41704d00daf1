//! What became of messages that have left their queue: queues that were declared for it keep that for a
//! time, so that whoever started something can ask how it went.

use std::sync::Arc;

use domain::dead_letter::Reason;
use domain::name::Name;
use domain::refusal::Refusal;
use domain::run::Direction;

use crate::lease::LeaseError;
use crate::message_id::MessageId;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneMessage {
    /// Which one.
    pub id: MessageId,
    /// How it ended.
    pub outcome: DoneOutcome,
    /// Whether it went on as a dead letter, under another id.
    pub dead_lettered: bool,
    /// How many times it was handed out; at least so many where its queue does not count.
    pub attempts: u32,
    /// When it was published, in milliseconds since 1970, to a few percent of the time that it took;
    /// `None`: before the broker started, and nobody knows when.
    pub published_wall_ms: Option<u64>,
    /// When it was done, in milliseconds since 1970.
    pub done_wall_ms: u64,
    /// What its last holder said.
    pub said: LastWords,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoneOutcome {
    /// It was acknowledged.
    Acknowledged,
    /// It was rejected: it failed for good.
    Rejected,
    /// It failed more often than its queue allows.
    Failed,
    /// It waited too long.
    Expired,
    /// There were too many.
    Overflowed,
    /// Somebody purged or deleted it.
    Purged,
    /// Somebody put it into another queue, where it has another id.
    Moved,
}

impl DoneOutcome {
    /// All of them.
    pub const ALL: [DoneOutcome; 7] = [
        DoneOutcome::Acknowledged,
        DoneOutcome::Rejected,
        DoneOutcome::Failed,
        DoneOutcome::Expired,
        DoneOutcome::Overflowed,
        DoneOutcome::Purged,
        DoneOutcome::Moved,
    ];

    /// Why a queue gave a message up.
    pub(crate) fn of(reason: Reason) -> DoneOutcome {
        match reason {
            Reason::Rejected => DoneOutcome::Rejected,
            Reason::Expired => DoneOutcome::Expired,
            Reason::MaxLength => DoneOutcome::Overflowed,
            Reason::DeliveryLimit => DoneOutcome::Failed,
        }
    }

    /// Whether it ends a delivery that was under way.
    pub(crate) fn ends_delivery(self) -> bool {
        match self {
            DoneOutcome::Acknowledged | DoneOutcome::Rejected => true,
            DoneOutcome::Failed
            | DoneOutcome::Expired
            | DoneOutcome::Overflowed
            | DoneOutcome::Purged
            | DoneOutcome::Moved => false,
        }
    }
}

/// What the last holder of a lease said of its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    /// How far it was: JSON.
    pub progress: Option<Arc<str>>,
    /// What came of it: JSON, at most [`limits::RESULT_BYTES_MAX`](crate::limits::RESULT_BYTES_MAX)
    /// bytes.
    pub result: Option<Arc<str>>,
    /// What went wrong.
    pub error: Option<Arc<LeaseError>>,
}

/// What takes memory besides what was said, for each message, in bytes.
const MESSAGE_BYTES: u64 = 256;

impl DoneMessage {
    /// What it takes of its queue's room, in bytes.
    pub(crate) fn cost_bytes(&self) -> u64 {
        let LastWords { progress, result, error } = &self.said;
        let texts = [progress, result].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        let error = error.as_ref().map_or(0, |error| error.kind.len() + error.message.len());
        MESSAGE_BYTES + (texts + error) as u64
    }
}

/// A question about done messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneRequest {
    /// Comes back in the answer.
    pub ticket: u64,
    /// What is asked.
    pub wish: DoneWish,
}

/// What is asked of done messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoneWish {
    /// What became of one.
    One(MessageId),
    /// Those of a queue, in the order in which they came into it.
    Page {
        /// The queue.
        queue: Name,
        /// From the one behind this on; `None`: from the first.
        behind: Option<MessageId>,
        /// Which way.
        direction: Direction,
        /// At most so many, and no more than
        /// [`limits::DONE_PAGE_BYTES`](crate::limits::DONE_PAGE_BYTES).
        messages_max: usize,
    },
    /// Those of a queue are to be forgotten.
    Forget(Name),
}

/// The answer to a [`DoneRequest`]; what it says is on disk.
#[derive(Clone, Debug)]
pub struct DoneAnswer {
    /// Which question.
    pub ticket: u64,
    /// What came of it.
    pub outcome: Result<DoneReply, Refusal>,
}

/// What came of a question about done messages.
#[derive(Clone, Debug)]
pub enum DoneReply {
    /// What became of a message, with its queue's name; `None`: nobody knows.
    One(Option<(Name, KeptMessage)>),
    /// The message is given up and waits until it is read from the disk: what becomes of it is not
    /// known yet. Ask again soon.
    OnItsWay,
    /// Some of a queue's.
    Page {
        /// In order.
        messages: Vec<KeptMessage>,
        /// Whether there are more behind them.
        goes_on: bool,
    },
    /// The place to begin behind is in another queue.
    OtherQueue,
    /// So many were forgotten.
    Forgotten(u64),
}

/// A done message, and how long it is told of.
#[derive(Clone, Debug)]
pub struct KeptMessage {
    /// What became of it.
    pub message: Arc<DoneMessage>,
    /// Until when at most, in milliseconds since 1970.
    pub until_wall_ms: u64,
}

impl DoneAnswer {
    /// What the messages in it take, in bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        let bytes = match &self.outcome {
            Ok(DoneReply::Page { messages, .. }) => {
                messages.iter().map(|kept| kept.message.cost_bytes()).sum()
            }
            Ok(
                DoneReply::One(_)
                | DoneReply::OnItsWay
                | DoneReply::OtherQueue
                | DoneReply::Forgotten(_),
            )
            | Err(_) => 0,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
