//! Tables of typed values: headers of a message, arguments of a queue, an exchange or a binding.
//!
//! The stored encoding is the richest of the value models our protocols have, AMQP 0-9-1's field
//! table (§4.2.5.5) with the type tags that RabbitMQ and its clients use, so that what an AMQP
//! client sends is kept byte for byte. This module is its only reader and writer:
//!
//! ```text
//! table  = length u32 BE, then pairs: name (length u8, bytes), value
//! value  = tag u8, then by tag
//!   't' bool u8      'b' i8    'B' u8    's' i16    'u' u16    'I' i32    'i' u32
//!   'l' i64          'f' f32   'd' f64   'D' scale u8, i32     'T' seconds u64
//!   'S' length u32, bytes      'x' length u32, bytes           'V' nothing
//!   'A' length u32, values     'F' table
//! ```
//!
//! All numbers are big-endian. Nesting is limited to [`DEPTH_MAX`].

use stdx::reader::{Reader, Truncated};

/// How deep tables and arrays may be nested. Deeper ones are refused, not recursed into.
pub const DEPTH_MAX: usize = 64;

/// Names with values, in the order they came; a name may come twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(pub Vec<(Box<[u8]>, Value)>);

/// A typed value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are the types of the module's table")]
pub enum Value {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal { scale: u8, value: i32 },
    Timestamp(u64),
    LongString(Box<[u8]>),
    Bytes(Box<[u8]>),
    Void,
    Array(Vec<Value>),
    Table(Table),
}

/// The bytes are no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// They end too early, or a length leads past the end.
    #[error("a table ends too early")]
    Truncated,
    /// A value has a type nobody knows.
    #[error("a table has a value of unknown type {0:#04x}")]
    UnknownType(u8),
    /// Nested too deep.
    #[error("a table is nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

impl From<Truncated> for TableError {
    fn from(Truncated: Truncated) -> TableError {
        TableError::Truncated
    }
}

impl Table {
    /// Reads one table, its length included.
    pub fn read(reader: &mut Reader<'_>) -> Result<Table, TableError> {
        read_table(reader, 0)
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| &**known == name.as_bytes()).map(|(_, value)| value)
    }

    /// Adds a pair at the end.
    pub fn push(&mut self, name: &str, value: Value) {
        self.0.push((name.as_bytes().into(), value));
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the encoding, length included. Names over 255 bytes are cut.
    pub fn write(&self, out: &mut Vec<u8>) {
        let at = begin_length(out);
        for (name, value) in &self.0 {
            let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
            out.push(len);
            out.extend_from_slice(&name[..len.into()]);
            value.write(out);
        }
        end_length(out, at);
    }
}

impl Value {
    /// Reads one value, its tag included.
    pub fn read(reader: &mut Reader<'_>) -> Result<Value, TableError> {
        read_value(reader, 0)
    }

    /// A string.
    pub fn text(text: &str) -> Value {
        Value::LongString(text.as_bytes().into())
    }

    /// The number, if it is an integer of any width.
    pub fn as_integer(&self) -> Option<i128> {
        match self {
            Value::I8(number) => Some((*number).into()),
            Value::U8(number) => Some((*number).into()),
            Value::I16(number) => Some((*number).into()),
            Value::U16(number) => Some((*number).into()),
            Value::I32(number) => Some((*number).into()),
            Value::U32(number) => Some((*number).into()),
            Value::I64(number) => Some((*number).into()),
            Value::Timestamp(_)
            | Value::Bool(_)
            | Value::F32(_)
            | Value::F64(_)
            | Value::Decimal { .. }
            | Value::LongString(_)
            | Value::Bytes(_)
            | Value::Void
            | Value::Array(_)
            | Value::Table(_) => None,
        }
    }

