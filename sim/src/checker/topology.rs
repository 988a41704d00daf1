//! A naive topology to compare with: exchanges and bindings in plain lists, routing by trying every
//! binding. Queues are known by name only.

use std::collections::{BTreeMap, BTreeSet};

use domain::exchange::{ALTERNATE_EXCHANGE, ExchangeSettings, ExchangeType};
use domain::refusal::{Kind, Refusal};
use domain::table::{Table, Value};

use crate::checker::named;

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    Queue(String),
    Exchange(String),
}

/// A binding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
    pub(crate) source: String,
    pub(crate) goal: Goal,
    pub(crate) key: Vec<u8>,
    pub(crate) arguments: Table,
}

/// Exchanges by name, and all bindings. The predeclared exchanges are among them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Topology {
    pub(crate) exchanges: BTreeMap<String, ExchangeSettings>,
    pub(crate) bindings: Vec<Binding>,
}

impl Default for Topology {
    fn default() -> Topology {
        let predeclared = [
            ("amq.direct", ExchangeType::Direct),
            ("amq.fanout", ExchangeType::Fanout),
            ("amq.topic", ExchangeType::Topic),
            ("amq.headers", ExchangeType::Headers),
            ("amq.match", ExchangeType::Headers),
        ];
        let exchanges = predeclared.map(|(name, exchange_type)| {
            let (durable, auto_delete, internal) = (true, false, false);
            let arguments = Table::default();
            let settings =
                ExchangeSettings { exchange_type, durable, auto_delete, internal, arguments };
            (name.to_owned(), settings)
        });
        Topology { exchanges: exchanges.into(), bindings: Vec::new() }
    }
}

impl Topology {
    /// Removes the bindings to a goal that is gone, and the auto-delete exchanges that thereby lost
    /// their last.
    pub(crate) fn remove_goal(&mut self, goal: &Goal) {
        let lost: BTreeSet<String> = (self.bindings.iter())
            .filter(|binding| binding.goal == *goal)
            .map(|binding| binding.source.clone())
            .collect();
        self.bindings.retain(|binding| binding.goal != *goal);
        for source in lost {
            self.remove_if_orphaned(&source);
        }
    }

    /// Removes an exchange with the bindings from it and to it.
    pub(crate) fn remove_exchange(&mut self, name: &str) {
        if self.exchanges.remove(name).is_some() {
            self.bindings.retain(|binding| binding.source != name);
            self.remove_goal(&Goal::Exchange(name.to_owned()));
        }
    }

    /// An auto-delete exchange goes with its last binding.
    pub(crate) fn remove_if_orphaned(&mut self, name: &str) {
        let auto_delete = self.exchanges.get(name).is_some_and(|settings| settings.auto_delete);
        if auto_delete && !self.has_bindings(name) {
            self.remove_exchange(name);
        }
    }

    /// A queue is known by another name.
    pub(crate) fn rename_queue(&mut self, old: &str, new: &str) {
        for binding in &mut self.bindings {
            if binding.goal == Goal::Queue(old.to_owned()) {
                binding.goal = Goal::Queue(new.to_owned());
            }
        }
    }

    pub(crate) fn has_bindings(&self, source: &str) -> bool {
        self.bindings.iter().any(|binding| binding.source == source)
    }

    /// The queues that a message with these routing keys goes to. `is_queue` knows the queues' names.
    pub(crate) fn route(
        &self,
        exchange: &str,
        keys: &[&[u8]],
        headers: &Table,
        is_queue: impl Fn(&str) -> bool,
    ) -> Result<BTreeSet<String>, Refusal> {
        if exchange.is_empty() {
            let names = keys.iter().filter_map(|key| std::str::from_utf8(key).ok());
            return Ok(names.filter(|name| is_queue(name)).map(str::to_owned).collect());
        }
        let Some(settings) = self.exchanges.get(exchange) else {
            return Err(Refusal::NotFound(Kind::Exchange, named(exchange)));
        };
        if settings.internal {
            return Err(Refusal::InternalExchange(named(exchange)));
        }
        let (mut queues, mut visited) = (BTreeSet::new(), BTreeSet::new());
        self.follow(exchange, keys, headers, &mut visited, &mut queues);
        Ok(queues)
    }

    fn alternate(&self, exchange: &str) -> Option<String> {
        let value = self.exchanges.get(exchange)?.arguments.get(ALTERNATE_EXCHANGE)?;
        value.as_text().map(str::to_owned)
    }

    fn follow(
        &self,
        exchange: &str,
        keys: &[&[u8]],
        headers: &Table,
        visited: &mut BTreeSet<String>,
        queues: &mut BTreeSet<String>,
    ) {
        let Some(settings) = self.exchanges.get(exchange) else { return };
        if !visited.insert(exchange.to_owned()) {
            return;
        }
        let mut matched = false;
        for binding in self.bindings.iter().filter(|binding| binding.source == exchange) {
            let fits = match settings.exchange_type {
                ExchangeType::Direct => keys.iter().any(|key| binding.key == *key),
                ExchangeType::Fanout => true,
                ExchangeType::Topic => keys.iter().any(|key| topic_fits(&binding.key, key)),
                ExchangeType::Headers => headers_fit(&binding.arguments, headers),
            };
            matched |= fits;
            match &binding.goal {
                Goal::Queue(name) if fits => {
                    queues.insert(name.clone());
                }
                Goal::Exchange(name) if fits => self.follow(name, keys, headers, visited, queues),
                Goal::Queue(_) | Goal::Exchange(_) => {}
            }
        }
        if let Some(alternate) = self.alternate(exchange).filter(|_| !matched) {
            self.follow(&alternate, keys, headers, visited, queues);
        }
    }
}

fn topic_fits(pattern: &[u8], key: &[u8]) -> bool {
    let words = |text: &[u8]| -> Vec<Vec<u8>> {
        let none = text.is_empty();
        text.split(|byte| *byte == b'.').map(<[u8]>::to_vec).skip(usize::from(none)).collect()
    };
    words_fit(&words(pattern), &words(key))
}

fn words_fit(pattern: &[Vec<u8>], key: &[Vec<u8>]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return key.is_empty() };
    match &first[..] {
        b"#" => (0..=key.len()).any(|skipped| words_fit(rest, &key[skipped..])),
        b"*" => !key.is_empty() && words_fit(rest, &key[1..]),
        word => key.first().is_some_and(|one| one == word) && words_fit(rest, &key[1..]),
    }
}

/// Whether a binding to a headers exchange with these arguments takes a message with these headers.
pub(crate) fn headers_fit(arguments: &Table, headers: &Table) -> bool {
    let mode = arguments.get("x-match").and_then(Value::as_text).unwrap_or("all");
    let with_x = mode.ends_with("-with-x");
    let mut wanted = (arguments.0.iter())
        .filter(|(name, _)| **name != *b"x-match" && (with_x || !name.starts_with(b"x-")));
    let met = |(name, value): &(Box<[u8]>, Value)| {
        headers
            .0
            .iter()
            .any(|(known, has)| known == name && (*value == Value::Void || value == has))
    };
    if mode.starts_with("any") { wanted.any(met) } else { wanted.all(met) }
}
