//! The body of a request as RabbitMQ's clients write it: an object, or nothing, with flags and
//! numbers that may be texts.

use axum::extract::{FromRequest, Request};
use domain::table::Table;
use serde_json::{Map, Value as Json};

use crate::body;
use crate::hall::Hall;
use crate::json_table;
use crate::problem::Problem;

/// The object of a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(pub(crate) Map<String, Json>);

impl FromRequest<Hall> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, hall: &Hall) -> Result<Fields, Problem> {
        let (parts, body) = request.into_parts();
        let whole = body::read(hall, &parts.headers, body).await?;
        if whole.bytes.is_empty() {
            return Ok(Fields::default());
        }
        body::parse(&whole.bytes).map(Fields)
    }
}

fn must_be(what: &str, key: &str) -> Problem {
    Problem::bad_request(format!("it must be {what}")).field(key)
}

impl Fields {
    /// All of these must be there.
    pub(super) fn need(&self, keys: &[&str]) -> Result<(), Problem> {
        match keys.iter().find(|key| !self.0.contains_key(**key)) {
            Some(key) => Err(Problem::bad_request("it is missing").field(*key)),
            None => Ok(()),
        }
    }

    /// What stands there, unless it is nothing.
    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, Problem> {
        let text = |value: &'_ Json| value.as_str().is_some();
        match self.get(key) {
            Some(value) if !text(value) => Err(must_be("a string", key)),
            found => Ok(found.and_then(Json::as_str)),
        }
    }

    /// A text that must be there.
    pub(super) fn needed_text(&self, key: &str) -> Result<&str, Problem> {
        self.need(&[key])?;
        self.text(key)?.ok_or_else(|| must_be("a string", key))
    }

    /// False if it is not there.
    pub(super) fn flag(&self, key: &str) -> Result<bool, Problem> {
        match self.get(key) {
            None => Ok(false),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(Json::String(text)) if text == "true" => Ok(true),
            Some(Json::String(text)) if text == "false" => Ok(false),
            Some(_) => Err(must_be("true or false", key)),
        }
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<u64>, Problem> {
        let integer = match self.get(key) {
            None => return Ok(None),
            Some(Json::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
        };
        integer.map(Some).ok_or_else(|| must_be("a whole number", key))
    }

    /// Empty if it is not there. Where tables and arrays are the same, an empty one may be either.
    pub(super) fn object(&self, key: &str) -> Result<Map<String, Json>, Problem> {
        match self.get(key) {
            None => Ok(Map::new()),
            Some(Json::Array(values)) if values.is_empty() => Ok(Map::new()),
            Some(Json::Object(object)) => Ok(object.clone()),
            Some(_) => Err(must_be("an object", key)),
        }
    }

    pub(super) fn table(&self, key: &str) -> Result<Table, Problem> {
        json_table::table(&self.object(key)?, key)
    }

    /// A list, or one text with commas.
    pub(super) fn tags(&self, key: &str) -> Result<Vec<Box<str>>, Problem> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Json::String(text)) => {
                let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                Ok(tags.map(Into::into).collect())
            }
            Some(Json::Array(tags)) => {
                let tag = |tag: &Json| tag.as_str().map(Into::into);
                let tags: Option<Vec<Box<str>>> = tags.iter().map(tag).collect();
                tags.ok_or_else(|| must_be("a list of strings", key))
            }
            Some(_) => Err(must_be("a list of strings", key)),
        }
    }
}
