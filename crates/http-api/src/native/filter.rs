//! Which messages are meant, by what is known of them and by what they say: for looking at them, and for
//! doing something with all of them. Pure: a message and its view in, yes or no out.

use std::str::FromStr;

use broker::Message;
use broker::views::{MessageState, MessageView};
use domain::properties::list::{PropertyList, ShortString};
use domain::table::Table;
use regex::bytes::{Regex, RegexBuilder};
use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::{IntoParams, ToSchema};

use super::json_path::JsonPath;
use crate::json_table;
use crate::problem::Problem;
use crate::query;

/// Most headers, and most properties, that one filter names.
const CONDITIONS_MAX: usize = 16;

/// The longest text of a condition, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Bodies longer than this are not read as JSON: none of them matches a path.
const JSON_BODY_BYTES_MAX: usize = 1 << 20;

/// Which messages are meant: those for which all that is said here is true. With nothing said: all.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterIn {
    /// What they are doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub(crate) state: Option<StateName>,
    /// Headers they have, `NAME` or `NAME=VALUE`, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) header: Vec<String>,
    /// Properties they have, `NAME` or `NAME=VALUE`, at most 16: those of a message, `exchange` and
    /// `routing_key`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) property: Vec<String>,
    /// A text in their bodies, at most 1,024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// A place in their bodies, which are JSON of at most 1 MiB: `$.customer.id`, or with what is to
    /// be found there, `$.customer.id=42`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) json_path: Option<String>,
    /// They have been there for so long or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_age_ms: Option<u64>,
    /// They have been there for so long or shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_age_ms: Option<u64>,
    /// They were handed out so often or more often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_attempts: Option<u32>,
    /// They were handed out so often or less often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_attempts: Option<u32>,
}

/// What a message is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateName {
    /// It waits, and could be delivered.
    Ready,
    /// It is leased over HTTP.
    Leased,
    /// It is delivered to a consumer that has not settled it.
    Delivered,
    /// It was given back for later, and waits until its delay is over.
    Delayed,
}

impl FromStr for StateName {
    type Err = serde::de::value::Error;

    fn from_str(text: &str) -> Result<StateName, Self::Err> {
        StateName::deserialize(text.into_deserializer())
    }
}

impl StateName {
    pub(super) fn of(state: &MessageState) -> StateName {
        match state {
            MessageState::Ready => StateName::Ready,
            MessageState::Leased(_) => StateName::Leased,
            MessageState::Delivered => StateName::Delivered,
            MessageState::Delayed { .. } => StateName::Delayed,
        }
    }
}

/// A filter, understood.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    state: Option<StateName>,
    headers: Vec<(Box<str>, Option<Box<str>>)>,
    properties: Vec<(Property, Option<Box<str>>)>,
    body: Option<Regex>,
    json_path: Option<JsonPath>,
    age_ms: (u64, u64),
    attempts: (u32, u32),
}

/// A property that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Property {
    Exchange,
    RoutingKey,
    ContentType,
    ContentEncoding,
    Persistent,
    Priority,
    CorrelationId,
    ReplyTo,
    TtlMs,
    MessageId,
    Timestamp,
    Type,
    UserId,
    AppId,
}

const PROPERTIES: [(&str, Property); 14] = [
    ("exchange", Property::Exchange),
    ("routing_key", Property::RoutingKey),
    ("content_type", Property::ContentType),
    ("content_encoding", Property::ContentEncoding),
    ("persistent", Property::Persistent),
    ("priority", Property::Priority),
    ("correlation_id", Property::CorrelationId),
    ("reply_to", Property::ReplyTo),
    ("ttl_ms", Property::TtlMs),
    ("message_id", Property::MessageId),
    ("timestamp", Property::Timestamp),
    ("type", Property::Type),
    ("user_id", Property::UserId),
    ("app_id", Property::AppId),
];

