//! A message's properties where they lie: read only as far as a rule needs.
//!
//! The stored encoding is AMQP 0-9-1's property list (§4.2.6.1): flag words of 15 bits each, most
//! significant first, bit 0 of a word says that another follows; then the values that are present,
//! in this order:
//!
//! ```text
//! bit 15 content-type s    14 content-encoding s   13 headers table   12 delivery-mode u8
//!     11 priority u8       10 correlation-id s      9 reply-to s       8 expiration s
//!      7 message-id s       6 timestamp u64         5 type s           4 user-id s
//!      3 app-id s           2 cluster-id s
//! ```
//!
//! where `s` is a length u8 and that many bytes.

pub mod list;

use stdx::reader::Reader;

use crate::table::{self, Table, TableError};

const HEADERS: u16 = 1 << 13;

const PRIORITY: u16 = 1 << 11;
const EXPIRATION: u16 = 1 << 8;

/// A message's properties, encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties<'a>(pub &'a [u8]);

/// What an edit does with the property `expiration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// It stays.
    Kept,
    /// It goes.
    Dropped,
}

/// Changes to a message's properties; what they don't name stays byte for byte.
#[derive(Clone, Debug)]
pub struct Edit<'a> {
    /// Headers to leave out.
    pub without: &'a [&'a str],
    /// Headers to add at the end; those of the same name go.
    pub with: Table,
    /// What becomes of `expiration`.
    pub expiration: Expiration,
}

impl<'a> Properties<'a> {
    /// The headers; an empty table if there are none.
    pub fn headers(&self) -> Result<Table, TableError> {
        match self.find(HEADERS)? {
            Some(bytes) => Table::read(&mut Reader::new(bytes)),
            None => Ok(Table::default()),
        }
    }

    /// The first header of that name, if it is a text; where it lies.
    pub fn text_header(&self, name: &str) -> Option<&'a [u8]> {
        let bytes = self.find(HEADERS).ok().flatten()?;
        let mut found = None;
        let look = |known: &'a [u8], value: &'a [u8]| {
            if found.is_none() && known == name.as_bytes() {
                found = Some(value);
            }
        };
        table::visit(&mut Reader::new(bytes), look).ok()?;
        // Behind its tag and its length.
        match found? {
            [b'S' | b'x', _, _, _, _, text @ ..] => Some(text),
            _no_text => None,
        }
    }

    /// The priority, if one is given.
    pub fn priority(&self) -> Option<u8> {
        self.find(PRIORITY).ok().flatten().and_then(|bytes| bytes.first().copied())
    }

    /// The expiration as its publisher wrote it, if one is given.
    pub fn expiration(&self) -> Option<&'a [u8]> {
        // Behind its length.
        self.find(EXPIRATION).ok().flatten().and_then(|bytes| bytes.get(1..))
    }

    /// The encoded value of one property.
    fn find(&self, property: u16) -> Result<Option<&'a [u8]>, TableError> {
        let mut reader = Reader::new(self.0);
        let flags = reader.u16()?;
        if flags & property == 0 {
            return Ok(None);
        }
        for bit in (2..16).rev().map(|bit| 1 << bit).filter(|bit| flags & bit != 0) {
            let value = take_value(&mut reader, bit)?;
            if bit == property {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The properties with changes.
    pub fn edit(&self, edit: &Edit<'_>) -> Result<Vec<u8>, TableError> {
        let mut reader = Reader::new(self.0);
        let flags = reader.u16()?;
        let mut edited = flags | HEADERS;
        if edit.expiration == Expiration::Dropped {
            edited &= !EXPIRATION;
        }
        let mut out = edited.to_be_bytes().to_vec();
        for bit in (2..16).rev().map(|bit| 1 << bit) {
            let value = if flags & bit == 0 { None } else { Some(take_value(&mut reader, bit)?) };
            if bit == HEADERS {
                edit.headers(value, &mut out)?;
            } else if edited & bit != 0 {
                out.extend_from_slice(value.unwrap_or_default());
            }
        }
        Ok(out)
    }
}

impl Edit<'_> {
    fn headers(&self, before: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), TableError> {
        let mut pairs = Vec::new();
        if let Some(before) = before {
            table::visit(&mut Reader::new(before), |name, value| {
                let without = self.without.iter().any(|known| known.as_bytes() == name);
                if without || self.with.0.iter().any(|(known, _)| **known == *name) {
                    return;
                }
                // A name's length was read from one byte.
                pairs.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                pairs.extend_from_slice(name);
                pairs.extend_from_slice(value);
            })?;
        }
        let mut added = Vec::new();
        self.with.write(&mut added);
        pairs.extend_from_slice(added.get(4..).unwrap_or_default());
        let len = u32::try_from(pairs.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_be_bytes());
        out.append(&mut pairs);
        Ok(())
    }
}

