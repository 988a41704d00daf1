//! The name of a message: its queue's number and its place there, which are given once, with the virtual
//! host they are of.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::binding::QueueId;
use domain::name::Name;
use domain::run::Sequence;
use stdx::reader::{Reader, Truncated};
use stdx::varint::{put, take};

/// Names a message in its virtual host. A message in two queues has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    pub(crate) queue: QueueId,
    pub(crate) message: Sequence,
}

/// The text is no message's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no message's id: give it exactly as it was told")]
pub struct NoMessageId;

impl From<Truncated> for NoMessageId {
    fn from(Truncated: Truncated) -> NoMessageId {
        NoMessageId
    }
}

/// The shape of ids; another takes another number.
const VERSION: u8 = 1;

impl MessageId {
    /// The id of the message so many places further on in its queue.
    #[must_use]
    pub fn plus(self, places: u32) -> MessageId {
        MessageId { message: self.message.plus(places), ..self }
    }

    /// The id as text, with the virtual host it is of.
    pub fn to_text(self, vhost: &Name) -> String {
        let name = vhost.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(name.len() + 16);
        bytes.push(VERSION);
        put(&mut bytes, name.len() as u64);
        bytes.extend_from_slice(name);
        put(&mut bytes, self.queue.0);
        put(&mut bytes, self.message.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`MessageId::to_text`] wrote.
    pub fn parse(text: &str) -> Result<(Name, MessageId), NoMessageId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_no_base64| NoMessageId)?;
        let mut reader = Reader::new(&bytes);
        if reader.u8()? != VERSION {
            return Err(NoMessageId);
        }
        let len = usize::try_from(take(&mut reader)?).map_err(|_too_long| NoMessageId)?;
        let name = std::str::from_utf8(reader.bytes(len)?).map_err(|_no_text| NoMessageId)?;
        let vhost = Name::new(name).map_err(|_too_long| NoMessageId)?;
        let queue = QueueId(take(&mut reader)?);
        let message = Sequence(take(&mut reader)?);
        if !reader.is_empty() || message.0 == u64::MAX {
            return Err(NoMessageId);
        }
        Ok((vhost, MessageId { queue, message }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_others_are_none() {
        for vhost in ["/", "", "a tenant with a longer name"] {
            let vhost = Name::new(vhost).unwrap();
            let id = MessageId { queue: QueueId(300), message: Sequence(1 << 40) };
            let text = id.to_text(&vhost);
            assert_eq!(MessageId::parse(&text), Ok((vhost, id)));
            for cut in 0..text.len() {
                assert_eq!(MessageId::parse(&text[..cut]), Err(NoMessageId), "{}", &text[..cut]);
            }
            assert_eq!(MessageId::parse(&format!("{text}AAAA")), Err(NoMessageId));
            assert_eq!(MessageId::parse(&format!("Ag{}", &text[2..])), Err(NoMessageId));
        }
        assert_eq!(MessageId::parse("12-5"), Err(NoMessageId));
    }
}
