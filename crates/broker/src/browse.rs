//! Looking into a queue without disturbing it: a bounded scan of its messages in the order in which they
//! came, that says where to go on. The owner shows some hundred runs at a time and goes on with its
//! work; bodies are read without it, from memory or from segments, so whoever scans may have to wait for
//! the disk.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::binding::QueueId;
use domain::name::Name;
use domain::refusal::{Kind, Refusal};
use domain::run::{Direction, Sequence};
use stdx::reader::{Reader, Truncated};
use stdx::varint::{put, take};
use storage::Segment;

use crate::broker::{Broker, ConnectRefusal};
use crate::chunk::{Chunk, Message};
use crate::hub::Hub;
use crate::limits;
use crate::message_id::MessageId;
use crate::permissions::{Access, Right};
use crate::users::User;
use crate::vhost::browse::{Ages, Glimpse, GlimpseHome};
use crate::vhost::load_job::{ReadError, read_blocks};
use crate::views::message::{MessageState, MessageView};

/// A scan of a queue's messages.
#[derive(Clone, Debug)]
pub struct Browse {
    /// The queue.
    pub queue: Name,
    /// Where it begins.
    pub begin: Begin,
    /// What has come since then is not seen: `end` of an earlier scan.
    pub until: Option<BrowseCursor>,
    /// Messages that are read, at most; others cost much less.
    pub messages_max: u32,
    /// Bytes of messages after which it stops.
    pub bytes_max: u64,
}

/// Where a scan begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// At an end of the queue.
    End(Direction),
    /// Where another one stopped.
    Behind(BrowseCursor),
}

/// Where a scan stopped. What comes and goes meanwhile moves it nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowseCursor {
    queue: QueueId,
    at: Sequence,
    direction: Direction,
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scan of a queue stopped so")]
pub struct NoCursor;

impl From<Truncated> for NoCursor {
    fn from(Truncated: Truncated) -> NoCursor {
        NoCursor
    }
}

const OLDEST_FIRST: u8 = 0;
const NEWEST_FIRST: u8 = 1;

impl BrowseCursor {
    /// Which way it goes.
    pub fn direction(self) -> Direction {
        self.direction
    }

    /// As text.
    pub fn to_text(self) -> String {
        let mut bytes = vec![match self.direction {
            Direction::OldestFirst => OLDEST_FIRST,
            Direction::NewestFirst => NEWEST_FIRST,
        }];
        put(&mut bytes, self.queue.0);
        put(&mut bytes, self.at.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`BrowseCursor::to_text`] wrote.
    pub fn parse(text: &str) -> Result<BrowseCursor, NoCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_no_base64| NoCursor)?;
        let mut reader = Reader::new(&bytes);
        let direction = match reader.u8()? {
            OLDEST_FIRST => Direction::OldestFirst,
            NEWEST_FIRST => Direction::NewestFirst,
            _unknown => return Err(NoCursor),
        };
        let (queue, at) = (QueueId(take(&mut reader)?), Sequence(take(&mut reader)?));
        if reader.is_empty() { Ok(BrowseCursor { queue, at, direction }) } else { Err(NoCursor) }
    }
}

/// Whether a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// With the next message.
    GoOn,
    /// This was the last one.
    Stop,
}

/// Who looks at messages.
pub trait Viewer {
    /// Whether it is worth reading what the message says. Must not take long.
    fn wants(&mut self, view: &MessageView<'_>) -> bool;

    /// Looks at a message.
    fn look(&mut self, view: &MessageView<'_>, message: &Message<'_>) -> Onward;
}

/// How far a scan came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Browsed {
    /// Where to go on; `None`: it came to the end.
    pub next: Option<BrowseCursor>,
    /// Messages that it passed.
    pub passed: u64,
    /// Behind the last message that there was.
    pub end: BrowseCursor,
}

