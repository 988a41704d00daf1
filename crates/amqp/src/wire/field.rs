//! The fields that methods are made of: numbers, short and long strings, tables (§4.2.5).

#![deny(clippy::indexing_slicing)]

use domain::table::{Table, TableError};
use stdx::reader::{Reader, Truncated};

/// The bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the fields end too early")]
    Truncated,
    /// Bytes follow the last field.
    #[error("bytes follow the last field")]
    Trailing,
    /// A table is malformed inside.
    #[error("{0}")]
    Table(TableError),
    /// A name is not UTF-8.
    #[error("Malformed UTF-8 in shortstr")]
    NotUtf8,
}

impl From<Truncated> for Malformed {
    fn from(Truncated: Truncated) -> Malformed {
        Malformed::Truncated
    }
}

impl From<TableError> for Malformed {
    fn from(error: TableError) -> Malformed {
        match error {
            TableError::Truncated => Malformed::Truncated,
            TableError::UnknownType(_) | TableError::TooDeep => Malformed::Table(error),
        }
    }
}

/// One field of a method.
pub trait Field<'a>: Sized {
    /// Takes it off the front.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);
}

/// A string of at most 255 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortString<'a>(pub &'a [u8]);

impl<'a> ShortString<'a> {
    /// The text, where it must be one.
    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.0).map_err(|_not_utf8| Malformed::NotUtf8)
    }
}

impl<'a> From<&'a str> for ShortString<'a> {
    fn from(text: &'a str) -> ShortString<'a> {
        ShortString(text.as_bytes())
    }
}

/// A string of any length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LongString<'a>(pub &'a [u8]);

macro_rules! numbers {
    ($($type:ident),*) => {$(
        impl<'a> Field<'a> for $type {
            #[inline]
            fn read(reader: &mut Reader<'a>) -> Result<$type, Malformed> {
                Ok(reader.$type()?)
            }

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

impl<'a> Field<'a> for ShortString<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<ShortString<'a>, Malformed> {
        let len = reader.u8()?;
        Ok(ShortString(reader.bytes(len.into())?))
    }

    /// A longer one is cut to 255 bytes; whoever makes one keeps it shorter.
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let len = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        out.push(len);
        out.extend(self.0.iter().take(len.into()));
    }
}

impl<'a> Field<'a> for LongString<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<LongString<'a>, Malformed> {
        let len = reader.u32()?;
        Ok(LongString(reader.bytes(len as usize)?))
    }

    fn write(&self, out: &mut Vec<u8>) {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).write(out);
        out.extend_from_slice(self.0);
    }
}

impl<'a> Field<'a> for Table {
    fn read(reader: &mut Reader<'a>) -> Result<Table, Malformed> {
        Ok(Table::read(reader)?)
    }

    fn write(&self, out: &mut Vec<u8>) {
        Table::write(self, out);
    }
}
