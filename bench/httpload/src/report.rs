//! What a run comes to: figures, bars and what is wrong.

use serde_json::{Map, Value, json};

use crate::times::round;

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
        let mut figures = Map::new();
        figures.insert("scenario".to_owned(), scenario.into());
        Report { figures, missed: Vec::new(), wrong: Vec::new() }
    }

    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// A figure, and what is asked of it.
    pub(crate) fn barred(&mut self, name: &str, value: f64, bar: Bar) {
        self.figure(name, round(value));
        let (is_met, asked) = match bar {
            Bar::AtMost(limit) => (value <= limit, format!("at most {limit}")),
            Bar::AtLeast(limit) => (value >= limit, format!("at least {limit}")),
        };
        if !is_met {
            self.missed.push(format!("{name} is {}, and should be {asked}", round(value)));
        }
    }

    /// What must be zero, or the broker is wrong.
    pub(crate) fn none(&mut self, name: &str, count: u64) {
        self.figure(name, count);
        if count > 0 {
            self.wrong.push(format!("{count} {name}"));
        }
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
