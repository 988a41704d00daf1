//! A message in JSON, as the native API takes it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::{MessageHead, Persistence, User};
use domain::properties::list::{PropertyList, ShortString};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use crate::json_table;
use crate::problem::Problem;
use crate::trace_headers::TraceHeaders;

/// The longest text among a message's properties, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// AMQP's word for a message that stays.
const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

const JSON_TYPE: &str = "application/json";

/// A message to be published. `body` is a text, taken as it is, or any other JSON, which is kept as
/// it was written and gets the content type `application/json`; `body_base64` takes any bytes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageIn<'a> {
    /// Where an exchange sends it; queues need none.
    #[serde(borrow, default)]
    pub(crate) routing_key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    body: Option<&'a RawValue>,
    #[serde(borrow, default)]
    body_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content_encoding: Option<Cow<'a, str>>,
    /// Any JSON values by name.
    #[schema(value_type = Option<Object>)]
    #[serde(default)]
    headers: Option<Map<String, Json>>,
    /// Whether it survives a restart, if its queue does; true if not said.
    #[serde(default)]
    persistent: Option<bool>,
    #[serde(default)]
    priority: Option<u8>,
    /// How long it may wait in a queue, in milliseconds.
    #[serde(default)]
    ttl_ms: Option<u32>,
    #[serde(borrow, default)]
    correlation_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reply_to: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_id: Option<Cow<'a, str>>,
    /// Seconds since 1970.
    #[serde(default)]
    timestamp: Option<u64>,
    #[serde(borrow, default, rename = "type")]
    message_type: Option<Cow<'a, str>>,
    /// Must be the user's own name.
    #[serde(borrow, default)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    app_id: Option<Cow<'a, str>>,
}

/// A message ready to be published.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) routing_key: Cow<'a, str>,
    pub(crate) body: Cow<'a, [u8]>,
    properties: Vec<u8>,
    persistence: Persistence,
    priority: Option<u8>,
    expiration_ms: Option<u64>,
}

impl Outgoing<'_> {
    /// What the broker wants to know of it.
    pub(crate) fn head<'h>(&'h self, exchange: &'h str) -> MessageHead<'h> {
        MessageHead {
            persistence: self.persistence,
            exchange,
            routing_key: self.routing_key.as_bytes(),
            properties: &self.properties,
            priority: self.priority,
            expiration_ms: self.expiration_ms,
            ..MessageHead::default()
        }
    }
}

impl<'a> MessageIn<'a> {
    /// A message whose body is what a request's body was.
    pub(crate) fn plain(
        body: &'a [u8],
        content_type: Option<&'a str>,
        routing_key: Option<&'a str>,
        context: &TraceHeaders,
        user: &User,
    ) -> Result<Outgoing<'a>, Problem> {
        let mut message = MessageIn {
            content_type: content_type.map(Cow::Borrowed),
            routing_key: routing_key.map(Cow::Borrowed),
            ..MessageIn::default()
        };
        message.trace_in(context);
        Ok(Outgoing { body: Cow::Borrowed(body), ..message.ready(user)? })
    }

    /// Belongs to the trace of whoever asks, unless it says itself to which it belongs.
    pub(crate) fn trace_in(&mut self, context: &TraceHeaders) {
        context.join(&mut self.headers);
    }

    /// Checks it and lays its properties down as the broker has them.
    pub(crate) fn ready(self, user: &User) -> Result<Outgoing<'a>, Problem> {
        let (body, is_json) = self.body()?;
        let content_type = self.content_type.as_deref().or(is_json.then_some(JSON_TYPE));
        if let Some(claimed) = &self.user_id
            && **claimed != *user.name().as_str()
            && !user.may_impersonate()
        {
            let detail = format!("user_id is '{claimed}', but the user is '{}'", user.name());
            return Err(Problem::bad_request(detail).field("user_id"));
        }
        let persistence = match self.persistent {
            None | Some(true) => Persistence::Persistent,
            Some(false) => Persistence::Transient,
        };
        let headers = self.headers.as_ref();
        let digits = self.ttl_ms.map(|ms| ms.to_string());
        let list = PropertyList {
            content_type: text(content_type, "content_type")?,
            content_encoding: text(self.content_encoding.as_deref(), "content_encoding")?,
            headers: headers.map(|headers| json_table::table(headers, "headers")).transpose()?,
            delivery_mode: Some(match persistence {
                Persistence::Persistent => PERSISTENT,
                Persistence::Transient => TRANSIENT,
            }),
            priority: self.priority,
            correlation_id: text(self.correlation_id.as_deref(), "correlation_id")?,
            reply_to: text(self.reply_to.as_deref(), "reply_to")?,
            expiration: text(digits.as_deref(), "ttl_ms")?,
            message_id: text(self.message_id.as_deref(), "message_id")?,
            timestamp: self.timestamp,
            message_type: text(self.message_type.as_deref(), "type")?,
            user_id: text(self.user_id.as_deref(), "user_id")?,
            app_id: text(self.app_id.as_deref(), "app_id")?,
            cluster_id: None,
        };
        let mut properties = Vec::new();
        list.write(&mut properties);
        let routing_key = self.routing_key.unwrap_or_default();
        text(Some(&routing_key), "routing_key")?;
        Ok(Outgoing {
            routing_key,
            body,
            properties,
            persistence,
            priority: self.priority,
            expiration_ms: self.ttl_ms.map(u64::from),
        })
    }

    /// The bytes, and whether they are JSON that was written as such.
    fn body(&self) -> Result<(Cow<'a, [u8]>, bool), Problem> {
        let Some(raw) = self.body else {
            let encoded = self.body_base64.as_deref().unwrap_or_default();
            let decoded = STANDARD.decode(encoded).map_err(|error| {
                Problem::bad_request(format!("this is not base64: {error}")).field("body_base64")
            })?;
            return Ok((Cow::Owned(decoded), false));
        };
        if self.body_base64.is_some() {
            let problem = Problem::bad_request("a message has one body, not two");
            return Err(problem.field("body_base64").remedy("leave body or body_base64 away"));
        }
        if !raw.get().starts_with('"') {
            return Ok((Cow::Borrowed(raw.get().as_bytes()), true));
        }
        let text: String = serde_json::from_str(raw.get())
            .map_err(|error| Problem::bad_request(error.to_string()).field("body"))?;
        Ok((Cow::Owned(text.into_bytes()), false))
    }
}

fn text(value: Option<&str>, field: &str) -> Result<Option<ShortString>, Problem> {
    let Some(value) = value else { return Ok(None) };
    if value.len() > TEXT_BYTES_MAX {
        let detail = format!("this has at most {TEXT_BYTES_MAX} bytes");
        return Err(Problem::bad_request(detail).field(field));
    }
    Ok(Some(value.as_bytes().into()))
}
