//! A message in JSON, as the native API hands it out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::lease::LeasedRun;
use domain::name::Name;
use domain::properties::list::{PropertyList, ShortString};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use crate::json_table;

/// AMQP's word for a message that stays.
const PERSISTENT: u8 = 2;

const JSON_TYPE: &str = "application/json";

/// A message and its lease. Its body is `body` if it is a text, or JSON of the content type
/// `application/json` other than a text; else `body_base64`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeasedMessage<'a> {
    /// Names the message: `GET /v1/messages/{id}` tells what it is doing.
    id: String,
    /// Proof of the lease; needed to settle it.
    lease: String,
    /// When the lease ends, in milliseconds since 1970 by the broker's clock.
    lease_expires_at_ms: u64,
    /// How many times the message was handed out, this one included, as far as it was counted.
    attempt: u32,
    /// Whether it may have been handed out before.
    redelivered: bool,
    #[serde(flatten)]
    message: MessageOut<'a>,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageOut<'a> {
    /// Where it was published; empty: to a queue.
    exchange: &'a str,
    routing_key: String,
    persistent: bool,
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    headers: Map<String, Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    message_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(flatten)]
    body: BodyOut<'a>,
}

#[derive(Debug, Serialize, ToSchema)]
enum BodyOut<'a> {
    #[serde(rename = "body")]
    Text(&'a str),
    #[serde(rename = "body")]
    #[schema(value_type = Object)]
    Json(&'a RawValue),
    #[serde(rename = "body_base64")]
    Bytes(String),
}

impl<'a> MessageOut<'a> {
    /// The whole message.
    fn of(message: &broker::Message<'a>) -> MessageOut<'a> {
        MessageOut::with_body(message, message.body)
    }

    /// A message with so many bytes of its body at most.
    pub(super) fn cut(message: &broker::Message<'a>, body_bytes_max: usize) -> MessageOut<'a> {
        MessageOut::with_body(message, front(message.body, body_bytes_max))
    }

    fn with_body(message: &broker::Message<'a>, body: &'a [u8]) -> MessageOut<'a> {
        // They were checked when they came in.
        let list = PropertyList::read(message.properties).unwrap_or_default();
        let headers = list.headers.as_ref().map(json_table::shown).unwrap_or_default();
        let content_type = shown(list.content_type);
        MessageOut {
            exchange: message.exchange,
            routing_key: json_table::text(message.routing_key),
            persistent: list.delivery_mode == Some(PERSISTENT),
            headers,
            body: BodyOut::of(body, content_type.as_deref()),
            content_type,
            content_encoding: shown(list.content_encoding),
            priority: list.priority,
            correlation_id: shown(list.correlation_id),
            reply_to: shown(list.reply_to),
            message_id: shown(list.message_id),
            timestamp: list.timestamp,
            message_type: shown(list.message_type),
            user_id: shown(list.user_id),
            app_id: shown(list.app_id),
        }
    }
}

/// The first so many bytes, or a few less, so that a text stays one.
fn front(body: &[u8], bytes_max: usize) -> &[u8] {
    let Some(front) = body.get(..bytes_max).filter(|front| front.len() < body.len()) else {
        return body;
    };
    match std::str::from_utf8(front) {
        Err(error) if error.error_len().is_none() => {
            front.get(..error.valid_up_to()).unwrap_or(front)
        }
        Ok(_) | Err(_) => front,
    }
}

fn shown(text: Option<ShortString>) -> Option<String> {
    text.map(|text| json_table::text(&text))
}

impl<'a> BodyOut<'a> {
    /// So that a message published as JSON comes out as it went in.
    fn of(body: &'a [u8], content_type: Option<&str>) -> BodyOut<'a> {
        let Ok(text) = std::str::from_utf8(body) else {
            return BodyOut::Bytes(STANDARD.encode(body));
        };
        let is_json = content_type == Some(JSON_TYPE) && !text.trim_start().starts_with('"');
        match serde_json::from_str::<&RawValue>(text) {
            Ok(json) if is_json => BodyOut::Json(json),
            Ok(_) | Err(_) => BodyOut::Text(text),
        }
    }
}

/// The messages of leased runs, in order.
pub(super) fn messages<'r>(runs: &'r [LeasedRun], vhost: &Name) -> Vec<LeasedMessage<'r>> {
    let mut messages = Vec::with_capacity(runs.iter().map(|run| run.count as usize).sum());
    for run in runs {
        for offset in 0..run.count {
            let Some(message) = run.chunk.message(run.first + offset) else { continue };
            let token = run.token(offset);
            messages.push(LeasedMessage {
                id: token.message_id().to_text(vhost),
                lease: token.to_text(vhost),
                lease_expires_at_ms: run.until_wall_ms,
                attempt: run.attempt(),
                redelivered: run.redelivered,
                message: MessageOut::of(&message),
            });
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_body_is_still_a_text_if_it_was_one() {
        for (body, bytes_max, expected) in [
            ("short".as_bytes(), 5, "short".as_bytes()),
            ("short".as_bytes(), 9, "short".as_bytes()),
            ("short".as_bytes(), 2, "sh".as_bytes()),
            ("aé€".as_bytes(), 2, "a".as_bytes()),
            ("aé€".as_bytes(), 3, "aé".as_bytes()),
            ("aé€".as_bytes(), 5, "aé".as_bytes()),
            (b"\xff\xfe\xfd", 2, b"\xff\xfe"),
            (b"text", 0, b""),
        ] {
            assert_eq!(front(body, bytes_max), expected, "{body:?} {bytes_max}");
        }
    }

    #[test]
    fn a_body_comes_out_as_it_went_in() {
        for (body, content_type, expected) in [
            (&b"text"[..], None, r#"{"body":"text"}"#),
            (b"{\"a\": 1}", None, r#"{"body":"{\"a\": 1}"}"#),
            (b"{\"a\": 1}", Some(JSON_TYPE), r#"{"body":{"a": 1}}"#),
            (b"{\"a\": ", Some(JSON_TYPE), r#"{"body":"{\"a\": "}"#),
            (b"\"quoted\"", Some(JSON_TYPE), r#"{"body":"\"quoted\""}"#),
            (b"", Some(JSON_TYPE), r#"{"body":""}"#),
            (b"\xff", Some(JSON_TYPE), r#"{"body_base64":"/w=="}"#),
        ] {
            let shown = serde_json::to_string(&BodyOut::of(body, content_type)).unwrap();
            assert_eq!(shown, expected);
        }
    }
}
