//! Lists: the rows of an answer as a table, or the answer itself.

use serde_json::Value as Json;

use crate::client::{Client, encoded};
use crate::failure::Failure;
use crate::place::Place;
use crate::screen::{self, Column};

/// The most rows asked for at once.
const ROWS_MAX: &str = "500";

/// Prints all pages of a list in the virtual host that is meant.
pub(crate) fn pages(
    client: &Client,
    place: &Place,
    path: &str,
    columns: &[Column],
) -> Result<(), Failure> {
    all_pages(client, place, &client.in_vhost(path, &[]), columns)
}

/// Prints all pages of a list, whatever virtual host is meant.
pub(crate) fn all_pages(
    client: &Client,
    place: &Place,
    path: &str,
    columns: &[Column],
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut parameters = format!("limit={ROWS_MAX}");
    let mark = if path.contains('?') { '&' } else { '?' };
    loop {
        let answer = client.get(&format!("{path}{mark}{parameters}"))?;
        rows.extend(self::rows(&answer, "items").iter().cloned());
        let Some(next) = answer.get("next").and_then(Json::as_str) else {
            return print(place, &rows, columns);
        };
        parameters = format!("limit={ROWS_MAX}&after={}", encoded(next));
    }
}

/// Prints rows.
pub(crate) fn print(place: &Place, rows: &[Json], columns: &[Column]) -> Result<(), Failure> {
    if place.json {
        return screen::json(&Json::Array(rows.to_vec()));
    }
    screen::table(rows, columns)
}

/// The rows of an answer that is a list, or has one.
pub(crate) fn rows<'j>(answer: &'j Json, key: &str) -> &'j [Json] {
    let list = answer.as_array().or_else(|| answer.get(key).and_then(Json::as_array));
    list.map(Vec::as_slice).unwrap_or_default()
}