/// AMQP's word for a message that stays.
const PERSISTENT: u8 = 2;

impl FilterIn {
    /// Takes a parameter behind the question mark in; false: it is none of the filter's.
    pub(super) fn take(&mut self, name: &str, text: &str) -> Result<bool, Problem> {
        match name {
            "state" => query::once(&mut self.state, name, text)?,
            "header" => self.header.push(text.to_owned()),
            "property" => self.property.push(text.to_owned()),
            "body" => query::once(&mut self.body, name, text)?,
            "json_path" => query::once(&mut self.json_path, name, text)?,
            "min_age_ms" => query::once(&mut self.min_age_ms, name, text)?,
            "max_age_ms" => query::once(&mut self.max_age_ms, name, text)?,
            "min_attempts" => query::once(&mut self.min_attempts, name, text)?,
            "max_attempts" => query::once(&mut self.max_attempts, name, text)?,
            _another => return Ok(false),
        }
        Ok(true)
    }

    /// Checks it; `prefix` is where it stands in the request.
    pub(crate) fn ready(&self, prefix: &str) -> Result<Filter, Problem> {
        let at = |field: &str| format!("{prefix}{field}");
        for (conditions, field) in [(&self.header, "header"), (&self.property, "property")] {
            if conditions.len() > CONDITIONS_MAX {
                let detail = format!("a filter names at most {CONDITIONS_MAX} of these");
                return Err(Problem::bad_request(detail).field(at(field)));
            }
        }
        let header = |text: &String| named(text, &at("header"));
        let property = |text: &String| {
            let (name, value) = named(text, &at("property"))?;
            let known = PROPERTIES.iter().find(|(known, _)| *known == &*name);
            let known = known.ok_or_else(|| {
                let names: Vec<&str> = PROPERTIES.iter().map(|(name, _)| *name).collect();
                Problem::bad_request(format!("messages have no property '{name}'"))
                    .field(at("property"))
                    .remedy(format!("there are {}", names.join(", ")))
            })?;
            Ok((known.1, value))
        };
        let path = self.json_path.as_deref().map(JsonPath::parse).transpose();
        Ok(Filter {
            state: self.state,
            headers: self.header.iter().map(header).collect::<Result<_, Problem>>()?,
            properties: self.property.iter().map(property).collect::<Result<_, Problem>>()?,
            body: self.body.as_deref().map(|text| searched(text, &at("body"))).transpose()?,
            json_path: path
                .map_err(|error| Problem::bad_request(error.to_string()).field(at("json_path")))?,
            age_ms: (self.min_age_ms.unwrap_or(0), self.max_age_ms.unwrap_or(u64::MAX)),
            attempts: (self.min_attempts.unwrap_or(0), self.max_attempts.unwrap_or(u32::MAX)),
        })
    }
}

/// A name, and a value if one is said.
fn named(text: &str, field: &str) -> Result<(Box<str>, Option<Box<str>>), Problem> {
    check_length(text, field)?;
    match text.split_once('=') {
        Some(("", _)) => {
            let problem = Problem::bad_request("a condition is NAME or NAME=VALUE");
            Err(problem.field(field))
        }
        Some((name, value)) => Ok((name.into(), Some(value.into()))),
        None => Ok((text.into(), None)),
    }
}

fn check_length(text: &str, field: &str) -> Result<(), Problem> {
    if (1..=TEXT_BYTES_MAX).contains(&text.len()) {
        return Ok(());
    }
    let detail = format!("this has from 1 to {TEXT_BYTES_MAX} bytes");
    Err(Problem::bad_request(detail).field(field))
}

/// Finds a text in bytes.
fn searched(text: &str, field: &str) -> Result<Regex, Problem> {
    check_length(text, field)?;
    let built = RegexBuilder::new(&regex::escape(text)).build();
    built.map_err(|error| Problem::bad_request(error.to_string()).field(field))
}

