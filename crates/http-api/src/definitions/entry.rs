//! One object of the file, and where it stands: every fault names its place.

use std::fmt;

use domain::name::Name;
use serde_json::{Map, Value};

/// What is wrong at one place of the file.
#[derive(Debug)]
pub struct Fault {
    path: String,
    problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("it is missing")]
    Missing,
    #[error("it must be {0}")]
    MustBe(&'static str),
    #[error("a name has at most 255 bytes")]
    NameTooLong,
    #[error("a key has at most 255 bytes")]
    KeyTooLong,
    #[error("null has no meaning in AMQP; leave it away")]
    Null,
    #[error("the number does not fit 64 bits")]
    TooLarge,
    #[error("there is no exchange type '{0}' here: it is one of direct, fanout, topic, headers")]
    NoSuchExchangeType(String),
    #[error("{0}; export the file again, or set the user's password anew")]
    Hash(#[from] broker::HashError),
    #[error(
        "a password must not stand in a file: put \"password_hash\" there, as `rabbitmqctl \
         hash_password` (or an export) gives it"
    )]
    Password,
}

impl Fault {
    /// Something is wrong with the file as a whole.
    pub(crate) fn of_file(problem: Problem) -> Fault {
        Fault { path: "the file".to_owned(), problem }
    }
}

/// A place in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'j> {
    object: &'j Map<String, Value>,
    section: &'static str,
    index: usize,
}

impl<'j> Entry<'j> {
    /// The objects of a section; what is none is a fault. No section, no objects.
    pub(crate) fn all(
        json: &'j Map<String, Value>,
        section: &'static str,
        faults: &mut Vec<Fault>,
    ) -> Vec<Entry<'j>> {
        let mut entries = Vec::new();
        match json.get(section) {
            None => {}
            Some(Value::Array(values)) => {
                for (index, value) in values.iter().enumerate() {
                    match value.as_object() {
                        Some(object) => entries.push(Entry { object, section, index }),
                        None => faults.push(Fault {
                            path: format!("{section}[{index}]"),
                            problem: Problem::MustBe("an object"),
                        }),
                    }
                }
            }
            Some(_) => faults.push(Fault {
                path: section.to_owned(),
                problem: Problem::MustBe("an array of objects"),
            }),
        }
        entries
    }

    /// Something is wrong with what stands under `key`.
    pub(crate) fn fault(&self, key: &str, problem: Problem) -> Fault {
        let Entry { object, section, index } = self;
        let named = ["name", "user", "source"].iter().find_map(|key| object.get(*key)?.as_str());
        let name = named.map_or_else(String::new, |name| format!(" ({name:?})"));
        Fault { path: format!("{section}[{index}].{key}{name}"), problem }
    }

    /// An object within it.
    pub(crate) fn inside(&self, object: &'j Map<String, Value>) -> Entry<'j> {
        Entry { object, ..*self }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'j Value> {
        self.object.get(key)
    }

    /// A text that must be there.
    pub(crate) fn text(&self, key: &str) -> Result<&'j str, Fault> {
        match self.get(key) {
            Some(value) => {
                value.as_str().ok_or_else(|| self.fault(key, Problem::MustBe("a string")))
            }
            None => Err(self.fault(key, Problem::Missing)),
        }
    }

    /// A text that may be missing.
    pub(crate) fn text_or(&self, key: &str, default: &'j str) -> Result<&'j str, Fault> {
        if self.get(key).is_some() { self.text(key) } else { Ok(default) }
    }

    /// A name that must be there.
    pub(crate) fn name(&self, key: &str) -> Result<Name, Fault> {
        Name::new(self.text(key)?).map_err(|_too_long| self.fault(key, Problem::NameTooLong))
    }

    /// A flag; `default` if it is missing.
    pub(crate) fn flag(&self, key: &str, default: Option<bool>) -> Result<bool, Fault> {
        match (self.get(key), default) {
            (Some(value), _) => {
                value.as_bool().ok_or_else(|| self.fault(key, Problem::MustBe("true or false")))
            }
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.fault(key, Problem::Missing)),
        }
    }

    /// Any value, as it stands.
    pub(crate) fn json(&self, key: &str) -> Result<Box<str>, Fault> {
        let value = self.get(key).ok_or_else(|| self.fault(key, Problem::Missing))?;
        Ok(value.to_string().into())
    }

    /// The whole object without those keys, as it stands.
    pub(crate) fn rest(&self, without: &[&str]) -> Box<str> {
        let kept = self.object.iter().filter(|(key, _)| !without.contains(&key.as_str()));
        let kept: Map<String, Value> =
            kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        Value::Object(kept).to_string().into()
    }
}
