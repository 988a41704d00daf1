//! A record of any of the broker's journals as a line of text. Bodies and password hashes are not in
//! it.

use std::fmt::Write as _;

use bytes::Bytes;
use storage::segment_file_name;

use super::Bodies;
use crate::chunk::Chunk;
use crate::done::DoneMessage;
use crate::journaled::binding_records::BindingRecord;
use crate::journaled::catalogue_records::CatalogueRecord;
use crate::journaled::checkpoint_records::{Checkpoint, QueueState};
use crate::journaled::done_records::{take_done, take_forgotten};
use crate::journaled::lease_records::{Leased, take_ended, take_progress};
use crate::journaled::message_records::{
    Enqueued, take_chunk_head, take_returned, take_settled, take_watermark,
};
use crate::journaled::segment_records::{KeptRecord, take_next_segment};
use crate::journaled::{Malformed, exchange_records, queue_records, tag};
use crate::register::Change;
use crate::users::Account;

/// What a record of this tag is.
pub(super) fn record_kind(tag: u8) -> &'static str {
    match tag {
        tag::CHUNK => "chunk",
        tag::DEAD_CHUNK => "dead chunk",
        tag::ENQUEUED | tag::ENQUEUED_MARKED => "enqueued",
        tag::SETTLED => "settled",
        tag::RETURNED => "returned",
        tag::WATERMARK => "watermark",
        tag::QUEUE_DECLARED => "queue declared",
        tag::QUEUE_DELETED => "queue deleted",
        tag::EXCHANGE_DECLARED => "exchange declared",
        tag::EXCHANGE_DELETED => "exchange deleted",
        tag::BINDING_MADE => "binding made",
        tag::BINDING_REMOVED => "binding removed",
        tag::CHECKPOINT | tag::CATALOGUE_CHECKPOINT => "checkpoint",
        tag::QUEUE_STATE => "queue state",
        tag::KEPT => "kept",
        tag::NEXT_SEGMENT => "next segment",
        tag::LEASED => "leased",
        tag::LEASE_ENDED => "lease ended",
        tag::DONE => "done",
        tag::DONE_FORGOTTEN => "done forgotten",
        tag::PROGRESS => "progress",
        tag::VHOST => "vhost",
        tag::USER => "user",
        tag::PERMISSION => "permission",
        tag::TOPIC_PERMISSION => "topic permission",
        tag::PARAMETER => "parameter",
        tag::VHOST_DELETED => "vhost deleted",
        tag::VHOST_ERASED => "vhost erased",
        tag::USER_DELETED => "user deleted",
        tag::PERMISSION_CLEARED => "permission cleared",
        tag::TOPIC_PERMISSION_CLEARED => "topic permission cleared",
        tag::PARAMETER_CLEARED => "parameter cleared",
        tag::VHOST_NOTES => "vhost notes",
        tag::TOKEN => "token",
        tag::TOKEN_REVOKED => "token revoked",
        tag::LIMIT => "limit",
        tag::LIMIT_CLEARED => "limit cleared",
        tag::VOID => "void",
        _ => "of unknown kind",
    }
}

/// One record, whatever its bytes are.
pub(super) fn record_line(tag: u8, payload: &Bytes, bodies: Bodies) -> String {
    known_record(tag, payload, bodies).unwrap_or_else(|Malformed| {
        format!("malformed record of kind {tag}, {} bytes", payload.len())
    })
}

