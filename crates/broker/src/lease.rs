//! Leases without a connection: what is asked for them, and what is answered. A lease holds messages
//! for a time; it belongs to whoever has its token, and outlives connections and restarts.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::binding::QueueId;
use domain::name::Name;
use domain::refusal::Refusal;
use domain::run::{Counts, Sequence};
use stdx::reader::{Reader, Truncated};
use stdx::varint::{put, take};

use crate::chunk::Chunk;
use crate::limits;
use crate::message_id::MessageId;

/// A wish for messages of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Comes back in the answer.
    pub ticket: u64,
    /// The queue.
    pub queue: Name,
    /// At most so many messages; at least 1.
    pub messages_max: u32,
    /// How long they are leased, in milliseconds; at least 1, at most [`limits::LEASE_MS_MAX`].
    pub lease_ms: u64,
    /// How long to wait for the first one, in milliseconds, at most [`limits::LEASE_WAIT_MS_MAX`].
    pub wait_ms: u64,
}

/// What is to become of leased messages, each by itself, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettlements {
    /// Comes back in the answer.
    pub ticket: u64,
    /// One for each message.
    pub items: Vec<LeaseSettlement>,
}

/// What is to become of one leased message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettlement {
    /// Which lease.
    pub token: LeaseToken,
    /// What becomes of it.
    pub end: LeaseEnd,
}

/// What becomes of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Done: the message leaves the queue.
    Acknowledged {
        /// What came of it: JSON of at most [`limits::RESULT_BYTES_MAX`] bytes, for a queue that
        /// tells of done messages.
        result: Option<Arc<str>>,
    },
    /// It could not be handled, and is to be tried again: back to its place in the queue, counted.
    Failed {
        /// Why.
        error: Option<Arc<LeaseError>>,
        /// After how long, in milliseconds; at most [`limits::RETURN_DELAY_MS_MAX`].
        delay_ms: u64,
    },
    /// It could not be handled, and never will be: given up.
    Rejected(Option<Arc<LeaseError>>),
    /// Nothing is wrong with it: back to its place in the queue.
    Released {
        /// As of what failed.
        delay_ms: u64,
    },
    /// It goes on for so many milliseconds from now.
    Extended {
        /// As in [`LeaseRequest::lease_ms`].
        lease_ms: u64,
        /// How far its holder is, in its own words; at most [`limits::PROGRESS_BYTES_MAX`] bytes
        /// are kept. `None`: nothing new.
        progress: Option<Box<str>>,
    },
}

/// Why a message could not be handled. It goes with the message if that is dead-lettered for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseError {
    /// Its kind, for programs; at most [`limits::ERROR_TYPE_BYTES_MAX`] bytes.
    pub kind: Box<str>,
    /// For people; at most [`limits::ERROR_MESSAGE_BYTES_MAX`] bytes.
    pub message: Box<str>,
}

/// Proof of a lease of one message. It holds a number that nobody can guess and that is drawn anew for
/// each lease, so whoever held the message before can't end the lease of whoever holds it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseToken {
    pub(crate) queue: QueueId,
    pub(crate) message: Sequence,
    pub(crate) epoch: u64,
}

/// The text is no lease token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no lease token: hand it back exactly as it came with the message")]
pub struct NoToken;

impl From<Truncated> for NoToken {
    fn from(Truncated: Truncated) -> NoToken {
        NoToken
    }
}

/// The shape of tokens; another takes another number.
const TOKEN_VERSION: u8 = 1;

impl LeaseToken {
    /// The token as text, with the virtual host it is for.
    pub fn to_text(self, vhost: &Name) -> String {
        let name = vhost.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(name.len() + 24);
        bytes.push(TOKEN_VERSION);
        put(&mut bytes, name.len() as u64);
        bytes.extend_from_slice(name);
        put(&mut bytes, self.queue.0);
        put(&mut bytes, self.message.0);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`LeaseToken::to_text`] wrote.
    pub fn parse(text: &str) -> Result<(Name, LeaseToken), NoToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_no_base64| NoToken)?;
        let mut reader = Reader::new(&bytes);
        if reader.u8()? != TOKEN_VERSION {
            return Err(NoToken);
        }
        let len = usize::try_from(take(&mut reader)?).map_err(|_too_long| NoToken)?;
        let name = std::str::from_utf8(reader.bytes(len)?).map_err(|_no_text| NoToken)?;
        let vhost = Name::new(name).map_err(|_too_long| NoToken)?;
        let queue = QueueId(take(&mut reader)?);
        let message = Sequence(take(&mut reader)?);
        let epoch = u64::from_le_bytes(reader.array()?);
        if !reader.is_empty() || message.0 == u64::MAX {
            return Err(NoToken);
        }
        Ok((vhost, LeaseToken { queue, message, epoch }))
    }

    /// Which message it is of.
    pub fn message_id(self) -> MessageId {
        MessageId { queue: self.queue, message: self.message }
    }
}

