//! A content's header (§4.2.6.1): which class, how large a body, and the message's properties. The
//! properties stay as they are; here they are checked, and what acts on the way in is looked at.

#![deny(clippy::indexing_slicing)]

use domain::table;
use stdx::reader::Reader;

use super::field::{Field, Malformed, ShortString};

/// `delivery-mode` is given.
const DELIVERY_MODE: u16 = 1 << 12;
/// `priority` is given.
const PRIORITY: u16 = 1 << 11;
/// `headers` is given.
const HEADERS: u16 = 1 << 13;
/// The header of further routing keys.
pub const CC: &[u8] = b"CC";
/// The same, not to be delivered.
pub const BCC: &[u8] = b"BCC";
/// `reply-to` is given.
const REPLY_TO: u16 = 1 << 9;
/// Another word of flags follows, of properties nobody knows.
const MORE_FLAGS: u16 = 1;

/// A content's header, where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the content; 60, since only messages have one.
    pub class: u16,
    /// Unused, 0.
    pub weight: u16,
    /// Bytes of the body that follows.
    pub body_bytes: u64,
    /// The properties, encoded.
    pub properties: &'a [u8],
}

/// Reads a header; its properties are checked by [`glance`].
#[inline]
pub fn read_header(payload: &[u8]) -> Result<ContentHeader<'_>, Malformed> {
    let mut reader = Reader::new(payload);
    let class = reader.u16()?;
    let weight = reader.u16()?;
    let body_bytes = reader.u64()?;
    // The flags belong to it: a header without them is none.
    Reader::new(reader.rest()).u16()?;
    Ok(ContentHeader { class, weight, body_bytes, properties: reader.rest() })
}

/// The properties that matter on the way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance<'a> {
    /// 2 asks for persistence.
    pub delivery_mode: Option<u8>,
    /// The higher, the sooner.
    pub priority: Option<u8>,
    /// Milliseconds, as text.
    pub expiration: Option<&'a [u8]>,
    /// Must be who logged in.
    pub user_id: Option<&'a [u8]>,
    /// Where an answer goes; and where that begins.
    pub reply_to: Option<(&'a [u8], usize)>,
    /// Where the table of headers begins, if [`CC`] or [`BCC`] is among them.
    pub copies_at: Option<usize>,
}

/// Checks the properties to their last byte and picks out what matters.
#[inline]
pub fn glance(properties: &[u8]) -> Result<Glance<'_>, Malformed> {
    match properties {
        // Nearly every message in the world has one of these.
        [0x10, 0x00, mode] => Ok(Glance { delivery_mode: Some(*mode), ..Glance::default() }),
        [0x00, 0x00] => Ok(Glance::default()),
        other => glance_at_all(other),
    }
}

fn glance_at_all(properties: &[u8]) -> Result<Glance<'_>, Malformed> {
    let mut reader = Reader::new(properties);
    let flags = reader.u16()?;
    if flags & MORE_FLAGS != 0 {
        return Err(Malformed::Trailing);
    }
    let mut glance = Glance::default();
    for bit in (2..16).rev() {
        let property = 1 << bit;
        if flags & property == 0 {
            continue;
        }
        match property {
            HEADERS => {
                let at = properties.len() - reader.rest().len();
                table::visit(&mut reader, |name, _value| {
                    if name == CC || name == BCC {
                        glance.copies_at = Some(at);
                    }
                })?;
            }
            DELIVERY_MODE => glance.delivery_mode = Some(reader.u8()?),
            PRIORITY => glance.priority = Some(reader.u8()?),
            REPLY_TO => {
                let at = properties.len() - reader.rest().len();
                glance.reply_to = Some((ShortString::read(&mut reader)?.0, at));
            }
            // Timestamp.
            0x0040 => _ = reader.u64()?,
            // Expiration.
            0x0100 => glance.expiration = Some(ShortString::read(&mut reader)?.0),
            // User id.
            0x0010 => glance.user_id = Some(ShortString::read(&mut reader)?.0),
            _short_string => _ = ShortString::read(&mut reader)?,
        }
    }
    if reader.is_empty() { Ok(glance) } else { Err(Malformed::Trailing) }
}

