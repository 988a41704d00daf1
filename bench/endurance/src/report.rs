//! What a scenario comes to: figures, bars and the verdict, in JSON and in words.

use serde_json::{Map, Value, json};

use crate::load::Outcome;

/// A scenario's figures. What is put in is said at once, in words, on standard error.
#[derive(Debug)]
pub(crate) struct Report {
    figures: Map<String, Value>,
    missed: Vec<String>,
    wrong: Vec<String>,
}

/// On which side of a bar a figure has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Report {
    pub(crate) fn new(scenario: &str) -> Report {
        eprintln!("{scenario}");
        let mut figures = Map::new();
        figures.insert("scenario".to_owned(), scenario.into());
        Report { figures, missed: Vec::new(), wrong: Vec::new() }
    }

    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        eprintln!("  {name:<42} {}", words(value));
        self.figures.insert(name.to_owned(), round(value));
    }

    /// A figure, and what is asked of it.
    pub(crate) fn barred(&mut self, name: &str, value: f64, bar: Bar) {
        let (met, asked) = match bar {
            Bar::AtMost(limit) => (value <= limit, format!("at most {}", words(limit))),
            Bar::AtLeast(limit) => (value >= limit, format!("at least {}", words(limit))),
        };
        let verdict = if met { "met" } else { "MISSED" };
        eprintln!("  {name:<42} {:<12} bar: {asked}, {verdict}", words(value));
        self.figures.insert(name.to_owned(), round(value));
        if !met {
            self.missed.push(format!("{name} {}, {asked}", words(value)));
        }
    }

    /// Something that is not one number.
    pub(crate) fn detail(&mut self, name: &str, value: Value) {
        eprintln!("  {name:<42} {value}");
        self.figures.insert(name.to_owned(), value);
    }

    /// What must hold, or the broker is wrong.
    pub(crate) fn demand(&mut self, what: &str, holds: Result<(), String>) {
        if let Err(but) = holds {
            eprintln!("  WRONG: {what}: {but}");
            self.wrong.push(format!("{what}: {but}"));
        }
    }

    /// That a run of the load generator found nothing amiss.
    pub(crate) fn demand_right(&mut self, what: &str, outcome: &Outcome) {
        let right = outcome.is_right();
        self.demand(what, if right { Ok(()) } else { Err(outcome.0.to_string()) });
    }

    /// That two counts are the same.
    pub(crate) fn demand_equal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        (found, expected): (T, T),
    ) {
        let same = found == expected;
        let but = || format!("{found:?} instead of {expected:?}");
        self.demand(what, if same { Ok(()) } else { Err(but()) });
    }

    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    pub(crate) fn line(&self) -> Value {
        let mut line = self.figures.clone();
        line.insert("missed".to_owned(), json!(self.missed));
        line.insert("wrong".to_owned(), json!(self.wrong));
        line.insert("ok".to_owned(), self.is_right().into());
        Value::Object(line)
    }
}

fn round(value: f64) -> Value {
    let rounded =
        if value.abs() >= 1000.0 { value.round() } else { (value * 1000.0).round() / 1000.0 };
    json!(rounded)
}

fn words(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        Some(upper) if values.len().is_multiple_of(2) => f64::midpoint(values[middle - 1], *upper),
        Some(only) => *only,
        None => f64::NAN,
    }
}
