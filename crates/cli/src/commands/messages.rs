//! Messages of a queue as a person wants to see them: a line each, with the beginning of the body.

use serde_json::{Value as Json, json};

use super::listing;
use crate::client::{Client, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column, Show};

const COLUMNS: [Column; 7] = [
    ("ID", "id", Show::Text),
    ("STATE", "state", Show::Text),
    ("AGE", "age_ms", Show::Ms),
    ("ATTEMPTS", "attempts", Show::Count),
    ("SIZE", "body_bytes", Show::Bytes),
    ("KEY", "routing_key", Show::Text),
    ("BODY", "shown", Show::Text),
];

/// Characters of a body that are shown.
const SHOWN_MAX: usize = 60;

/// The most messages asked for at once.
const ROWS_MAX: u64 = 500;

/// What is asked of each request, and how many messages of all of them together.
pub(super) struct Wanted<'a> {
    pub(super) queue: &'a str,
    pub(super) parameters: Vec<(&'a str, String)>,
    pub(super) max: u64,
}

/// Prints the messages of a queue that are asked for: as a table, or for programs a line of JSON each.
pub(super) fn print(client: &Client, place: &Place, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let path = format!("/v1/queues/{}/messages", encoded(wanted.queue));
    let mut rows = Vec::new();
    let (mut left, mut after): (u64, Option<String>) = (wanted.max, None);
    let mut found = false;
    while left > 0 {
        let limit = left.min(ROWS_MAX).to_string();
        let mut parameters: Vec<(&str, &str)> =
            wanted.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        parameters.push(("limit", &limit));
        parameters.extend(after.as_deref().map(|after| ("after", after)));
        let answer = client.get(&client.in_vhost(&path, &parameters))?;
        let items = listing::rows(&answer, "items");
        left = left.saturating_sub(items.len() as u64);
        found |= !items.is_empty();
        for item in items {
            if place.json {
                screen::line(&item.to_string())?;
            } else {
                rows.push(with_shown(item));
            }
        }
        after = answer.get("next").and_then(Json::as_str).map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if !found {
        return Err(Failure::NothingFound);
    }
    if place.json { Ok(()) } else { screen::table(&rows, &COLUMNS) }
}

/// A message with the beginning of its body in one line.
pub(super) fn with_shown(item: &Json) -> Json {
    let mut row = item.clone();
    if let Some(object) = row.as_object_mut() {
        object.insert("shown".to_owned(), json!(shown(item)));
    }
    row
}

fn shown(item: &Json) -> String {
    let whole = match (item.get("body"), item.get("body_base64")) {
        (Some(Json::String(text)), _) => text.clone(),
        (Some(json), _) => json.to_string(),
        (None, Some(Json::String(encoded))) => format!("base64:{encoded}"),
        (None, _) => String::new(),
    };
    let is_cut = screen::at(item, "body_is_cut").as_bool() == Some(true);
    let mut shown: String =
        (whole.chars().take(SHOWN_MAX)).map(|it| if it.is_control() { ' ' } else { it }).collect();
    if is_cut || whole.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_in_one_line() {
        let long = "x".repeat(SHOWN_MAX + 1);
        let cut = format!("{}…", "x".repeat(SHOWN_MAX));
        for (item, expected) in [
            (json!({"body": "text"}), "text"),
            (json!({"body": "two\nlines\u{1b}[2J"}), "two lines [2J"),
            (json!({"body": {"a": 1}}), "{\"a\":1}"),
            (json!({"body_base64": "/w=="}), "base64:/w=="),
            (json!({"body": "begun", "body_is_cut": true}), "begun…"),
            (json!({"body": long}), &cut),
        ] {
            assert_eq!(shown(&item), expected);
        }
    }
}