#[cfg(test)]
mod tests {
    use domain::table::{Table, TableError, Value};

    use super::*;

    /// All 14 properties.
    fn everything() -> Vec<u8> {
        let mut headers = Table::default();
        headers.push("k", Value::Array(vec![Value::Void, Value::I64(-1)]));
        let mut bytes = 0xfffc_u16.to_be_bytes().to_vec();
        for text in ["text/plain", "gzip"] {
            ShortString::from(text).write(&mut bytes);
        }
        headers.write(&mut bytes);
        bytes.extend([2, 9]);
        for text in ["correlation", "reply", "60000", "message"] {
            ShortString::from(text).write(&mut bytes);
        }
        1_700_000_000_u64.write(&mut bytes);
        for text in ["type", "guest", "app", "cluster"] {
            ShortString::from(text).write(&mut bytes);
        }
        bytes
    }

    #[test]
    fn all_properties_pass_and_truncation_at_every_byte_does_not() {
        let bytes = everything();
        let expected = Glance {
            delivery_mode: Some(2),
            priority: Some(9),
            expiration: Some(b"60000"),
            user_id: Some(b"guest"),
            reply_to: Some((b"reply", 53)),
            ..Glance::default()
        };
        assert_eq!(glance(&bytes), Ok(expected));
        for cut in 0..bytes.len() {
            let front = bytes.get(..cut).unwrap();
            assert_eq!(glance(front), Err(Malformed::Truncated), "cut at {cut}");
        }
        let more = [bytes.as_slice(), &[0]].concat();
        assert_eq!(glance(&more), Err(Malformed::Trailing));
    }

    #[test]
    fn short_lists() {
        for (properties, expected) in [
            (&[][..], Err(Malformed::Truncated)),
            (&[0], Err(Malformed::Truncated)),
            (&[0, 0], Ok(Glance::default())),
            (&[0, 0, 7], Err(Malformed::Trailing)),
            (&[0x10, 0, 2], Ok(Glance { delivery_mode: Some(2), ..Glance::default() })),
            (&[0x10, 0, 2, 2], Err(Malformed::Trailing)),
            (&[0x10, 0], Err(Malformed::Truncated)),
            // RabbitMQ passes over the one bit that no property has.
            (&[0, 2], Ok(Glance::default())),
            (&[0, 1, 0, 0], Err(Malformed::Trailing)),
            (&[0x20, 0, 0, 0, 0, 3, 1, b'k', b'Q'], {
                Err(Malformed::Table(TableError::UnknownType(b'Q')))
            }),
        ] {
            assert_eq!(glance(properties), expected, "{properties:?}");
        }
    }

    #[test]
    fn only_headers_of_these_very_names_are_about_copies() {
        for (name, expected) in [
            ("CC", Some(7)),
            ("BCC", Some(7)),
            ("cc", None),
            ("Bcc", None),
            ("CCC", None),
            ("C", None),
            ("", None),
        ] {
            let mut inner = Table::default();
            inner.push("CC", Value::Void);
            let mut headers = Table::default();
            headers.push("inner", Value::Table(inner));
            headers.push(name, Value::Void);
            headers.push("k", Value::text("BCC"));
            let mut bytes = vec![0xa0, 0, 4, b't', b'e', b'x', b't'];
            headers.write(&mut bytes);
            assert_eq!(glance(&bytes).unwrap().copies_at, expected, "{name}");
        }
    }

    #[test]
    fn headers_are_whole_or_refused() {
        let payload = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x10, 0, 2];
        let expected = ContentHeader {
            class: 60,
            weight: 0,
            body_bytes: 5,
            properties: payload.get(12..).unwrap(),
        };
        assert_eq!(read_header(&payload), Ok(expected));
        for cut in 0..14 {
            assert_eq!(read_header(payload.get(..cut).unwrap()), Err(Malformed::Truncated));
        }
    }
}