/// Why a queue can't be looked into.
#[derive(Debug, thiserror::Error)]
pub enum BrowseError {
    /// The virtual host is not there, or not for the user.
    #[error(transparent)]
    Entry(#[from] ConnectRefusal),
    /// The queue is not there, or its messages are not for the user.
    #[error("refused")]
    Refused(Refusal),
    /// The cursor is of another queue, or of one of that name that is gone.
    #[error("the cursor is of another queue")]
    OtherQueue,
    /// What was stored can't be read.
    #[error("messages can't be read: {0}")]
    Unreadable(#[from] ReadError),
}

impl Broker {
    /// Scans a queue's messages for a user who may read from it. The calling thread may have to wait
    /// for the disk. At least one message is passed, if there is one.
    pub fn browse(
        &self,
        user: &User,
        vhost: &str,
        browse: &Browse,
        viewer: &mut dyn Viewer,
    ) -> Result<Browsed, BrowseError> {
        let (host, access) = self.access(user, vhost)?;
        permit(&access, &browse.queue)?;
        let hub = &host.hub;
        let missing = || BrowseError::Refused(Refusal::NotFound(Kind::Queue, browse.queue.clone()));
        let queue = hub.look(|vhost, _| vhost.queue_numbered(browse.queue.as_str()));
        let queue = queue.ok_or_else(missing)?;
        let begin = match browse.begin {
            Begin::End(direction @ Direction::OldestFirst) => {
                BrowseCursor { queue, at: Sequence(0), direction }
            }
            Begin::End(direction @ Direction::NewestFirst) => {
                BrowseCursor { queue, at: Sequence(u64::MAX), direction }
            }
            Begin::Behind(cursor) => cursor,
        };
        if begin.queue != queue {
            return Err(BrowseError::OtherQueue);
        }
        let budget = Budget::of(browse.messages_max, browse.bytes_max);
        let mut scan = Scan::new(hub, queue, begin.direction, budget, viewer);
        scan.until = browse.until.map(|until| until.at);
        let next = scan.run(begin.at)?;
        let next = next.map(|at| BrowseCursor { at, ..begin });
        let end = BrowseCursor { at: scan.end, ..begin };
        Ok(Browsed { next, passed: scan.passed, end })
    }

    /// Shows one message and its queue's name, to a user who may read from that queue; returns whether
    /// the broker has the message.
    pub fn browse_one(
        &self,
        user: &User,
        vhost: &str,
        id: MessageId,
        show: &mut dyn FnMut(&Name, &MessageView<'_>, &Message<'_>),
    ) -> Result<bool, BrowseError> {
        let (host, access) = self.access(user, vhost)?;
        let hub = &host.hub;
        let Some(queue) = hub.look(|vhost, _| vhost.name_of_queue(id.queue)) else {
            return Ok(false);
        };
        permit(&access, &queue)?;
        let mut only = Only { id, queue: &queue, show, found: false };
        let direction = Direction::OldestFirst;
        let mut scan = Scan::new(hub, id.queue, direction, Budget::of(1, u64::MAX), &mut only);
        scan.run(id.message)?;
        Ok(only.found)
    }
}

/// Whoever looks at messages needs the right to take them.
fn permit(access: &Access, queue: &Name) -> Result<(), BrowseError> {
    if access.allows(Right::Read, queue.as_str()) {
        return Ok(());
    }
    let (kind, name) = (Kind::Queue, queue.clone());
    let user = access.user.clone();
    Err(BrowseError::Refused(Refusal::NoPermission { kind, name, user }))
}

/// Shows one message alone.
struct Only<'v> {
    id: MessageId,
    queue: &'v Name,
    show: &'v mut dyn FnMut(&Name, &MessageView<'_>, &Message<'_>),
    found: bool,
}

impl Viewer for Only<'_> {
    fn wants(&mut self, view: &MessageView<'_>) -> bool {
        view.id == self.id
    }

    fn look(&mut self, view: &MessageView<'_>, message: &Message<'_>) -> Onward {
        self.found = true;
        (self.show)(self.queue, view, message);
        Onward::Stop
    }
}

