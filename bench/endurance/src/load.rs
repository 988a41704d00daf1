//! One run of `amqpload`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;

/// What it is told.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    arguments: Vec<String>,
}

/// What it said.
#[derive(Clone, Debug)]
pub(crate) struct Outcome(pub(crate) Value);

impl Load {
    /// A run of that phase with what all have: durable, confirms, acknowledgements.
    pub(crate) fn new(phase: &str) -> Load {
        let fixed = "--persistent --confirm 1000 --prefetch 1000 --ack 100 --timeout 120 --phase";
        let arguments = fixed.split(' ').chain([phase]).map(str::to_owned).collect();
        Load { arguments }
    }

    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Load {
        self.arguments.extend([format!("--{name}"), value.to_string()]);
        self
    }

    pub(crate) fn switch(mut self, name: &str) -> Load {
        self.arguments.push(format!("--{name}"));
        self
    }

    /// Several words of the load generator's command line.
    pub(crate) fn words(mut self, words: &str) -> Load {
        self.arguments.extend(words.split_whitespace().map(str::to_owned));
        self
    }

    pub(crate) fn run(&self, binary: &Path, port: u16) -> Result<Outcome, Failure> {
        let mut command = Command::new(binary);
        command.args(["--uri", &format!("127.0.0.1:{port}")]).args(&self.arguments);
        let output = command.stderr(Stdio::inherit()).output().map_err(Failure::file(binary))?;
        let said = String::from_utf8_lossy(&output.stdout);
        match serde_json::from_str(said.trim()) {
            Ok(value) => Ok(Outcome(value)),
            Err(_not_json) => {
                let what = self.arguments.join(" ");
                Err(Failure::NoResult { what, said: said.into_owned() })
            }
        }
    }
}

impl Outcome {
    /// Whether every message that was to come came once, in order and intact.
    pub(crate) fn is_right(&self) -> bool {
        self.0.get("ok").and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// A quantile of a distribution, in microseconds.
    pub(crate) fn quantile_us(&self, of: &str, name: &str) -> f64 {
        self.0.pointer(&format!("/{of}/{name}")).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// The sum over the ids that were sent or received, in which no order matters.
    pub(crate) fn id_sum(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.0.get(name)?.as_str()?, 16).ok()
    }

    pub(crate) fn part(&self, name: &str) -> Value {
        self.0.get(name).cloned().unwrap_or(Value::Null)
    }

    /// How the last tenth went, with the first as one.
    pub(crate) fn last_to_first_tenth(&self, name: &str) -> f64 {
        let tenths = self.0.get(name).and_then(Value::as_array);
        let ends = tenths.and_then(|tenths| Some((tenths.first()?, tenths.last()?)));
        match ends.map(|(first, last)| (first.as_f64(), last.as_f64())) {
            Some((Some(first), Some(last))) => last / first,
            Some(_) | None => f64::NAN,
        }
    }
}