/// The answer to a [`LeaseRequest`] or to [`LeaseSettlements`].
#[derive(Clone, Debug)]
pub struct LeaseAnswer {
    /// Which question.
    pub ticket: u64,
    /// What came of it.
    pub outcome: Result<LeaseReply, LeaseRefusal>,
}

/// What came of a question about leases.
#[derive(Clone, Debug)]
pub enum LeaseReply {
    /// Messages, all leased until the same moment; none if the queue had none in time.
    Leased(Vec<LeasedRun>),
    /// What became of each lease, in the order of the question.
    Settled(Vec<LeaseStatus>),
}

/// Leased messages side by side in one chunk, alike.
#[derive(Clone, Debug)]
pub struct LeasedRun {
    /// Proof of the first one's lease; see [`LeasedRun::token`].
    pub(crate) token: LeaseToken,
    /// Whether they may have been delivered before.
    pub redelivered: bool,
    /// How often they came back, where that was counted.
    pub counts: Counts,
    /// The chunk they lie in.
    pub chunk: Arc<Chunk>,
    /// Index of the first one there.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// When the lease ends, in milliseconds since 1970 by the broker's clock.
    pub until_wall_ms: u64,
}

impl LeasedRun {
    /// Proof of the lease of one of the messages: `offset` is 0 for the first.
    pub fn token(&self, offset: u32) -> LeaseToken {
        LeaseToken { message: self.token.message.plus(offset), ..self.token }
    }

    /// Which attempt this is, counted from 1, as far as returns were counted.
    pub fn attempt(&self) -> u32 {
        self.counts.acquisitions.saturating_add(1)
    }
}

/// What became of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStatus {
    /// It is as was wished. Of an extended one: when it ends now, in milliseconds since 1970.
    Done {
        /// `None`: it has ended.
        until_wall_ms: Option<u64>,
        /// Whether the queue tells what became of the message.
        is_told: bool,
    },
    /// The message is no more: settled, purged, or gone with its queue.
    Gone,
    /// The lease is over and the message is not: it ran out, and another may hold it.
    Lost,
}

/// Why a question about leases was not answered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LeaseRefusal {
    /// The queue is not there, or not for the user.
    #[error("refused")]
    Refused(Refusal),
    /// The virtual host has as many leases as it keeps.
    #[error("the virtual host has {} leases already", limits::LEASES_MAX)]
    TooManyLeases,
    /// As many wait already as may.
    #[error("{} requests wait for messages already", limits::LEASE_WAITERS_MAX)]
    TooManyWaiting,
}

impl LeaseSettlements {
    /// What it brings along, in bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        let results = self.items.iter().filter_map(|item| match &item.end {
            LeaseEnd::Acknowledged { result } => result.as_ref().map(|result| result.len()),
            LeaseEnd::Failed { .. }
            | LeaseEnd::Rejected(_)
            | LeaseEnd::Released { .. }
            | LeaseEnd::Extended { .. } => None,
        });
        results.sum()
    }
}

impl LeaseAnswer {
    /// What the messages in it take, in bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        match &self.outcome {
            Ok(LeaseReply::Leased(runs)) => {
                runs.iter().map(|run| run.chunk.span_bytes(run.first, run.count)).sum()
            }
            Ok(LeaseReply::Settled(_)) | Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_others_are_none() {
        for vhost in ["/", "", "a tenant with a longer name"] {
            let vhost = Name::new(vhost).unwrap();
            let token = LeaseToken {
                queue: QueueId(300),
                message: Sequence(1 << 40),
                epoch: 0x0123_4567_89ab_cdef,
            };
            let text = token.to_text(&vhost);
            assert_eq!(LeaseToken::parse(&text), Ok((vhost, token)));
            for cut in 0..text.len() {
                assert_eq!(LeaseToken::parse(&text[..cut]), Err(NoToken), "{}", &text[..cut]);
            }
            assert_eq!(LeaseToken::parse(&format!("{text}AAAA")), Err(NoToken));
            assert_eq!(LeaseToken::parse(&format!("Ag{}", &text[2..])), Err(NoToken));
        }
        assert_eq!(LeaseToken::parse("not a token"), Err(NoToken));
    }
}
