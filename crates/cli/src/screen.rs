//! What a person sees: tables of what the broker answered, numbers made short.

use std::io::{self, Write as _};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value as Json;

use crate::failure::Failure;

/// A column: its heading, where its value is in a row (a path with dots), and how it is shown.
pub(crate) type Column = (&'static str, &'static str, Show);

/// How a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Text,
    /// As it is written, in one line.
    Json,
    Count,
    /// Per second.
    Rate,
    /// A length of time in milliseconds.
    Ms,
    Bytes,
}

/// Prints a line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::Output)
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    io::stdout().lock().write_all(bytes).map_err(Failure::Output)
}

/// Prints JSON, for programs.
pub(crate) fn json(json: &Json) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(json).unwrap_or_default();
    line(&text)
}

/// Prints rows as a table.
pub(crate) fn table(rows: &[Json], columns: &[Column]) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|(heading, ..)| *heading));
    for row in rows {
        table.add_row(columns.iter().map(|(_, path, show)| shown(at(row, path), *show)));
    }
    for (index, (.., show)) in columns.iter().enumerate() {
        if *show != Show::Text
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(&table.trim_fmt())
}

/// Prints one thing, a line for each of its facts.
pub(crate) fn facts(thing: &Json, facts: &[Column]) -> Result<(), Failure> {
    let width = facts.iter().map(|(heading, ..)| heading.len()).max().unwrap_or_default();
    for (heading, path, show) in facts {
        line(&format!("{heading:<width$}  {}", shown(at(thing, path), *show)))?;
    }
    Ok(())
}

/// The value at a path with dots.
pub(crate) fn at<'j>(json: &'j Json, path: &str) -> &'j Json {
    path.split('.').try_fold(json, |json, key| json.get(key)).unwrap_or(&Json::Null)
}

fn shown(value: &Json, show: Show) -> String {
    let number = value.as_f64();
    match (show, number) {
        (Show::Json, _) => value.to_string(),
        (Show::Text, _) | (_, None) => text(value),
        (Show::Count, Some(number)) => grouped(number),
        (Show::Rate, Some(number)) if number >= 10.0 => format!("{}/s", grouped(number.round())),
        (Show::Rate, Some(number)) => format!("{number:.1}/s"),
        (Show::Ms, Some(number)) => time(number),
        (Show::Bytes, Some(number)) => size(number),
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Json::Object(object) if object.is_empty() => String::new(),
        Json::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Json::Number(_) | Json::Object(_) => value.to_string(),
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn time(ms: f64) -> String {
    let seconds = ms / 1_000.0;
    match seconds {
        _ if ms < 1_000.0 => format!("{ms:.0} ms"),
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

fn size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1_024.0 {
            let digits = usize::from(unit != "B");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1_024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_made_for_people() {
        for (value, show, expected) in [
            (json!(1_234_567), Show::Count, "1,234,567"),
            (json!(-1000), Show::Count, "-1,000"),
            (json!(12), Show::Count, "12"),
            (json!(0.25), Show::Rate, "0.2/s"),
            (json!(1234.6), Show::Rate, "1,235/s"),
            (json!(999), Show::Ms, "999 ms"),
            (json!(61_000), Show::Ms, "61.0 s"),
            (json!(600_000), Show::Ms, "10 min"),
            (json!(1_000_000_000), Show::Ms, "11.6 d"),
            (json!(512), Show::Bytes, "512 B"),
            (json!(3_000_000), Show::Bytes, "2.9 MiB"),
            (json!(null), Show::Count, "-"),
            (json!(true), Show::Text, "yes"),
            (json!({"a": 1}), Show::Text, "{\"a\":1}"),
            (json!({}), Show::Text, ""),
        ] {
            assert_eq!(shown(&value, show), expected, "{value}");
        }
        assert_eq!(at(&json!({"a": {"b": 7}}), "a.b"), &json!(7));
        assert_eq!(at(&json!({"a": 1}), "a.b.c"), &Json::Null);
    }
}
