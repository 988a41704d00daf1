//! The journal's records: each kind of decision in a file of its own, with an explicit tag. The
//! formats are append-only: a changed shape takes a new tag, and the old one stays readable.
//!
//! ```text
//! tag  record             payload
//!  1   chunk              chunk, then the messages as in crate::chunk
//!  2   enqueued           queue, first sequence, chunk, first index, count
//!  3   settled            queue, then pairs until the end: first sequence, count
//!  4   watermark          queue, sequence: everything before it may have been delivered
//!  5   queue declared     queue, flags u8, name, arguments table
//!  6   queue deleted      queue
//!  7   exchange declared  type u8, flags u8, name, arguments table
//!  8   exchange deleted   name
//!  9   binding made       kind u8 (0 queue, 1 exchange), source, destination, key, arguments table
//! 10   binding removed    as 9
//! 11   checkpoint         next queue, next chunk: forget the topology, what follows restates it
//! 12   queue state        queue, next sequence, watermark
//! 13   enqueued, marked   as 2, then level u8, deadline (milliseconds since 1970; 0: never)
//! 14   returned           queue, then until the end: first sequence, count, failures, acquisitions
//! 15   dead chunk         as 1; some of its messages are dead-lettered
//! 16   kept               segment, run, queue, then until the end: flags u8, first sequence (as the
//!                         distance from the end of the one before), count, index in the run, level
//!                         u8 and deadline if flags bit 0, failures and acquisitions if bit 1
//! 17   next segment       number
//! 18   leased             queue, epoch u64, until (milliseconds since 1970), length (milliseconds),
//!                         holder, then until the end: first sequence, count. Leased without a
//!                         connection, from now on; in a checkpoint these are all there are
//! 19   lease ended        queue, then until the end: first sequence, count
//! 26   done               queue, then until the end: flags u8, outcome u8, sequence, attempts, when it
//!                         was done (milliseconds since 1970), then what the flags say there is: how
//!                         long before it was published (bit 1), texts: progress (bit 2), result (bit
//!                         3), class and text of an error (bit 4). Bit 0: it went on as a dead letter.
//!                         The messages are gone, and this is what became of them
//! 27   done forgotten     queue: of the messages that are done so far nothing is told any more
//! 28   progress           queue, first sequence, count, then text: how far the holder of a lease is
//!
//! in the catalogue's journal:
//! 20   checkpoint         nothing: forget everything, what follows restates it
//! 21   vhost              name
//! 22   user               name, flags u8, password hash (length u8), the fingerprint of the hash
//!                         it replaced (32 bytes, if so flagged), count of tags, texts
//! 23   permission         user, vhost, then texts: configure, write, read
//! 24   topic permission   user, vhost, exchange, then texts: write, read
//! 25   parameter          component, vhost (empty: the node), name, JSON text
//! 40   vhost deleted      name: with everything granted there; its files may still be there
//! 41   vhost erased       name: nothing of its files is left
//! 42   user deleted       name: with everything granted to it
//! 43   permission cleared user, vhost
//! 44   topic perm. cleared user, vhost, exchange
//! 45   parameter cleared  component, vhost, name
//! 46   vhost notes        name, description text, count of tags, texts
//! 47   token              user, name, SHA-256 of the secret (32 bytes), scopes u8, vhost (empty: all),
//!                         made, ends (milliseconds since 1970; 0: never)
//! 48   token revoked      user, name
//! 49   limit              of u8 (0 vhost, 1 user), name, kind u8 (0 connections, 1 queues,
//!                         2 channels), maximum plus one (0: none)
//! 50   limit cleared      of u8, name, kind u8
//!
//! in any journal, written by a repair:
//! 30   void               nothing that counts: what was here is lost
//! ```
//!
//! Texts are a length and that many bytes of UTF-8. Numbers are varints unless a width is given; names and keys are a length u8 and that many
//! bytes; tables are as in [`domain::table`]. Queue and chunk numbers are given once and never again.

pub(crate) mod binding_records;
pub(crate) mod catalogue_records;
pub(crate) mod checkpoint_records;
pub(crate) mod done_records;
pub(crate) mod exchange_records;
pub(crate) mod lease_records;
pub(crate) mod segment_records;
pub(crate) mod message_records;
pub(crate) mod queue_records;

use domain::name::Name;
use domain::table::Table;
use stdx::reader::{Reader, Truncated};
use stdx::varint;

