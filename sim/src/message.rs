//! Messages that can be told apart and checked byte by byte: each carries its number in its
//! message-id, and its body is made from that number.

use std::collections::BTreeMap;

use broker::operation::FurtherKeys;
use broker::{Message, Persistence};
use domain::dead_letter::Author;
use domain::name::Name;
use domain::properties::Properties;
use domain::table::{Table, Value};

use crate::random::Random;
use crate::violation::{Violation, broken, demand};
use crate::vocabulary::{self, DEAD};

/// A message's number, given once in a run.
pub(crate) type MessageId = u64;

/// All of a message but its number.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) exchange: Name,
    pub(crate) routing_key: Box<[u8]>,
    /// Further keys that it is routed by.
    pub(crate) also: FurtherKeys,
    pub(crate) persistence: Persistence,
    pub(crate) priority: Option<u8>,
    pub(crate) headers: Table,
    pub(crate) body_bytes: u32,
    /// How long it may wait.
    pub(crate) expiration_ms: Option<u64>,
}

/// Every message that was ever published in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    published: BTreeMap<MessageId, Content>,
    next: MessageId,
}

const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const ID_BYTES: u8 = 16;

impl Messages {
    /// Takes a new message in.
    pub(crate) fn add(&mut self, content: Content) -> MessageId {
        self.next += 1;
        self.published.insert(self.next, content);
        self.next
    }

    pub(crate) fn content(&self, id: MessageId) -> Option<&Content> {
        self.published.get(&original(id))
    }

    /// Which message this is, if it is exactly what was published.
    pub(crate) fn recognise(&self, message: &Message<'_>) -> Result<MessageId, Violation> {
        let Some(id) = id_of(message.properties) else {
            return broken!(Intact, "no message-id in {:02x?}", message.properties);
        };
        let Some(content) = self.published.get(&id) else {
            return broken!(Intact, "message {id} was never published");
        };
        if message.author == Author::Broker {
            return recognise_letter(id, content, message);
        }
        demand!(message.exchange == content.exchange.as_str(), Intact, "exchange of {id}");
        demand!(*message.routing_key == *content.routing_key, Intact, "routing key of {id}");
        demand!(message.persistence == content.persistence, Intact, "persistence of {id}");
        demand!(message.properties == content.properties(id), Intact, "properties of {id}");
        demand!(message.body == content.body(id), Intact, "body of {id}");
        Ok(id)
    }
}

/// The same for what a queue gave up: the history is in its headers, all else is as it was.
fn recognise_letter(
    id: MessageId,
    content: &Content,
    message: &Message<'_>,
) -> Result<MessageId, Violation> {
    let Ok(headers) = Properties(message.properties).headers() else {
        return broken!(Intact, "headers of dead letter {id}");
    };
    let deaths = match headers.get("x-death") {
        Some(Value::Array(deaths)) => &deaths[..],
        _other => &[],
    };
    let [Value::Table(death)] = deaths else {
        return broken!(Intact, "dead letter {id} died so: {headers:?}");
    };
    let text = |name: &str| death.get(name).and_then(Value::as_text).unwrap_or_default();
    demand!(
        death.get("count").and_then(Value::as_integer) == Some(1)
            && text("exchange") == content.exchange.as_str(),
        Intact,
        "dead letter {id} died so: {death:?}"
    );
    let history = |name: &[u8]| name == b"x-death" || name.windows(7).any(|it| it == b"-death-");
    let kept = headers.0.iter().filter(|(name, _)| !history(name));
    demand!(kept.eq(content.headers.0.iter()), Intact, "headers of dead letter {id}");
    let there = message.exchange.is_empty()
        && *message.routing_key == *DEAD.as_bytes()
        && message.persistence == content.persistence
        && Properties(message.properties).expiration().is_none();
    demand!(there, Intact, "dead letter {id}");
    demand!(message.body == content.body(id), Intact, "body of dead letter {id}");
    match letter(id, text("queue"), text("reason")) {
        Some(letter) => Ok(letter),
        None => broken!(Intact, "dead letter {id} died so: {death:?}"),
    }
}

impl Content {
    /// All its routing keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.routing_key).chain(&self.also).map(|key| &**key)
    }

    /// The encoded properties of the message with that number.
    pub(crate) fn properties(&self, id: MessageId) -> Vec<u8> {
        let headers = if self.headers.is_empty() { 0 } else { HEADERS };
        let expiration = if self.expiration_ms.is_some() { EXPIRATION } else { 0 };
        let priority = if self.priority.is_some() { PRIORITY } else { 0 };
        let flags = headers | DELIVERY_MODE | priority | expiration | MESSAGE_ID;
        let mut bytes = flags.to_be_bytes().to_vec();
        if headers != 0 {
            self.headers.write(&mut bytes);
        }
        bytes.push(match self.persistence {
            Persistence::Transient => 1,
            Persistence::Persistent => 2,
        });
        bytes.extend(self.priority);
        if let Some(ms) = self.expiration_ms {
            let text = ms.to_string();
            bytes.push(u8::try_from(text.len()).unwrap_or(0));
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.push(ID_BYTES);
        bytes.extend_from_slice(format!("{id:016x}").as_bytes());
        bytes
    }

    /// The body of the message with that number.
    pub(crate) fn body(&self, id: MessageId) -> Vec<u8> {
        let mut random = Random::new(id);
        let mut body = Vec::with_capacity(self.body_bytes as usize + 8);
        while body.len() < self.body_bytes as usize {
            body.extend_from_slice(&random.next().to_le_bytes());
        }
        body.truncate(self.body_bytes as usize);
        body
    }
}

/// Letters have the number of the message that they were, and above it where and why it died.
const LETTER_SHIFT: u32 = 40;

/// The number of what a message becomes that a queue gives up.
pub(crate) fn letter(id: MessageId, queue: &str, reason: &str) -> Option<MessageId> {
    let reason = REASONS.iter().position(|known| *known == reason)? as u64;
    let queue = vocabulary::queue_number(queue)? as u64;
    Some(original(id) | ((queue + 1) * 8 + reason) << LETTER_SHIFT)
}

/// Which message died to become this letter, in which queue.
pub(crate) fn deceased(id: MessageId) -> Option<(MessageId, &'static str)> {
    let number = (id >> LETTER_SHIFT).checked_sub(8)? / 8;
    Some((original(id), vocabulary::numbered_queue(number)?))
}

fn original(id: MessageId) -> MessageId {
    id & ((1 << LETTER_SHIFT) - 1)
}

/// Why queues give messages up.
const REASONS: [&str; 2] = ["rejected", "expired"];

fn id_of(properties: &[u8]) -> Option<MessageId> {
    let start = properties.len().checked_sub(usize::from(ID_BYTES))?;
    let text = std::str::from_utf8(properties.get(start..)?).ok()?;
    MessageId::from_str_radix(text, 16).ok()
}
