//! Lists: the rows of an answer as a table, or the answer itself.

use serde_json::Value as Json;

use crate::client::Client;
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
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut parameters = vec![("limit", ROWS_MAX)];
        parameters.extend(after.as_deref().map(|after| ("after", after)));
        let answer = client.get(&client.in_vhost(path, &parameters))?;
        rows.extend(self::rows(&answer, "items").iter().cloned());
        after = answer.get("next").and_then(Json::as_str).map(str::to_owned);
        if after.is_none() {
            return print(place, &rows, columns);
        }
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
