//! A line of what is told about a directory: a sentence for a person, and its numbers and names by
//! themselves for a program.

use std::fmt;

/// Something a program may want to have by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Number(u64),
    /// A name.
    Text(String),
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What kind of thing it is.
    pub kind: &'static str,
    /// How deep it lies in what was told before.
    pub depth: usize,
    /// Its numbers and names.
    pub fields: Vec<(&'static str, Field)>,
    /// The sentence.
    pub text: String,
}

impl Note {
    pub(crate) fn new(kind: &'static str, text: String) -> Note {
        Note { kind, depth: 0, fields: Vec::new(), text }
    }

    pub(crate) fn at_depth(mut self, depth: usize) -> Note {
        self.depth = depth;
        self
    }

    pub(crate) fn number(mut self, name: &'static str, number: u64) -> Note {
        self.fields.push((name, Field::Number(number)));
        self
    }

    pub(crate) fn text(mut self, name: &'static str, text: &str) -> Note {
        self.fields.push((name, Field::Text(text.to_owned())));
        self
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:indent$}{}", "", self.text, indent = 2 * self.depth)
    }
}