/// Takes the encoded value of a property off the front.
fn take_value<'a>(reader: &mut Reader<'a>, property: u16) -> Result<&'a [u8], TableError> {
    let all = reader.rest();
    match property {
        HEADERS => {
            let len = reader.u32()?;
            reader.bytes(len as usize)?;
        }
        // Delivery mode, priority.
        0x1000 | PRIORITY => _ = reader.u8()?,
        // Timestamp.
        0x0040 => _ = reader.u64()?,
        _short_string => {
            let len = reader.u8()?;
            reader.bytes(len.into())?;
        }
    }
    Ok(&all[..all.len() - reader.rest().len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Value;

    const CONTENT_TYPE: u16 = 1 << 15;
    const CONTENT_ENCODING: u16 = 1 << 14;

    #[test]
    fn headers_are_found_behind_what_stands_before_them() {
        let mut headers = Table::default();
        headers.push("k", Value::I32(7));
        for flags in [HEADERS, HEADERS | CONTENT_TYPE, HEADERS | CONTENT_TYPE | CONTENT_ENCODING] {
            let mut bytes = flags.to_be_bytes().to_vec();
            for _ in 0..(flags & !HEADERS).count_ones() {
                bytes.extend(b"\x04text");
            }
            headers.write(&mut bytes);
            assert_eq!(Properties(&bytes).headers(), Ok(headers.clone()));
            assert_eq!(Properties(&bytes[..bytes.len() - 1]).headers(), Err(TableError::Truncated));
        }
        assert_eq!(Properties(&[0, 0]).headers(), Ok(Table::default()));
        assert_eq!(Properties(&[]).headers(), Err(TableError::Truncated));
    }

    #[test]
    fn a_header_that_is_a_text_is_found_where_it_lies() {
        let mut headers = Table::default();
        headers.push("number", Value::I32(7));
        headers.push("inside", Value::Table(Table(vec![((*b"text").into(), Value::text("no"))])));
        headers.push("text", Value::text("yes"));
        headers.push("text", Value::text("second"));
        headers.push("bytes", Value::Bytes(b"\xff"[..].into()));
        let bytes = sample(Some(&headers), None);
        for (name, expected) in [
            ("text", Some(&b"yes"[..])),
            ("bytes", Some(b"\xff")),
            ("number", None),
            ("inside", None),
            ("missing", None),
        ] {
            assert_eq!(Properties(&bytes).text_header(name), expected, "{name}");
        }
        assert_eq!(Properties(&sample(None, None)).text_header("text"), None);
        for cut in 0..bytes.len() - 5 {
            assert_eq!(Properties(&bytes[..cut]).text_header("text"), None, "{cut}");
        }
    }

    /// Content type, headers, delivery mode, priority, expiration and a type.
    fn sample(headers: Option<&Table>, expiration: Option<&str>) -> Vec<u8> {
        let mut flags = CONTENT_TYPE | 0x1000 | PRIORITY | 0x0020;
        flags |= headers.map_or(0, |_| HEADERS) | expiration.map_or(0, |_| EXPIRATION);
        let mut bytes = flags.to_be_bytes().to_vec();
        bytes.extend(b"\x04text");
        if let Some(headers) = headers {
            headers.write(&mut bytes);
        }
        bytes.extend([2, 7]);
        if let Some(expiration) = expiration {
            bytes.push(u8::try_from(expiration.len()).unwrap());
            bytes.extend(expiration.as_bytes());
        }
        bytes.extend(b"\x01t");
        bytes
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else() {
        let table = |pairs: &[(&str, i32)]| {
            let mut table = Table::default();
            for (name, value) in pairs {
                table.push(name, Value::I32(*value));
            }
            table
        };
        let before = table(&[("a", 1), ("b", 2), ("c", 3)]);
        let edit = |expiration| Edit { without: &["a"], with: table(&[("c", 9)]), expiration };
        let bytes = sample(Some(&before), Some("60"));
        let properties = Properties(&bytes);
        assert_eq!((properties.priority(), properties.expiration()), (Some(7), Some(&b"60"[..])));
        assert_eq!(
            properties.edit(&edit(Expiration::Kept)),
            Ok(sample(Some(&table(&[("b", 2), ("c", 9)])), Some("60")))
        );
        assert_eq!(
            properties.edit(&edit(Expiration::Dropped)),
            Ok(sample(Some(&table(&[("b", 2), ("c", 9)])), None))
        );
        let bare = sample(None, None);
        assert_eq!(
            Properties(&bare).edit(&edit(Expiration::Dropped)),
            Ok(sample(Some(&table(&[("c", 9)])), None))
        );
        assert_eq!(Properties(&bare).expiration(), None);
        for cut in 0..bytes.len() {
            assert!(Properties(&bytes[..cut]).edit(&edit(Expiration::Kept)).is_err(), "{cut}");
        }
    }
}