/// So many messages may be passed unread for one that may be read.
const PASSED_FOR_ONE_READ: u64 = 64;

/// What a scan may still do.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Messages passed unread; one that is read counts as many.
    passes: u64,
    bytes: u64,
}

impl Budget {
    fn of(messages_max: u32, bytes_max: u64) -> Budget {
        Budget { passes: u64::from(messages_max.max(1)) * PASSED_FOR_ONE_READ, bytes: bytes_max }
    }

    fn is_spent(self) -> bool {
        self.passes == 0 || self.bytes == 0
    }

    fn spend(&mut self, passes: u64, bytes: usize) {
        self.passes = self.passes.saturating_sub(passes);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

/// A scan under way.
struct Scan<'s> {
    hub: &'s Arc<Hub>,
    queue: QueueId,
    direction: Direction,
    budget: Budget,
    viewer: &'s mut dyn Viewer,
    passed: u64,
    /// What comes from there on is not looked at.
    until: Option<Sequence>,
    /// What the next message to come was when it began.
    end: Sequence,
    blocks: ReadAhead,
}

/// How a part of a scan ended.
enum Went {
    Through,
    /// What is behind is not to be seen.
    Beyond,
    /// The scan ends there.
    Until(Sequence),
    /// The next message could not be read: perhaps it lies elsewhere by now.
    Astray(Sequence, ReadError),
}

impl<'s> Scan<'s> {
    fn new(
        hub: &'s Arc<Hub>,
        queue: QueueId,
        direction: Direction,
        budget: Budget,
        viewer: &'s mut dyn Viewer,
    ) -> Scan<'s> {
        let (until, end, blocks) = (None, Sequence(0), ReadAhead::default());
        Scan { hub, queue, direction, budget, viewer, passed: 0, until, end, blocks }
    }

    /// Returns where to go on.
    fn run(&mut self, begin: Sequence) -> Result<Option<Sequence>, BrowseError> {
        let (mut at, mut astray) = (begin, None);
        'slices: loop {
            let (queue, direction) = (self.queue, self.direction);
            let slice = self.hub.look(|vhost, now| vhost.browse(queue, at, direction, now));
            // With the queue all its messages are gone.
            let Some(slice) = slice else { return Ok(None) };
            if self.end == Sequence(0) {
                self.end = slice.end;
            }
            for glimpse in &slice.glimpses {
                match self.glimpse(glimpse, &slice.ages) {
                    Went::Beyond => return Ok(None),
                    Went::Through => {}
                    Went::Until(next) => return Ok(Some(next)),
                    Went::Astray(next, error) if astray == Some(next) => return Err(error.into()),
                    Went::Astray(next, _) => {
                        (at, astray) = (next, Some(next));
                        continue 'slices;
                    }
                }
            }
            match slice.next {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
    }

    fn glimpse(&mut self, glimpse: &Glimpse, ages: &Ages) -> Went {
        let run = &glimpse.run;
        for step in 0..run.count {
            let offset = match self.direction {
                Direction::OldestFirst => step,
                Direction::NewestFirst => run.count - 1 - step,
            };
            let message = run.first.plus(offset);
            let (before, behind) = match self.direction {
                Direction::OldestFirst => (message, message.plus(1)),
                Direction::NewestFirst => (message.plus(1), message),
            };
            if self.until.is_some_and(|until| message >= until) {
                match self.direction {
                    Direction::OldestFirst => return Went::Beyond,
                    Direction::NewestFirst => continue,
                }
            }
            if self.budget.is_spent() {
                return Went::Until(before);
            }
            let view = view(self.queue, message, glimpse, ages);
            if !self.viewer.wants(&view) {
                self.passed += 1;
                self.budget.spend(1, 0);
                continue;
            }
            let index = run.place.index + offset;
            let (chunk, index) = match self.find(&glimpse.home, index) {
                Ok(Some(found)) => found,
                // The virtual host was deleted.
                Ok(None) => return Went::Through,
                Err(error) => return Went::Astray(before, error),
            };
            self.passed += 1;
            let Some(message) = chunk.message(index) else { continue };
            self.budget.spend(PASSED_FOR_ONE_READ, chunk.span_bytes(index, 1));
            if self.viewer.look(&view, &message) == Onward::Stop {
                return Went::Until(behind);
            }
        }
        Went::Through
    }

    fn find(
        &mut self,
        home: &GlimpseHome,
        index: u32,
    ) -> Result<Option<(Arc<Chunk>, u32)>, ReadError> {
        match home {
            GlimpseHome::Memory(chunk) => Ok(Some((Arc::clone(chunk), index))),
            GlimpseHome::Segment(segment, run) => {
                let (hub, direction) = (self.hub, self.direction);
                let found = hub.aside(|| self.blocks.find(segment, *run, index, direction));
                found.transpose()
            }
        }
    }
}

fn view<'g>(
    queue: QueueId,
    message: Sequence,
    glimpse: &'g Glimpse,
    ages: &Ages,
) -> MessageView<'g> {
    let label = &glimpse.run.label;
    let is_out = match glimpse.state {
        MessageState::Ready | MessageState::Delayed { .. } => 0,
        MessageState::Leased(_) | MessageState::Delivered => 1,
    };
    MessageView {
        id: MessageId { queue, message },
        state: &glimpse.state,
        attempts: label.attempts() - 1 + is_out,
        level: label.level,
        age_ms: ages.age_ms(message),
        expires_wall_ms: ages.wall_ms(label.deadline),
    }
}

