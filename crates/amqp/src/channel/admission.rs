//! Whether a message may come in, by its size and by the few properties that are the publisher's
//! word to the broker.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

use broker::Persistence;
use broker::operation::{FurtherKeys, REPLY_QUEUE};

use super::copies::{self, Copies};
use super::reply_to::{self, Replies};
use crate::reply_code::{Fault, ReplyCode};
use crate::translate::garbled;
use crate::translate::requests::PUBLISH;
use crate::wire::properties::{self, ContentHeader};

/// The longest time to live that RabbitMQ takes: ten years.
const EXPIRATION_MS_MAX: u64 = 10 * 365 * 86_400_000;

/// What a connection's messages are measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// The largest body.
    pub(crate) message_bytes_max: u32,
    /// In whose name messages may be; `None`: in anybody's.
    pub(crate) user: Option<&'a str>,
    /// The channel's consumer of direct replies.
    pub(crate) replies: Option<&'a Replies>,
}

/// A message that may come in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Whether it asks to survive a restart.
    pub(crate) persistence: Persistence,
    /// The higher, the sooner.
    pub(crate) priority: Option<u8>,
    /// How long it may wait, in milliseconds.
    pub(crate) expiration_ms: Option<u64>,
    /// Of the few messages that say something of copies or want a direct reply.
    pub(crate) copies: Option<Box<Copies>>,
}

/// Checks what a header says.
#[inline]
pub(crate) fn check(header: &ContentHeader<'_>, rules: Rules<'_>) -> Result<Admitted, Fault> {
    // Nearly every message in the world says nothing but its delivery mode, if that.
    let persistence = match header.properties {
        [0x10, 0x00, 2] => Persistence::Persistent,
        [0x10, 0x00, 1] | [0x00, 0x00] => Persistence::Transient,
        _more => return look(header, rules),
    };
    if header.body_bytes > u64::from(rules.message_bytes_max) {
        return look(header, rules);
    }
    Ok(Admitted { persistence, priority: None, expiration_ms: None, copies: None })
}

/// Looks at everything that a header says.
#[inline(never)]
fn look(header: &ContentHeader<'_>, rules: Rules<'_>) -> Result<Admitted, Fault> {
    if header.body_bytes > u64::from(rules.message_bytes_max) {
        return Err(refused(format_args!(
            "message size {} is larger than configured max size {}",
            header.body_bytes, rules.message_bytes_max
        )));
    }
    let glance = properties::glance(header.properties)
        .map_err(|malformed| garbled::properties(PUBLISH, malformed))?;
    if let (Some(claimed), Some(user)) = (glance.user_id, rules.user)
        && claimed != user.as_bytes()
    {
        return Err(refused(format_args!(
            "user_id property set to '{}' but authenticated user was '{user}'",
            String::from_utf8_lossy(claimed),
        )));
    }
    let expiration_ms = match glance.expiration {
        Some(expiration) => Some(read_expiration(expiration)?),
        None => None,
    };
    let persistence = match glance.delivery_mode {
        None | Some(1) => Persistence::Transient,
        Some(2) => Persistence::Persistent,
        Some(other) => {
            return Err(refused(format_args!(
                "invalid message: {{delivery_mode_unknown,{other}}}"
            )));
        }
    };
    let wants_reply = glance.reply_to.filter(|(queue, _)| *queue == REPLY_QUEUE.as_bytes());
    let copies = match (glance.copies_at, wants_reply.map(|(_, at)| at)) {
        (None, None) => None,
        (copies_at, reply_to_at) => {
            Some(Box::new(copies(header.properties, copies_at, reply_to_at, rules)?))
        }
    };
    Ok(Admitted { persistence, priority: glance.priority, expiration_ms, copies })
}

