//! Records of messages that are done: what became of them, and that this is forgotten.

use std::sync::Arc;

use domain::binding::QueueId;
use domain::run::Sequence;
use stdx::reader::Reader;
use stdx::varint::{put, take};

use super::message_records::take_u32;
use super::{Malformed, finished, put_text, take_flags, take_text};
use crate::done::{DoneMessage, DoneOutcome, LastWords};
use crate::lease::LeaseError;
use crate::message_id::MessageId;

const DEAD_LETTERED: u8 = 1;
const PUBLISHED: u8 = 2;
const PROGRESS: u8 = 4;
const RESULT: u8 = 8;
const ERROR: u8 = 16;

/// What became of messages of a queue, in the order in which they were done.
pub(crate) fn put_done<'m>(
    out: &mut Vec<u8>,
    queue: QueueId,
    messages: impl IntoIterator<Item = &'m DoneMessage>,
) {
    put(out, queue.0);
    for message in messages {
        put_message(out, message);
    }
}

fn put_message(out: &mut Vec<u8>, message: &DoneMessage) {
    let LastWords { progress, result, error } = &message.said;
    let flag = |is_there, flag| if is_there { flag } else { 0 };
    out.push(
        flag(message.dead_lettered, DEAD_LETTERED)
            | flag(message.published_wall_ms.is_some(), PUBLISHED)
            | flag(progress.is_some(), PROGRESS)
            | flag(result.is_some(), RESULT)
            | flag(error.is_some(), ERROR),
    );
    out.push(outcome_byte(message.outcome));
    put(out, message.id.message.0);
    put(out, message.attempts.into());
    put(out, message.done_wall_ms);
    if let Some(published_wall_ms) = message.published_wall_ms {
        put(out, message.done_wall_ms.saturating_sub(published_wall_ms));
    }
    for text in [progress, result].into_iter().flatten() {
        put_text(out, text);
    }
    if let Some(error) = error {
        put_text(out, &error.kind);
        put_text(out, &error.message);
    }
}

/// Reads what [`put_done`] wrote.
pub(crate) fn take_done(payload: &[u8]) -> Result<(QueueId, Vec<DoneMessage>), Malformed> {
    let mut reader = Reader::new(payload);
    let queue = QueueId(take(&mut reader)?);
    let mut messages = Vec::new();
    while !reader.is_empty() {
        messages.push(take_message(&mut reader, queue)?);
    }
    Ok((queue, messages))
}

fn take_message(reader: &mut Reader<'_>, queue: QueueId) -> Result<DoneMessage, Malformed> {
    let flags = take_flags(reader, DEAD_LETTERED | PUBLISHED | PROGRESS | RESULT | ERROR)?;
    let outcome = take_outcome(reader.u8()?)?;
    let message = Sequence(take(reader)?);
    let (attempts, done_wall_ms) = (take_u32(reader)?, take(reader)?);
    let has = |flag| flags & flag != 0;
    let took_ms = has(PUBLISHED).then(|| take(reader)).transpose()?;
    let progress = has(PROGRESS).then(|| take_text(reader)).transpose()?;
    let result = has(RESULT).then(|| take_text(reader)).transpose()?;
    let error = if has(ERROR) {
        let (kind, message) = (take_text(reader)?, take_text(reader)?);
        Some(Arc::new(LeaseError { kind, message }))
    } else {
        None
    };
    let said =
        LastWords { progress: progress.map(Into::into), result: result.map(Into::into), error };
    Ok(DoneMessage {
        id: MessageId { queue, message },
        outcome,
        dead_lettered: has(DEAD_LETTERED),
        attempts,
        published_wall_ms: took_ms.map(|took_ms| done_wall_ms.saturating_sub(took_ms)),
        done_wall_ms,
        said,
    })
}

fn outcome_byte(outcome: DoneOutcome) -> u8 {
    match outcome {
        DoneOutcome::Acknowledged => 0,
        DoneOutcome::Rejected => 1,
        DoneOutcome::Failed => 2,
        DoneOutcome::Expired => 3,
        DoneOutcome::Overflowed => 4,
        DoneOutcome::Purged => 5,
        DoneOutcome::Moved => 6,
    }
}

fn take_outcome(byte: u8) -> Result<DoneOutcome, Malformed> {
    DoneOutcome::ALL.into_iter().find(|it| outcome_byte(*it) == byte).ok_or(Malformed)
}

/// Of the messages of a queue that are done so far nothing is told any more.
pub(crate) fn put_forgotten(out: &mut Vec<u8>, queue: QueueId) {
    put(out, queue.0);
}

/// Reads what [`put_forgotten`] wrote.
pub(crate) fn take_forgotten(payload: &[u8]) -> Result<QueueId, Malformed> {
    let mut reader = Reader::new(payload);
    let queue = QueueId(take(&mut reader)?);
    finished(&reader).map(|()| queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(outcome: DoneOutcome) -> DoneMessage {
        DoneMessage {
            id: MessageId { queue: QueueId(300), message: Sequence(1 << 40) },
            outcome,
            dead_lettered: false,
            attempts: 1,
            published_wall_ms: None,
            done_wall_ms: 1_700_000_000_000,
            said: LastWords::default(),
        }
    }

    #[test]
    fn round_trips_and_truncation() {
        let error = LeaseError { kind: "Timeout".into(), message: "no answer".into() };
        let mut messages: Vec<DoneMessage> = DoneOutcome::ALL.into_iter().map(plain).collect();
        messages.push(DoneMessage {
            dead_lettered: true,
            attempts: 300,
            published_wall_ms: Some(1_699_999_999_000),
            said: LastWords {
                progress: Some("0.5".into()),
                result: Some("{\"url\":\"…\"}".into()),
                error: Some(Arc::new(error)),
            },
            ..plain(DoneOutcome::Rejected)
        });
        let mut bytes = Vec::new();
        put_done(&mut bytes, QueueId(300), &messages);
        assert_eq!(take_done(&bytes), Ok((QueueId(300), messages.clone())));
        let whole = |count: usize| {
            let mut bytes = Vec::new();
            put_done(&mut bytes, QueueId(300), &messages[..count]);
            bytes.len()
        };
        let wholes: Vec<usize> = (0..messages.len()).map(whole).collect();
        for cut in 0..bytes.len() {
            assert_eq!(take_done(&bytes[..cut]).is_ok(), wholes.contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_unknown_is_malformed() {
        for (at, byte) in [(2, 32), (3, 7)] {
            let mut bytes = Vec::new();
            put_done(&mut bytes, QueueId(300), &[plain(DoneOutcome::Moved)]);
            bytes[at] = byte;
            assert_eq!(take_done(&bytes), Err(Malformed));
        }
        assert_eq!(take_forgotten(&[4]), Ok(QueueId(4)));
        assert_eq!(take_forgotten(&[4, 0]), Err(Malformed));
    }
}