/// The tags, in the order of the module's table.
pub(crate) mod tag {
    pub(crate) const CHUNK: u8 = 1;
    pub(crate) const ENQUEUED: u8 = 2;
    pub(crate) const SETTLED: u8 = 3;
    pub(crate) const WATERMARK: u8 = 4;
    pub(crate) const QUEUE_DECLARED: u8 = 5;
    pub(crate) const QUEUE_DELETED: u8 = 6;
    pub(crate) const EXCHANGE_DECLARED: u8 = 7;
    pub(crate) const EXCHANGE_DELETED: u8 = 8;
    pub(crate) const BINDING_MADE: u8 = 9;
    pub(crate) const BINDING_REMOVED: u8 = 10;
    pub(crate) const CHECKPOINT: u8 = 11;
    pub(crate) const QUEUE_STATE: u8 = 12;
    pub(crate) const ENQUEUED_MARKED: u8 = 13;
    pub(crate) const RETURNED: u8 = 14;
    pub(crate) const DEAD_CHUNK: u8 = 15;
    pub(crate) const KEPT: u8 = 16;
    pub(crate) const NEXT_SEGMENT: u8 = 17;
    pub(crate) const LEASED: u8 = 18;
    pub(crate) const LEASE_ENDED: u8 = 19;
    pub(crate) const DONE: u8 = 26;
    pub(crate) const DONE_FORGOTTEN: u8 = 27;
    pub(crate) const PROGRESS: u8 = 28;
    pub(crate) const CATALOGUE_CHECKPOINT: u8 = 20;
    pub(crate) const VHOST: u8 = 21;
    pub(crate) const USER: u8 = 22;
    pub(crate) const PERMISSION: u8 = 23;
    pub(crate) const TOPIC_PERMISSION: u8 = 24;
    pub(crate) const PARAMETER: u8 = 25;
    pub(crate) const VHOST_DELETED: u8 = 40;
    pub(crate) const VHOST_ERASED: u8 = 41;
    pub(crate) const USER_DELETED: u8 = 42;
    pub(crate) const PERMISSION_CLEARED: u8 = 43;
    pub(crate) const TOPIC_PERMISSION_CLEARED: u8 = 44;
    pub(crate) const PARAMETER_CLEARED: u8 = 45;
    pub(crate) const VHOST_NOTES: u8 = 46;
    pub(crate) const TOKEN: u8 = 47;
    pub(crate) const TOKEN_REVOKED: u8 = 48;
    pub(crate) const LIMIT: u8 = 49;
    pub(crate) const LIMIT_CLEARED: u8 = 50;
    pub(crate) const VOID: u8 = 30;
}

/// A record's payload is not what its tag promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload of a journal record is malformed")]
pub(crate) struct Malformed;

impl From<Truncated> for Malformed {
    fn from(Truncated: Truncated) -> Malformed {
        Malformed
    }
}

/// The number of a chunk in the journal; given once, never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChunkId(pub(crate) u64);

pub(crate) fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend_from_slice(&bytes[..len.into()]);
}

pub(crate) fn take_short<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = reader.u8()?;
    Ok(reader.bytes(len.into())?)
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    varint::put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn take_text(reader: &mut Reader<'_>) -> Result<Box<str>, Malformed> {
    let len = usize::try_from(varint::take(reader)?).map_err(|_too_long| Malformed)?;
    let bytes = reader.bytes(len)?;
    std::str::from_utf8(bytes).map(Into::into).map_err(|_not_utf8| Malformed)
}

pub(crate) fn take_name(reader: &mut Reader<'_>) -> Result<Name, Malformed> {
    let text = std::str::from_utf8(take_short(reader)?).map_err(|_not_utf8| Malformed)?;
    Name::new(text).map_err(|_too_long| Malformed)
}

pub(crate) fn take_table(reader: &mut Reader<'_>) -> Result<Table, Malformed> {
    Table::read(reader).map_err(|_malformed| Malformed)
}

pub(crate) fn take_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, Malformed> {
    let flags = reader.u8()?;
    if flags & !known == 0 { Ok(flags) } else { Err(Malformed) }
}

/// The payload must be used up.
pub(crate) fn finished(reader: &Reader<'_>) -> Result<(), Malformed> {
    if reader.is_empty() { Ok(()) } else { Err(Malformed) }
}
