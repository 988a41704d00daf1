//! Messages that can be told apart and checked byte by byte: each carries its number in its
//! message-id, and its body is made from that number.

use std::collections::BTreeMap;

use broker::operation::FurtherKeys;
use broker::{Message, Persistence};
use domain::name::Name;
use domain::table::Table;

use crate::random::Random;
use crate::violation::{Violation, broken, demand};

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
        self.published.get(&id)
    }

    /// Which message this is, if it is exactly what was published.
    pub(crate) fn recognise(&self, message: &Message<'_>) -> Result<MessageId, Violation> {
        let Some(id) = id_of(message.properties) else {
            return broken!(Intact, "no message-id in {:02x?}", message.properties);
        };
        let Some(content) = self.published.get(&id) else {
            return broken!(Intact, "message {id} was never published");
        };
        demand!(message.exchange == content.exchange.as_str(), Intact, "exchange of {id}");
        demand!(*message.routing_key == *content.routing_key, Intact, "routing key of {id}");
        demand!(message.persistence == content.persistence, Intact, "persistence of {id}");
        demand!(message.properties == content.properties(id), Intact, "properties of {id}");
        demand!(message.body == content.body(id), Intact, "body of {id}");
        Ok(id)
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
        let mut bytes = (headers | DELIVERY_MODE | expiration | MESSAGE_ID).to_be_bytes().to_vec();
        if headers != 0 {
            self.headers.write(&mut bytes);
        }
        bytes.push(match self.persistence {
            Persistence::Transient => 1,
            Persistence::Persistent => 2,
        });
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

fn id_of(properties: &[u8]) -> Option<MessageId> {
    let start = properties.len().checked_sub(usize::from(ID_BYTES))?;
    let text = std::str::from_utf8(properties.get(start..)?).ok()?;
    MessageId::from_str_radix(text, 16).ok()
}
