//! Headers: a message goes where a binding's arguments match its headers (RabbitMQ's headers
//! exchange): `x-match` is `all` (default), `any`, `all-with-x` or `any-with-x`; without `-with-x`,
//! arguments that begin with `x-` take no part. An argument without a value asks for presence only.

use crate::binding::{BindingArguments, Target};
use crate::refusal::Refusal;
use crate::table::{Table, Value};

const MATCH: &str = "x-match";

/// Bindings in the order in which they were made.
#[derive(Debug, Default)]
pub struct Headers {
    bindings: Vec<(Pattern, BindingArguments, Target)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    All,
    Any,
}

#[derive(Debug)]
struct Pattern {
    mode: Mode,
    wanted: Vec<(Box<[u8]>, Value)>,
}

impl Pattern {
    fn parse(arguments: &BindingArguments) -> Result<Pattern, Refusal> {
        let (mode, with_x) = match arguments.0.get(MATCH) {
            None => (Mode::All, false),
            Some(value) => match value.as_text() {
                Some("all") => (Mode::All, false),
                Some("any") => (Mode::Any, false),
                Some("all-with-x") => (Mode::All, true),
                Some("any-with-x") => (Mode::Any, true),
                _unknown => return Err(Refusal::UnknownMatch(value.clone())),
            },
        };
        let takes_part =
            |name: &[u8]| name != MATCH.as_bytes() && (with_x || !name.starts_with(b"x-"));
        let wanted = arguments.0.0.iter().filter(|(name, _)| takes_part(name)).cloned().collect();
        Ok(Pattern { mode, wanted })
    }

    fn matches(&self, headers: &Table) -> bool {
        let met = |(name, wanted): &(Box<[u8]>, Value)| {
            headers.0.iter().any(|(known, value)| {
                known == name && (*wanted == Value::Void || wanted.means(value))
            })
        };
        match self.mode {
            Mode::All => self.wanted.iter().all(met),
            Mode::Any => self.wanted.iter().any(met),
        }
    }
}

impl Headers {
    /// Whether the arguments could be a binding's.
    pub fn check(arguments: &BindingArguments) -> Result<(), Refusal> {
        Pattern::parse(arguments).map(|_pattern| ())
    }

    /// Adds a binding whose arguments were checked.
    pub fn add(&mut self, arguments: &BindingArguments, target: Target) {
        if let Ok(pattern) = Pattern::parse(arguments) {
            self.bindings.push((pattern, arguments.clone(), target));
        }
    }

    /// Removes a binding.
    pub fn remove(&mut self, arguments: &BindingArguments, target: Target) {
        let found =
            self.bindings.iter().position(|(_, known, to)| known == arguments && *to == target);
        if let Some(at) = found {
            self.bindings.remove(at);
        }
    }

    /// Where a message with these headers goes; a target may be found more than once.
    pub fn route(&self, headers: &Table, found: &mut Vec<Target>) {
        let matching = self.bindings.iter().filter(|(pattern, ..)| pattern.matches(headers));
        found.extend(matching.map(|(_, _, target)| *target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(script: &str) -> Table {
        let mut table = Table::default();
        for pair in script.split_whitespace() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = match value {
                "" => Value::Void,
                text => text.parse().map_or_else(|_| Value::text(text), Value::I32),
            };
            table.push(name, value);
        }
        table
    }

    fn check(binding: &str, message: &str, expected: bool) {
        let pattern = Pattern::parse(&BindingArguments(table(binding))).unwrap();
        assert_eq!(pattern.matches(&table(message)), expected, "{binding:?} against {message:?}");
    }

    #[test]
    fn matching() {
        check("", "", true);
        check("a=1", "a=1 b=2", true);
        check("a=1 b=2", "a=1", false);
        check("a=1", "a=one", false);
        check("x-match=all a=1 x-b=2", "a=1", true);
        check("x-match=all-with-x a=1 x-b=2", "a=1", false);
        check("x-match=all-with-x a=1 x-b=2", "a=1 x-b=2", true);
        check("x-match=any a=1 b=2", "b=2", true);
        check("x-match=any a=1 b=2", "c=3", false);
        check("x-match=any", "a=1", false);
        check("x-match=any x-b=2", "x-b=2", false);
        check("x-match=any-with-x x-b=2", "x-b=2", true);
        check("a", "a=anything", true);
        check("a", "b=1", false);
    }

    #[test]
    fn an_unknown_match_is_refused() {
        for wrong in ["x-match=some", "x-match=1"] {
            let refused = Headers::check(&BindingArguments(table(wrong)));
            assert!(matches!(refused, Err(Refusal::UnknownMatch(_))), "{wrong}");
        }
    }
}