impl Filter {
    /// Whether what is known of a message fits; what it says is not looked at.
    pub(crate) fn may_mean(&self, view: &MessageView<'_>) -> bool {
        let is_within = |number: u64, (min, max): (u64, u64)| (min..=max).contains(&number);
        let (min, max) = self.attempts;
        self.state.is_none_or(|state| state == StateName::of(view.state))
            && (min..=max).contains(&view.attempts)
            && is_within(view.age_ms, self.age_ms)
    }

    /// Whether what a message says fits.
    pub(crate) fn means(&self, message: &Message<'_>) -> bool {
        if !self.headers.is_empty() || !self.properties.is_empty() {
            // They were checked when they came in.
            let list = PropertyList::read(message.properties).unwrap_or_default();
            let nothing = Table::default();
            let headers = list.headers.as_ref().unwrap_or(&nothing);
            let has_header = |(name, value): &(Box<str>, Option<Box<str>>)| {
                let found = headers.get(name);
                found.is_some_and(|found| {
                    value.as_ref().is_none_or(|value| is_written(&json_table::show(found), value))
                })
            };
            let has_property = |(property, value): &(Property, Option<Box<str>>)| {
                let found = property.of(message, &list);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| found == **value))
            };
            if !self.headers.iter().all(has_header) || !self.properties.iter().all(has_property) {
                return false;
            }
        }
        self.body.as_ref().is_none_or(|text| text.is_match(message.body))
            && self.json_path.as_ref().is_none_or(|path| leads_in(path, message.body))
    }
}

/// Whether a value is written so: texts without quotes, all else as JSON.
fn is_written(value: &Json, text: &str) -> bool {
    if let Json::String(value) = value {
        return value == text;
    }
    let written = value.to_string();
    written == text
}

fn leads_in(path: &JsonPath, body: &[u8]) -> bool {
    body.len() <= JSON_BODY_BYTES_MAX
        && serde_json::from_slice(body).is_ok_and(|document| path.matches(&document))
}

