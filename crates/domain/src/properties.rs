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

use stdx::reader::{Reader, Truncated};

use crate::table::{Table, TableError};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;

/// A message's properties, encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties<'a>(pub &'a [u8]);

impl Properties<'_> {
    /// The headers; an empty table if there are none.
    pub fn headers(&self) -> Result<Table, TableError> {
        let mut reader = Reader::new(self.0);
        let flags = reader.u16()?;
        if flags & HEADERS == 0 {
            return Ok(Table::default());
        }
        for before in [CONTENT_TYPE, CONTENT_ENCODING] {
            if flags & before != 0 {
                skip_short_string(&mut reader)?;
            }
        }
        Table::read(&mut reader)
    }
}

fn skip_short_string(reader: &mut Reader<'_>) -> Result<(), Truncated> {
    let len = reader.u8()?;
    reader.bytes(len.into()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Value;

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
}