    /// The text, if it is a string of UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        if let Value::LongString(bytes) = self { std::str::from_utf8(bytes).ok() } else { None }
    }

    /// Whether two values mean the same: numbers compare across widths, but integers and floats
    /// are never the same, as RabbitMQ compares them (`rabbit_misc:type_class`).
    pub fn means(&self, other: &Value) -> bool {
        match (self.as_integer(), other.as_integer()) {
            (Some(one), Some(two)) => one == two,
            _not_both => match (self.as_float(), other.as_float()) {
                (Some(one), Some(two)) => one.total_cmp(&two).is_eq(),
                _not_both => self == other,
            },
        }
    }

    fn as_float(&self) -> Option<f64> {
        if let Value::F32(number) = self {
            return Some((*number).into());
        }
        if let Value::F64(number) = self { Some(*number) } else { None }
    }

    /// RabbitMQ's name of the type, for refusals.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::I8(_) => "byte",
            Value::U8(_) => "unsignedbyte",
            Value::I16(_) => "short",
            Value::U16(_) => "unsignedshort",
            Value::I32(_) => "signedint",
            Value::U32(_) => "unsignedint",
            Value::I64(_) => "long",
            Value::F32(_) => "float",
            Value::F64(_) => "double",
            Value::Decimal { .. } => "decimal",
            Value::Timestamp(_) => "timestamp",
            Value::LongString(_) => "longstr",
            Value::Bytes(_) => "binary",
            Value::Void => "void",
            Value::Array(_) => "array",
            Value::Table(_) => "table",
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bool(value) => out.extend([b't', u8::from(*value)]),
            Value::I8(value) => number(out, b'b', &value.to_be_bytes()),
            Value::U8(value) => out.extend([b'B', *value]),
            Value::I16(value) => number(out, b's', &value.to_be_bytes()),
            Value::U16(value) => number(out, b'u', &value.to_be_bytes()),
            Value::I32(value) => number(out, b'I', &value.to_be_bytes()),
            Value::U32(value) => number(out, b'i', &value.to_be_bytes()),
            Value::I64(value) => number(out, b'l', &value.to_be_bytes()),
            Value::F32(value) => number(out, b'f', &value.to_be_bytes()),
            Value::F64(value) => number(out, b'd', &value.to_be_bytes()),
            Value::Decimal { scale, value } => {
                out.extend([b'D', *scale]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Value::Timestamp(seconds) => number(out, b'T', &seconds.to_be_bytes()),
            Value::LongString(bytes) => string(out, b'S', bytes),
            Value::Bytes(bytes) => string(out, b'x', bytes),
            Value::Void => out.push(b'V'),
            Value::Array(values) => {
                out.push(b'A');
                let at = begin_length(out);
                for value in values {
                    value.write(out);
                }
                end_length(out, at);
            }
            Value::Table(table) => {
                out.push(b'F');
                table.write(out);
            }
        }
    }
}

