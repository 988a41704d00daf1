//! Names of exchanges, queues and consumers: at most 255 bytes of UTF-8, cheap to clone.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest name, in bytes (AMQP 0-9-1 §4.2.5.3: a short string).
pub const NAME_BYTES_MAX: usize = 255;

/// The name of an exchange, a queue or a consumer.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// More than [`NAME_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has at most {NAME_BYTES_MAX} bytes")]
pub struct NameTooLong;

impl Name {
    /// A name of `text`.
    pub fn new(text: &str) -> Result<Name, NameTooLong> {
        if text.len() > NAME_BYTES_MAX { Err(NameTooLong) } else { Ok(Name(Arc::from(text))) }
    }

    /// A name that stands in the program; cut at [`NAME_BYTES_MAX`].
    pub fn from_static(text: &'static str) -> Name {
        let end = text.floor_char_boundary(NAME_BYTES_MAX);
        Name(Arc::from(&text[..end]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the empty name: the default exchange, or "the queue declared last".
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the name belongs to the broker (`amq.` prefix; AMQP 0-9-1 §3.1.3.1, §3.1.4.1).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("amq.")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.as_str().to_owned()
    }
}