/// What a message is to be beyond what came: a request for a direct reply is addressed, and of
/// copies' headers, which stand before its reply-to, the blind ones go.
fn copies(
    properties: &[u8],
    copies_at: Option<usize>,
    reply_to_at: Option<usize>,
    rules: Rules<'_>,
) -> Result<Copies, Fault> {
    let addressed = match reply_to_at {
        None => None,
        Some(at) => Some(reply_to::addressed(properties, at, rules.replies)?),
    };
    let Some(at) = copies_at else {
        return Ok(Copies { stripped: addressed, ..Copies::default() });
    };
    let copies = copies::read(addressed.as_deref().unwrap_or(properties), at)?;
    Ok(Copies { stripped: copies.stripped.or(addressed), ..copies })
}

/// The properties to keep of a message that came with `properties`, and its further routing keys.
pub(crate) fn kept(properties: &[u8], copies: Option<Box<Copies>>) -> (Cow<'_, [u8]>, FurtherKeys) {
    let Copies { keys, stripped } = copies.map_or_else(Copies::default, |copies| *copies);
    (stripped.map_or(Cow::Borrowed(properties), |stripped| Cow::Owned(stripped.into())), keys)
}

fn refused(text: std::fmt::Arguments<'_>) -> Fault {
    Fault::new(ReplyCode::PreconditionFailed, PUBLISH, text)
}

fn read_expiration(expiration: &[u8]) -> Result<u64, Fault> {
    let text = String::from_utf8_lossy(expiration);
    let invalid = |why: &str| refused(format_args!("invalid expiration '{text}': {why}"));
    let (minus, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, leftover) = digits.split_at(end);
    if digits.is_empty() {
        return Err(invalid("no_integer"));
    }
    if !leftover.is_empty() {
        return Err(invalid(&format!("{{leftover_string,{leftover:?}}}")));
    }
    match digits.parse() {
        Ok(0) => Ok(0),
        _some if minus => Err(invalid(&format!("{{value_negative,-{digits}}}"))),
        Ok(ms @ 1..=EXPIRATION_MS_MAX) => Ok(ms),
        _too_large => Err(invalid(&format!("{{value_too_large,{digits}}}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, body_bytes: u64, properties: &[u8]) {
        let header = ContentHeader { class: 60, weight: 0, body_bytes, properties };
        let rules = Rules { message_bytes_max: 10, user: Some("guest"), replies: None };
        let found = match super::check(&header, rules) {
            Ok(admitted) => format!("{:?}", admitted.persistence),
            Err(fault) => fault.text,
        };
        assert_eq!(found, expected);
    }

    /// A property list of one short string.
    fn one(flag: u16, text: &str) -> Vec<u8> {
        let mut bytes = flag.to_be_bytes().to_vec();
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
        bytes
    }

    /// Texts as RabbitMQ 3.10.8 sent them.
    #[test]
    fn messages_are_admitted_as_rabbitmq_admits_them() {
        check("Transient", 10, &[0, 0]);
        check("Transient", 0, &[0x10, 0, 1]);
        check("Persistent", 0, &[0x10, 0, 2]);
        check("PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}", 0, &[0x10, 0, 3]);
        check(
            "PRECONDITION_FAILED - message size 11 is larger than configured max size 10",
            11,
            &[0, 0],
        );
        check("Transient", 0, &one(1 << 4, "guest"));
        check(
            "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
            0,
            &one(1 << 4, "bob"),
        );
        for (expiration, why) in [
            ("0", None),
            ("-0", None),
            ("+5", None),
            ("315360000000", None),
            ("315360000001", Some("{value_too_large,315360000001}")),
            ("99999999999999999999999", Some("{value_too_large,99999999999999999999999}")),
            ("", Some("no_integer")),
            ("-", Some("no_integer")),
            ("abc", Some("no_integer")),
            (" 5", Some("no_integer")),
            ("--5", Some("no_integer")),
            ("1.5", Some("{leftover_string,\".5\"}")),
            ("5 ", Some("{leftover_string,\" \"}")),
            ("-1", Some("{value_negative,-1}")),
        ] {
            let expected = match why {
                None => "Transient".to_owned(),
                Some(why) => {
                    format!("PRECONDITION_FAILED - invalid expiration '{expiration}': {why}")
                }
            };
            check(&expected, 0, &one(1 << 8, expiration));
        }
    }
}
