//! All of a message's properties, taken apart: for protocols that speak of them one by one.

use stdx::reader::Reader;

use super::{EXPIRATION, HEADERS, PRIORITY};
use crate::table::{Table, TableError};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const DELIVERY_MODE: u16 = 1 << 12;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const TYPE: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;

/// A property that is a text: at most 255 bytes, of UTF-8 if its publisher keeps to the rules.
pub type ShortString = Box<[u8]>;

/// Properties by name; what is absent is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are AMQP 0-9-1's properties")]
pub struct PropertyList {
    pub content_type: Option<ShortString>,
    pub content_encoding: Option<ShortString>,
    pub headers: Option<Table>,
    /// 2: it asks to survive a restart.
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<ShortString>,
    pub reply_to: Option<ShortString>,
    /// Milliseconds, in decimal digits.
    pub expiration: Option<ShortString>,
    pub message_id: Option<ShortString>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    pub message_type: Option<ShortString>,
    pub user_id: Option<ShortString>,
    pub app_id: Option<ShortString>,
    pub cluster_id: Option<ShortString>,
}

impl PropertyList {
    /// Reads the stored encoding.
    pub fn read(bytes: &[u8]) -> Result<PropertyList, TableError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u16()?;
        let has = |bit: u16| flags & bit != 0;
        let mut list = PropertyList {
            content_type: short_string(&mut reader, has(CONTENT_TYPE))?,
            content_encoding: short_string(&mut reader, has(CONTENT_ENCODING))?,
            ..PropertyList::default()
        };
        if has(HEADERS) {
            list.headers = Some(Table::read(&mut reader)?);
        }
        if has(DELIVERY_MODE) {
            list.delivery_mode = Some(reader.u8()?);
        }
        if has(PRIORITY) {
            list.priority = Some(reader.u8()?);
        }
        list.correlation_id = short_string(&mut reader, has(CORRELATION_ID))?;
        list.reply_to = short_string(&mut reader, has(REPLY_TO))?;
        list.expiration = short_string(&mut reader, has(EXPIRATION))?;
        list.message_id = short_string(&mut reader, has(MESSAGE_ID))?;
        if has(TIMESTAMP) {
            list.timestamp = Some(reader.u64()?);
        }
        list.message_type = short_string(&mut reader, has(TYPE))?;
        list.user_id = short_string(&mut reader, has(USER_ID))?;
        list.app_id = short_string(&mut reader, has(APP_ID))?;
        list.cluster_id = short_string(&mut reader, has(CLUSTER_ID))?;
        Ok(list)
    }

    /// Appends the stored encoding. Texts over 255 bytes are cut.
    pub fn write(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0, 0]);
        let mut flags = 0;
        let mut text = |out: &mut Vec<u8>, bit: u16, value: &Option<ShortString>| {
            if let Some(value) = value {
                let len = u8::try_from(value.len()).unwrap_or(u8::MAX);
                out.push(len);
                out.extend_from_slice(&value[..len.into()]);
                flags |= bit;
            }
        };
        text(out, CONTENT_TYPE, &self.content_type);
        text(out, CONTENT_ENCODING, &self.content_encoding);
        if let Some(headers) = &self.headers {
            headers.write(out);
        }
        out.extend(self.delivery_mode);
        out.extend(self.priority);
        text(out, CORRELATION_ID, &self.correlation_id);
        text(out, REPLY_TO, &self.reply_to);
        text(out, EXPIRATION, &self.expiration);
        text(out, MESSAGE_ID, &self.message_id);
        if let Some(timestamp) = self.timestamp {
            out.extend_from_slice(&timestamp.to_be_bytes());
        }
        text(out, TYPE, &self.message_type);
        text(out, USER_ID, &self.user_id);
        text(out, APP_ID, &self.app_id);
        text(out, CLUSTER_ID, &self.cluster_id);
        for (present, bit) in [
            (self.headers.is_some(), HEADERS),
            (self.delivery_mode.is_some(), DELIVERY_MODE),
            (self.priority.is_some(), PRIORITY),
            (self.timestamp.is_some(), TIMESTAMP),
        ] {
            flags |= if present { bit } else { 0 };
        }
        out[at..at + 2].copy_from_slice(&flags.to_be_bytes());
    }
}

fn short_string(reader: &mut Reader<'_>, present: bool) -> Result<Option<ShortString>, TableError> {
    if !present {
        return Ok(None);
    }
    let len = reader.u8()?;
    Ok(Some(reader.bytes(len.into())?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Properties;
    use crate::table::Value;

    fn full() -> PropertyList {
        let text = |text: &str| Some(text.as_bytes().into());
        let mut headers = Table::default();
        headers.push("k", Value::I32(7));
        PropertyList {
            content_type: text("text/plain"),
            content_encoding: text("gzip"),
            headers: Some(headers),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: text("c"),
            reply_to: text("r"),
            expiration: text("60000"),
            message_id: text("m"),
            timestamp: Some(1 << 40),
            message_type: text("t"),
            user_id: text("u"),
            app_id: text("a"),
            cluster_id: text(""),
        }
    }

    #[test]
    fn what_is_written_is_read_and_understood_by_the_rules() {
        for list in [full(), PropertyList::default()] {
            let mut bytes = Vec::new();
            list.write(&mut bytes);
            assert_eq!(PropertyList::read(&bytes), Ok(list.clone()));
            let properties = Properties(&bytes);
            assert_eq!(properties.priority(), list.priority);
            assert_eq!(properties.expiration(), list.expiration.as_deref());
            assert_eq!(properties.headers(), Ok(list.headers.clone().unwrap_or_default()));
            for cut in 0..bytes.len() {
                assert_eq!(PropertyList::read(&bytes[..cut]), Err(TableError::Truncated), "{cut}");
            }
        }
    }
}