/// What was read of a segment, and some of what lies behind it.
#[derive(Default)]
struct ReadAhead {
    /// Of which run of which segment.
    of: Option<(u64, u32)>,
    /// With the index of the first message of each.
    blocks: Vec<(u32, Arc<Chunk>)>,
    window_bytes: usize,
}

impl ReadAhead {
    fn find(
        &mut self,
        segment: &Segment,
        run: u32,
        index: u32,
        direction: Direction,
    ) -> Result<(Arc<Chunk>, u32), ReadError> {
        let of = Some((segment.number(), run));
        if self.of == of
            && let Some(found) = self.known(index)
        {
            return Ok(found);
        }
        let window_bytes = match direction {
            // Whoever reads on reads more at a time.
            Direction::OldestFirst if self.of == of => {
                (self.window_bytes * 2).min(limits::READ_WINDOW_BYTES_MAX)
            }
            Direction::OldestFirst => limits::READ_WINDOW_BYTES_MIN,
            // One block: what lies behind it was seen.
            Direction::NewestFirst => 0,
        };
        let read = read_blocks(segment, run, index, window_bytes)?;
        self.blocks = read.into_iter().map(|block| (block.first, block.chunk)).collect();
        (self.of, self.window_bytes) = (of, window_bytes);
        let missing = ReadError::NotThere { segment: segment.number(), run, index };
        self.known(index).ok_or(missing)
    }

    fn known(&self, index: u32) -> Option<(Arc<Chunk>, u32)> {
        let found = self
            .blocks
            .iter()
            .find(|(first, chunk)| (*first..first.saturating_add(chunk.count())).contains(&index));
        found.map(|(first, chunk)| (Arc::clone(chunk), index - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_others_are_none() {
        for direction in [Direction::OldestFirst, Direction::NewestFirst] {
            for at in [0, 300, u64::MAX] {
                let cursor = BrowseCursor { queue: QueueId(7), at: Sequence(at), direction };
                let text = cursor.to_text();
                assert_eq!(BrowseCursor::parse(&text), Ok(cursor));
                for cut in 0..text.len() {
                    let parsed = BrowseCursor::parse(&text[..cut]);
                    assert!(parsed != Ok(cursor), "{}", &text[..cut]);
                }
            }
        }
        for text in ["", "!", "Ag", "AAAAAAAA"] {
            assert_eq!(BrowseCursor::parse(text), Err(NoCursor), "{text}");
        }
    }
}
