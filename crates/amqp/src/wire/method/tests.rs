//! Every method there is, by walking over the list: round trip, truncation at every byte, trailing
//! bytes, random bytes; and some bytes taken from the specification by hand.

use domain::table::{Table, Value};

use super::*;
use crate::wire::field::{LongString, ShortString};

/// Numbers that repeat with their seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

/// A field, or a method's fields, that can be made up.
pub(crate) trait Sample {
    fn sample(random: &mut Random, out: &mut Vec<u8>);
}

macro_rules! sample_numbers {
    ($($type:ident),*) => {$(
        impl Sample for $type {
            fn sample(random: &mut Random, out: &mut Vec<u8>) {
                out.extend(random.bytes(u64::from($type::BITS / 8)));
            }
        }
    )*};
}

sample_numbers!(u8, u16, u32, u64);

impl Sample for ShortString<'_> {
    fn sample(random: &mut Random, out: &mut Vec<u8>) {
        let len = *[0, 1, 5, 255].get(usize::try_from(random.below(4)).unwrap()).unwrap();
        out.push(u8::try_from(len).unwrap());
        out.extend(random.bytes(len));
    }
}

impl Sample for LongString<'_> {
    fn sample(random: &mut Random, out: &mut Vec<u8>) {
        let len = random.below(600);
        out.extend(u32::try_from(len).unwrap().to_be_bytes());
        out.extend(random.bytes(len));
    }
}

impl Sample for Table {
    fn sample(random: &mut Random, out: &mut Vec<u8>) {
        let mut table = Table::default();
        let mut inner = Table::default();
        inner.push("in", Value::Bool(true));
        for value in [
            Value::Bool(false),
            Value::I64(-7),
            Value::text("text"),
            Value::Void,
            Value::Array(vec![Value::U8(1), Value::Timestamp(5)]),
            Value::Table(inner),
        ] {
            if random.below(2) == 0 {
                table.push("name", value);
            }
        }
        table.write(out);
    }
}

#[test]
fn round_trip_and_truncation_at_every_byte_of_every_method() {
    let mut random = Random(1);
    let mut seen = std::collections::BTreeSet::new();
    for entry in all() {
        assert!(seen.insert((entry.class, entry.method)), "{} comes twice", entry.name);
        for _ in 0..20 {
            let mut fields = Vec::new();
            (entry.sample)(&mut random, &mut fields);
            assert_eq!((entry.rewrite)(&fields), Ok(fields.clone()), "{}", entry.name);
            for cut in 0..fields.len() {
                let front = fields.get(..cut).unwrap();
                let refused = (entry.rewrite)(front);
                assert_eq!(refused, Err(Malformed::Truncated), "{} cut at {cut}", entry.name);
            }
            fields.push(0);
            assert_eq!((entry.rewrite)(&fields), Err(Malformed::Trailing), "{}", entry.name);
        }
    }
    assert_eq!(seen.len(), 66);
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(2);
    for entry in all() {
        for _ in 0..200 {
            let len = random.below(60);
            let fields = random.bytes(len);
            if let Ok(written) = (entry.rewrite)(&fields) {
                // What was read is read again the same; bytes may differ where two say the same.
                assert_eq!((entry.rewrite)(&written), Ok(written.clone()), "{}", entry.name);
            }
        }
    }
}

#[test]
fn bytes_as_the_specification_lays_them_out() {
    let mut out = Vec::new();
    let declare = queue::Declare {
        ticket: 0,
        queue: "jobs".into(),
        flags: queue::Declare::DURABLE | queue::Declare::NO_WAIT,
        arguments: Table::default(),
    };
    write(&mut out, 1, &declare);
    assert_eq!(out, b"\x01\0\x01\0\0\0\x10\0\x32\0\x0a\0\0\x04jobs\x12\0\0\0\0\xce");
    out.clear();
    write(&mut out, 258, &basic::Ack { delivery_tag: 7, flags: basic::Ack::MULTIPLE });
    assert_eq!(out, b"\x01\x01\x02\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\0\x07\x01\xce");
    out.clear();
    write(&mut out, 0, &connection::CloseOk {});
    assert_eq!(out, b"\x01\0\0\0\0\0\x04\0\x0a\0\x33\xce");
    assert_eq!(split(b"\0\x0a\0\x33"), Some(((10, 51), &b""[..])));
    assert_eq!(split(b"\0\x0a\0"), None);
}