/// Whether two settings, absent or present, mean the same.
pub(crate) fn equivalent(one: Option<&Value>, two: Option<&Value>) -> bool {
    match (one, two) {
        (None, None) => true,
        (Some(one), Some(two)) => one.means(two),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn number(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn string(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn begin_length(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

fn end_length(out: &mut [u8], at: usize) {
    let len = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at - 4..at].copy_from_slice(&len.to_be_bytes());
}

fn read_table(reader: &mut Reader<'_>, depth: usize) -> Result<Table, TableError> {
    let mut pairs = pairs(reader)?;
    let mut table = Table::default();
    while !pairs.is_empty() {
        let name = pairs.u8()?;
        let name = pairs.bytes(name.into())?;
        table.0.push((name.into(), read_value(&mut pairs, depth)?));
    }
    Ok(table)
}

/// The bytes of a table or array, behind their length.
fn pairs<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, Truncated> {
    let len = reader.u32()?;
    reader.bytes(len as usize).map(Reader::new)
}

fn read_value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, TableError> {
    if depth > DEPTH_MAX {
        return Err(TableError::TooDeep);
    }
    Ok(match reader.u8()? {
        b't' => Value::Bool(reader.u8()? != 0),
        b'b' => Value::I8(reader.i8()?),
        b'B' => Value::U8(reader.u8()?),
        b's' => Value::I16(reader.i16()?),
        b'u' => Value::U16(reader.u16()?),
        b'I' => Value::I32(reader.i32()?),
        b'i' => Value::U32(reader.u32()?),
        // 'L' is the specification's tag for a signed 64-bit number, 'l' RabbitMQ's.
        b'l' | b'L' => Value::I64(reader.i64()?),
        b'f' => Value::F32(reader.f32()?),
        b'd' => Value::F64(reader.f64()?),
        b'D' => Value::Decimal { scale: reader.u8()?, value: reader.i32()? },
        b'T' => Value::Timestamp(reader.u64()?),
        b'S' => Value::LongString(pairs(reader)?.rest().into()),
        b'x' => Value::Bytes(pairs(reader)?.rest().into()),
        b'V' => Value::Void,
        b'A' => {
            let mut items = pairs(reader)?;
            let mut values = Vec::new();
            while !items.is_empty() {
                values.push(read_value(&mut items, depth + 1)?);
            }
            Value::Array(values)
        }
        b'F' => Value::Table(read_table(reader, depth + 1)?),
        unknown => return Err(TableError::UnknownType(unknown)),
    })
}

/// Checks that a table, its length included, is well-formed, and skips it, without taking memory.
pub fn check(reader: &mut Reader<'_>) -> Result<(), TableError> {
    check_table(reader, 0, |_name, _value| ())
}

/// As [`check`], and `see` is told the name and the encoded value of each pair of the table itself.
/// On an error, what it was told is worth nothing.
pub fn visit<'a>(
    reader: &mut Reader<'a>,
    see: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<(), TableError> {
    check_table(reader, 0, see)
}

fn check_table<'a>(
    reader: &mut Reader<'a>,
    depth: usize,
    mut see: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<(), TableError> {
    let mut pairs = pairs(reader)?;
    while !pairs.is_empty() {
        let name = pairs.u8()?;
        let name = pairs.bytes(name.into())?;
        let from = pairs.rest();
        check_value(&mut pairs, depth)?;
        see(name, &from[..from.len() - pairs.rest().len()]);
    }
    Ok(())
}

fn check_value(reader: &mut Reader<'_>, depth: usize) -> Result<(), TableError> {
    if depth > DEPTH_MAX {
        return Err(TableError::TooDeep);
    }
    let width = match reader.u8()? {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'S' | b'x' => reader.u32()? as usize,
        b'A' => {
            let mut items = pairs(reader)?;
            while !items.is_empty() {
                check_value(&mut items, depth + 1)?;
            }
            0
        }
        b'F' => {
            check_table(reader, depth + 1, |_name, _value| ())?;
            0
        }
        unknown => return Err(TableError::UnknownType(unknown)),
    };
    reader.bytes(width)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> Table {
        let mut inner = Table::default();
        inner.push("deep", Value::Array(vec![Value::Void, Value::Table(Table::default())]));
        let mut table = Table::default();
        for (name, value) in [
            ("bool", Value::Bool(true)),
            ("i8", Value::I8(-1)),
            ("u8", Value::U8(255)),
            ("i16", Value::I16(-300)),
            ("u16", Value::U16(65_000)),
            ("i32", Value::I32(-70_000)),
            ("u32", Value::U32(4_000_000_000)),
            ("i64", Value::I64(i64::MIN)),
            ("f32", Value::F32(1.5)),
            ("f64", Value::F64(-2.25)),
            ("decimal", Value::Decimal { scale: 2, value: -314 }),
            ("time", Value::Timestamp(1_700_000_000)),
            ("text", Value::text("héllo")),
            ("bytes", Value::Bytes([0, 255].into())),
            ("void", Value::Void),
            ("table", Value::Table(inner)),
        ] {
            table.push(name, value);
        }
        table
    }

    #[test]
    fn round_trip_and_truncation_at_every_byte() {
        let table = every_type();
        let mut bytes = Vec::new();
        table.write(&mut bytes);
        assert_eq!(Table::read(&mut Reader::new(&bytes)).as_ref(), Ok(&table));
        assert_eq!(check(&mut Reader::new(&bytes)), Ok(()));
        let mut seen = Table::default();
        visit(&mut Reader::new(&bytes), |name, value| {
            let mut value = Reader::new(value);
            seen.0.push((name.into(), Value::read(&mut value).unwrap()));
            assert!(value.is_empty());
        })
        .unwrap();
        assert_eq!(seen, table);
        for cut in 0..bytes.len() {
            let cut_short = &bytes[..cut];
            assert_eq!(Table::read(&mut Reader::new(cut_short)), Err(TableError::Truncated));
            assert_eq!(check(&mut Reader::new(cut_short)), Err(TableError::Truncated));
        }
    }

    #[test]
    fn what_is_read_and_what_is_checked_agree_on_damaged_bytes() {
        let mut bytes = Vec::new();
        every_type().write(&mut bytes);
        for at in 0..bytes.len() {
            for flip in [1, 0x20, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let read = Table::read(&mut Reader::new(&damaged)).map(|_| ());
                assert_eq!(read, check(&mut Reader::new(&damaged)), "byte {at} ^ {flip:#x}");
            }
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut value = Value::Void;
        for _ in 0..1_000 {
            value = Value::Array(vec![value]);
        }
        let mut table = Table::default();
        table.push("deep", value);
        let mut bytes = Vec::new();
        table.write(&mut bytes);
        assert_eq!(Table::read(&mut Reader::new(&bytes)), Err(TableError::TooDeep));
        assert_eq!(check(&mut Reader::new(&bytes)), Err(TableError::TooDeep));
    }
}
