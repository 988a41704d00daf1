//! Carbon copies: the headers `CC` and `BCC` name further routing keys (RabbitMQ calls it
//! sender-selected distribution). Whoever gets a copy may see `CC`; nobody sees `BCC`.
//!
//! What RabbitMQ does and no document says: of several headers of one name the first counts, and
//! what is in the array but no string is passed over. It delivers a second `BCC`; here all go.

#![deny(clippy::indexing_slicing)]

use broker::operation::FurtherKeys;
use domain::table::{self, Value};
use stdx::reader::Reader;

use crate::reply_code::{Fault, ReplyCode};
use crate::translate::garbled;
use crate::translate::requests::PUBLISH;
use crate::wire::field::Malformed;
use crate::wire::properties::{BCC, CC};

/// What the headers of a message say of copies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Copies {
    /// Further routing keys, each once.
    pub(crate) keys: FurtherKeys,
    /// The properties to keep, if not those that came: without `BCC`, and replies addressed.
    pub(crate) stripped: Option<Box<[u8]>>,
}

/// Reads the copies from `properties`, whose table of headers begins at `headers_at`.
pub(crate) fn read(properties: &[u8], headers_at: usize) -> Result<Copies, Fault> {
    let malformed = |malformed: Malformed| garbled::properties(PUBLISH, malformed);
    let (before, headers) =
        properties.split_at_checked(headers_at).ok_or_else(|| malformed(Malformed::Truncated))?;
    let mut reader = Reader::new(headers);
    let (mut cc, mut bcc) = (None, None);
    let mut kept = Vec::new();
    table::visit(&mut reader, |name, value| {
        if name == BCC {
            bcc.get_or_insert(value);
            return;
        }
        if name == CC {
            cc.get_or_insert(value);
        }
        // A name's length was read from one byte.
        kept.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        kept.extend_from_slice(name);
        kept.extend_from_slice(value);
    })
    .map_err(|error| malformed(error.into()))?;
    let mut keys = Vec::new();
    for (name, value) in [("CC", cc), ("BCC", bcc)] {
        if let Some(value) = value {
            let value =
                Value::read(&mut Reader::new(value)).map_err(|error| malformed(error.into()))?;
            add_keys(name, value, &mut keys)?;
        }
    }
    keys.sort_unstable();
    keys.dedup();
    let stripped = bcc.map(|_| {
        // Shorter than a frame.
        let kept_bytes = u32::try_from(kept.len()).unwrap_or(u32::MAX);
        [before, &kept_bytes.to_be_bytes(), &kept, reader.rest()].concat().into()
    });
    Ok(Copies { keys: keys.into(), stripped })
}

fn add_keys(name: &str, value: Value, keys: &mut Vec<Box<[u8]>>) -> Result<(), Fault> {
    let Value::Array(values) = value else {
        let text = format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
            value.type_name()
        );
        return Err(Fault::new(ReplyCode::PreconditionFailed, PUBLISH, text));
    };
    keys.extend(
        values
            .into_iter()
            .filter_map(|value| if let Value::LongString(key) = value { Some(key) } else { None }),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::table::Table;

    use super::*;
    use crate::wire::properties::glance;

    fn texts(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| Value::text(text)).collect())
    }

    fn table(headers: &[(&str, Value)]) -> Table {
        let mut table = Table::default();
        for (name, value) in headers {
            table.push(name, value.clone());
        }
        table
    }

    /// A content type, these headers, a delivery mode and an application's name.
    fn properties(headers: &[(&str, Value)]) -> Vec<u8> {
        let mut bytes = vec![0xb0, 8];
        bytes.extend(b"\x04text");
        table(headers).write(&mut bytes);
        bytes.extend(b"\x02\x03app");
        bytes
    }

    fn check(headers: &[(&str, Value)], keys: &[&str], stripped: Option<&[(&str, Value)]>) {
        let bytes = properties(headers);
        let at = glance(&bytes).unwrap().copies_at.unwrap();
        let copies = read(&bytes, at).unwrap();
        let found: Vec<_> = copies.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
        assert_eq!(found, keys, "{headers:?}");
        assert_eq!(copies.stripped, stripped.map(|left| properties(left).into()), "{headers:?}");
    }

    /// As RabbitMQ 3.10.8 took them, but for the last line.
    #[test]
    fn copies_are_read_and_blind_ones_leave_no_trace() {
        let number = || Value::I16(7);
        check(&[("CC", texts(&["b", "a", "b"]))], &["a", "b"], None);
        check(&[("CC", texts(&[]))], &[], None);
        check(&[("BCC", texts(&["a"]))], &["a"], Some(&[]));
        check(&[("BCC", texts(&[]))], &[], Some(&[]));
        check(
            &[("z", number()), ("BCC", texts(&["b"])), ("CC", texts(&["a"])), ("a", number())],
            &["a", "b"],
            Some(&[("z", number()), ("CC", texts(&["a"])), ("a", number())]),
        );
        let mixed = Value::Array(vec![number(), Value::text("a"), texts(&["b"]), Value::Void]);
        check(&[("CC", mixed)], &["a"], None);
        check(&[("CC", texts(&["a"])), ("CC", number())], &["a"], None);
        check(
            &[("BCC", texts(&["a"])), ("k", Value::Void), ("BCC", texts(&["b"]))],
            &["a"],
            Some(&[("k", Value::Void)]),
        );
    }

    /// What the codec would write otherwise stays as it came.
    #[test]
    fn what_is_kept_is_kept_byte_for_byte() {
        let kept = b"\x01kL\0\0\0\0\0\0\0\x01\x01kt\x07";
        let blind = b"\x03BCCA\0\0\0\x06S\0\0\0\x01q";
        let around = |pairs: &[u8]| {
            let bytes = u32::try_from(pairs.len()).unwrap().to_be_bytes();
            [&[0x20, 0][..], &bytes, pairs].concat()
        };
        let whole = around(&[&kept[..], blind].concat());
        let copies = read(&whole, glance(&whole).unwrap().copies_at.unwrap()).unwrap();
        assert_eq!(copies.stripped.as_deref(), Some(around(kept).as_slice()));
    }

    /// Texts as RabbitMQ 3.10.8 sent them.
    #[test]
    fn only_an_array_names_copies() {
        for (headers, name, type_name) in [
            (vec![("CC", Value::text("a"))], "CC", "longstr"),
            (vec![("CC", Value::Bytes([1].into()))], "CC", "binary"),
            (vec![("CC", Value::Void)], "CC", "void"),
            (vec![("CC", Value::F32(0.0))], "CC", "float"),
            (vec![("CC", Value::Table(Table::default()))], "CC", "table"),
            (vec![("BCC", Value::I32(5))], "BCC", "signedint"),
            (vec![("BCC", Value::text("a")), ("CC", Value::Bool(true))], "CC", "bool"),
            (vec![("CC", texts(&["a"])), ("BCC", Value::I64(5))], "BCC", "long"),
        ] {
            let bytes = properties(&headers);
            let fault = read(&bytes, glance(&bytes).unwrap().copies_at.unwrap()).unwrap_err();
            let expected = format!(
                "PRECONDITION_FAILED - invalid message: \
                 {{unacceptable_type_in_header,\"{name}\",{type_name}}}"
            );
            assert_eq!((fault.code, fault.text), (ReplyCode::PreconditionFailed, expected));
        }
    }
}