impl Property {
    /// What a message has there, as text.
    fn of(self, message: &Message<'_>, list: &PropertyList) -> Option<String> {
        let text = |text: &Option<ShortString>| text.as_deref().map(json_table::text);
        match self {
            Property::Exchange => Some(message.exchange.to_owned()),
            Property::RoutingKey => Some(json_table::text(message.routing_key)),
            Property::ContentType => text(&list.content_type),
            Property::ContentEncoding => text(&list.content_encoding),
            Property::Persistent => Some((list.delivery_mode == Some(PERSISTENT)).to_string()),
            Property::Priority => list.priority.map(|priority| priority.to_string()),
            Property::CorrelationId => text(&list.correlation_id),
            Property::ReplyTo => text(&list.reply_to),
            Property::TtlMs => text(&list.expiration),
            Property::MessageId => text(&list.message_id),
            Property::Timestamp => list.timestamp.map(|seconds| seconds.to_string()),
            Property::Type => text(&list.message_type),
            Property::UserId => text(&list.user_id),
            Property::AppId => text(&list.app_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use broker::{ChunkBuilder, MessageHead, MessageId, Persistence};
    use domain::table::Value;
    use serde_json::json;

    use super::*;

    fn filter(filter: &Json) -> Result<Filter, Problem> {
        serde_json::from_value::<FilterIn>(filter.clone()).unwrap().ready("filter.")
    }

    /// A message with a few headers and properties.
    fn chunk() -> broker::Chunk {
        let mut headers = Table::default();
        headers.push("tenant", Value::text("acme"));
        headers.push("tries", Value::I32(3));
        headers.push("tags", Value::Array(vec![Value::text("a"), Value::Bool(true)]));
        headers.push("empty", Value::Void);
        let list = PropertyList {
            headers: Some(headers),
            content_type: Some((*b"application/json").into()),
            delivery_mode: Some(2),
            priority: Some(7),
            message_id: Some((*b"order-1").into()),
            ..PropertyList::default()
        };
        let mut properties = Vec::new();
        list.write(&mut properties);
        let head = MessageHead {
            persistence: Persistence::Persistent,
            exchange: "events",
            routing_key: b"order.paid",
            properties: &properties,
            ..MessageHead::default()
        };
        let body = r#"{"customer": {"id": 42, "name": "Ada"}}"#;
        let mut builder = ChunkBuilder::default();
        builder.message(&head, u32::try_from(body.len()).unwrap());
        builder.body(body.as_bytes());
        builder.end();
        builder.finish()
    }

    #[test]
    fn what_a_message_says_is_compared() {
        let chunk = chunk();
        let message = chunk.message(0).unwrap();
        for (wanted, expected) in [
            (json!({}), true),
            (json!({"header": ["tenant"]}), true),
            (json!({"header": ["tenant=acme"]}), true),
            (json!({"header": ["tenant=acm"]}), false),
            (json!({"header": ["tenant=acme", "tries=3"]}), true),
            (json!({"header": ["tenant=acme", "tries=4"]}), false),
            (json!({"header": ["tags=[\"a\",true]"]}), true),
            (json!({"header": ["empty=null"]}), true),
            (json!({"header": ["empty="]}), false),
            (json!({"header": ["missing"]}), false),
            (json!({"property": ["exchange=events", "routing_key=order.paid"]}), true),
            (json!({"property": ["routing_key=order"]}), false),
            (json!({"property": ["persistent=true", "priority=7"]}), true),
            (json!({"property": ["message_id=order-1"]}), true),
            (json!({"property": ["correlation_id"]}), false),
            (json!({"body": "\"Ada\""}), true),
            (json!({"body": "ada"}), false),
            (json!({"body": ".*"}), false),
            (json!({"json_path": "$.customer.id=42"}), true),
            (json!({"json_path": "$.customer.id=43"}), false),
            (json!({"json_path": "$.customer", "body": "Grace"}), false),
        ] {
            assert_eq!(filter(&wanted).unwrap().means(&message), expected, "{wanted}");
        }
    }

    #[test]
    fn what_is_known_of_a_message_is_compared() {
        let (_, id) = MessageId::parse("AQEvAQU").unwrap();
        let state = MessageState::Delivered;
        let view = MessageView {
            id,
            state: &state,
            attempts: 2,
            level: 0,
            age_ms: 1_000,
            expires_wall_ms: None,
        };
        for (wanted, expected) in [
            (json!({}), true),
            (json!({"state": "delivered"}), true),
            (json!({"state": "ready"}), false),
            (json!({"state": "leased"}), false),
            (json!({"min_age_ms": 1000, "max_age_ms": 1000}), true),
            (json!({"min_age_ms": 1001}), false),
            (json!({"max_age_ms": 999}), false),
            (json!({"min_attempts": 2, "max_attempts": 2}), true),
            (json!({"min_attempts": 3}), false),
            (json!({"max_attempts": 1}), false),
            (json!({"body": "not looked at"}), true),
        ] {
            assert_eq!(filter(&wanted).unwrap().may_mean(&view), expected, "{wanted}");
        }
    }

    #[test]
    fn what_is_no_condition_is_named() {
        let many = vec!["a"; CONDITIONS_MAX + 1];
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for (wanted, field) in [
            (json!({"header": many}), "header"),
            (json!({"header": [""]}), "header"),
            (json!({"header": ["=x"]}), "header"),
            (json!({"header": [long]}), "header"),
            (json!({"property": ["colour=red"]}), "property"),
            (json!({"body": ""}), "body"),
            (json!({"body": long}), "body"),
            (json!({"json_path": "customer.id"}), "json_path"),
        ] {
            let problem = filter(&wanted).unwrap_err();
            assert_eq!(problem.clone().field(format!("filter.{field}")), problem, "{wanted}");
        }
    }
}