fn known_record(tag: u8, payload: &Bytes, bodies: Bodies) -> Result<String, Malformed> {
    Ok(match tag {
        tag::CHUNK | tag::DEAD_CHUNK => {
            let (id, head_bytes) = take_chunk_head(payload)?;
            let chunk =
                Chunk::parse(payload.slice(head_bytes..)).map_err(|_not_messages| Malformed)?;
            let kind = if tag == tag::CHUNK { "chunk" } else { "dead chunk" };
            let messages = message_lines(&chunk, 0, bodies);
            format!(
                "{kind} {}: {} messages, {} bytes{messages}",
                id.0,
                chunk.count(),
                payload.len()
            )
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
        tag::LEASED | tag::LEASE_ENDED | tag::PROGRESS | tag::DONE | tag::DONE_FORGOTTEN => {
            told_record(tag, payload, bodies)?
        }
        tag::VOID => "void: what was here is lost".to_owned(),
        other => match CatalogueRecord::take(other, payload)? {
            Some(CatalogueRecord::Checkpoint) => "catalogue checkpoint".to_owned(),
            Some(CatalogueRecord::Change(change)) => change_line(&change),
            None => format!("record of unknown kind {other}, {} bytes", payload.len()),
        },
    })
}

/// A record of what the holders of leases were given and told, and of what became of messages.
fn told_record(tag: u8, payload: &Bytes, bodies: Bodies) -> Result<String, Malformed> {
    Ok(match tag {
        tag::LEASED => {
            // Its number is what its holder proves itself with.
            let Leased { queue, until_wall_ms, length_ms, holder, spans, .. } =
                Leased::take(payload)?;
            let what = if holder.is_empty() {
                "set aside".to_owned()
            } else {
                format!("leased by '{holder}'")
            };
            let queue = queue.0;
            format!("{what}: queue {queue}, until {until_wall_ms} of {length_ms} ms, {spans:?}")
        }
        tag::LEASE_ENDED => {
            let (queue, spans) = take_ended(payload)?;
            format!("lease ended: queue {}, {spans:?}", queue.0)
        }
        tag::DONE => {
            let (queue, messages) = take_done(payload)?;
            let queue = queue.0;
            let lines: String = messages.iter().map(|message| done_line(message, bodies)).collect();
            format!("done: {} messages of queue {queue}{lines}", messages.len())
        }
        tag::DONE_FORGOTTEN => {
            format!("done forgotten: those of queue {}", take_forgotten(payload)?.0)
        }
        tag::PROGRESS => {
            let (queue, span, text) = take_progress(payload)?;
            let text = if bodies == Bodies::Shown { &*text } else { "…" };
            format!("progress: queue {}, {span:?}: {}", queue.0, text.escape_debug())
        }
        _another => return Err(Malformed),
    })
}

/// A change of the catalogue. What a parameter says may be secret, and what a hash is, is.
fn change_line(change: &Change) -> String {
    match change {
        Change::Vhost(name) => format!("vhost '{name}'"),
        Change::User(name, Account { tags, reach, .. }) => {
            format!("user '{name}': tags {tags:?}, from {reach:?}")
        }
        Change::Permission { user, vhost, permission } => {
            format!("permission of user '{user}' in vhost '{vhost}': {permission:?}")
        }
        Change::TopicPermission { user, vhost, exchange, permission } => format!(
            "topic permission of user '{user}' in vhost '{vhost}' for exchange '{exchange}': \
             {permission:?}"
        ),
        Change::Parameter((component, vhost, name), value) => {
            format!("{component} '{name}' of vhost '{vhost}': {} bytes", value.len())
        }
        Change::VhostNotes(name, notes) => format!("notes on vhost '{name}': {notes:?}"),
        Change::Token((user, name), token) => format!("token '{name}' of user '{user}': {token:?}"),
        Change::VhostDeleted(name) => format!("vhost '{name}' deleted"),
        Change::VhostErased(name) => format!("files of vhost '{name}' erased"),
        Change::UserDeleted(name) => format!("user '{name}' deleted"),
        Change::PermissionCleared { user, vhost } => {
            format!("permission of user '{user}' in vhost '{vhost}' cleared")
        }
        Change::TopicPermissionCleared { user, vhost, exchange } => format!(
            "topic permission of user '{user}' in vhost '{vhost}' for exchange '{exchange}' cleared"
        ),
        Change::ParameterCleared((component, vhost, name)) => {
            format!("{component} '{name}' of vhost '{vhost}' cleared")
        }
        Change::Limit(of, kind, max) => format!("{} of {of:?}: {max:?}", kind.as_str()),
        Change::LimitCleared(of, kind) => format!("{} of {of:?} cleared", kind.as_str()),
        Change::TokenRevoked((user, name)) => format!("token '{name}' of user '{user}' revoked"),
    }
}

/// What became of a message, in a line of its own; nothing unless bodies are wanted.
fn done_line(message: &DoneMessage, bodies: Bodies) -> String {
    if bodies == Bodies::Hidden {
        return String::new();
    }
    let DoneMessage { id, outcome, attempts, done_wall_ms, said, .. } = message;
    format!(
        "\n      sequence {}: {outcome:?} after {attempts} attempts at {done_wall_ms}, {said:?}",
        id.message.0
    )
}

/// The messages of a chunk, each in a line of its own; nothing unless bodies are wanted.
pub(super) fn message_lines(chunk: &Chunk, first: u32, bodies: Bodies) -> String {
    let mut lines = String::new();
    if bodies == Bodies::Hidden {
        return lines;
    }
    for index in 0..chunk.count() {
        let Some(message) = chunk.message(index) else { continue };
        // Writing to a string can't fail.
        _ = write!(
            lines,
            "\n      message {}: exchange '{}', key \"{}\", {} bytes: \"{}\"",
            first.saturating_add(index),
            message.exchange.escape_debug(),
            message.routing_key.escape_ascii(),
            message.body.len(),
            message.body.escape_ascii()
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_a_line_for_every_kind() {
        let mut state = 11u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        for tag in 0..=u8::MAX {
            for _ in 0..200 {
                let bytes: Vec<u8> = (0..draw() % 60).map(|_| draw() % 40).collect();
                let line = record_line(tag, &bytes.into(), Bodies::Shown);
                let unknown = line.contains("unknown kind");
                assert_eq!(unknown, record_kind(tag) == "of unknown kind", "{tag}: {line}");
                if !unknown && line.contains("malformed") {
                    assert!(line.contains(&format!("kind {tag},")), "{line}");
                }
            }
        }
    }
}
