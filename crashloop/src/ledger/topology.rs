//! Queues, exchanges and bindings in the ledger. An answered declaration is durable, and so is an
//! answered deletion; between question and answer both may be true.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ledger, Queue, Standing};
use crate::violation::Violation;

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    Absent,
    /// Asked for or asked away, without an answer yet.
    InDoubt,
    Present,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeType {
    Direct,
    Fanout,
    Topic,
}

#[derive(Debug)]
pub(super) struct Exchange {
    kind: ExchangeType,
    durable: bool,
    existence: Existence,
}

/// A queue bound to an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Binding {
    pub(crate) exchange: String,
    pub(crate) queue: String,
    pub(crate) key: String,
}

impl Ledger {
    /// A queue is about to be declared.
    pub(crate) fn declares_queue(&mut self, name: &str, durable: bool) {
        let queue = self.queues.entry(name.to_owned()).or_insert_with(|| Queue {
            durable,
            existence: Existence::Absent,
            copies: BTreeMap::new(),
        });
        if queue.existence == Existence::Absent {
            queue.durable = durable;
            queue.existence = Existence::InDoubt;
        }
    }

    pub(crate) fn declared_queue(&mut self, name: &str) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.existence = Existence::Present;
        }
    }

    pub(crate) fn deletes_queue(&mut self, name: &str) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.existence = Existence::InDoubt;
        }
        for (_, existence) in self.bindings.iter_mut().filter(|(binding, _)| binding.queue == name)
        {
            *existence = doubtful(*existence);
        }
    }

    /// The deletion is answered, or the queue was found missing.
    pub(crate) fn deleted_queue(&mut self, name: &str) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.existence = Existence::Absent;
            for copy in queue.copies.values_mut() {
                if !matches!(copy.standing, Standing::Gone(_)) {
                    copy.standing = Standing::Gone("in a queue that was deleted");
                }
            }
        }
        for (_, existence) in self.bindings.iter_mut().filter(|(binding, _)| binding.queue == name)
        {
            *existence = Existence::Absent;
        }
    }

    pub(crate) fn declares_exchange(&mut self, name: &str, kind: ExchangeType, durable: bool) {
        let exchange = self.exchanges.entry(name.to_owned()).or_insert(Exchange {
            kind,
            durable,
            existence: Existence::Absent,
        });
        if exchange.existence == Existence::Absent {
            *exchange = Exchange { kind, durable, existence: Existence::InDoubt };
        }
    }

    pub(crate) fn declared_exchange(&mut self, name: &str) {
        if let Some(exchange) = self.exchanges.get_mut(name) {
            exchange.existence = Existence::Present;
        }
    }

    pub(crate) fn deletes_exchange(&mut self, name: &str) {
        if let Some(exchange) = self.exchanges.get_mut(name) {
            exchange.existence = Existence::InDoubt;
        }
        let from_it = |binding: &Binding| binding.exchange == name;
        for (_, existence) in self.bindings.iter_mut().filter(|(binding, _)| from_it(binding)) {
            *existence = doubtful(*existence);
        }
    }

    pub(crate) fn deleted_exchange(&mut self, name: &str) {
        if let Some(exchange) = self.exchanges.get_mut(name) {
            exchange.existence = Existence::Absent;
        }
        let from_it = |binding: &Binding| binding.exchange == name;
        for (_, existence) in self.bindings.iter_mut().filter(|(binding, _)| from_it(binding)) {
            *existence = Existence::Absent;
        }
    }

    /// A bind or unbind is about to be sent.
    pub(crate) fn changes_binding(&mut self, binding: &Binding) {
        self.bindings.insert(binding.clone(), Existence::InDoubt);
    }

    /// The bind (`Present`) or unbind (`Absent`) is answered.
    pub(crate) fn changed_binding(&mut self, binding: &Binding, existence: Existence) {
        self.bindings.insert(binding.clone(), existence);
    }

    /// The queues that a message will reach: those bound for certain, each once.
    pub(crate) fn routes(&self, exchange: &str, key: &str) -> Vec<String> {
        if exchange.is_empty() {
            let present = |queue: &&Queue| queue.existence == Existence::Present;
            return self
                .queues
                .get(key)
                .filter(present)
                .map(|_| key.to_owned())
                .into_iter()
                .collect();
        }
        let mut queues: Vec<String> = self
            .matching(exchange, key)
            .filter(|(_, existence)| *existence == Existence::Present)
            .map(|(binding, _)| binding.queue.clone())
            .collect();
        queues.dedup();
        queues
    }

    fn matching<'ledger>(
        &'ledger self,
        exchange: &'ledger str,
        key: &'ledger str,
    ) -> impl Iterator<Item = (&'ledger Binding, Existence)> {
        let kind = self.exchanges.get(exchange).map(|exchange| exchange.kind);
        self.bindings
            .iter()
            .filter(move |(binding, _)| binding.exchange == exchange)
            .filter(move |(binding, _)| kind.is_some_and(|kind| matches(kind, &binding.key, key)))
            .map(|(binding, existence)| (binding, *existence))
    }

    /// Every queue ever heard of, and whether it should be there.
    pub(crate) fn queue_names(&self) -> Vec<(String, Existence)> {
        self.queues.iter().map(|(name, queue)| (name.clone(), queue.existence)).collect()
    }

    pub(crate) fn queue_existence(&self, name: &str) -> Existence {
        self.queues.get(name).map_or(Existence::Absent, |queue| queue.existence)
    }

    pub(crate) fn exchange_existence(&self, name: &str) -> Existence {
        self.exchanges.get(name).map_or(Existence::Absent, |exchange| exchange.existence)
    }

    /// Every exchange ever heard of.
    pub(crate) fn exchange_names(&self) -> Vec<String> {
        self.exchanges.keys().cloned().collect()
    }

    /// An exchange and a key for every binding ever heard of: what to publish to see what is bound.
    /// Not through an exchange that may lead to a queue of which `is_seen` says no.
    pub(crate) fn probes(&self, is_seen: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let unseen: BTreeSet<&str> = self
            .bindings
            .iter()
            .filter(|(binding, there)| **there != Existence::Absent && !is_seen(&binding.queue))
            .map(|(binding, _)| binding.exchange.as_str())
            .collect();
        let mut probes: Vec<(String, String)> = self
            .bindings
            .keys()
            .filter(|binding| {
                let exchange = self.exchanges.get(&binding.exchange);
                exchange.is_some_and(|exchange| exchange.existence == Existence::Present)
                    && !unseen.contains(binding.exchange.as_str())
            })
            .map(|binding| {
                let key = binding.key.replace('*', "any").replace('#', "more.words");
                (binding.exchange.clone(), key)
            })
            .collect();
        probes.sort();
        probes.dedup();
        probes
    }

    /// A restart: what is not durable is gone, with its bindings.
    pub(super) fn topology_restarts(&mut self) {
        let transient = |durable: &bool| !durable;
        let queues: Vec<String> = self
            .queues
            .iter()
            .filter(|(_, queue)| transient(&queue.durable) && queue.existence != Existence::Absent)
            .map(|(name, _)| name.clone())
            .collect();
        for queue in queues {
            self.deleted_queue(&queue);
        }
        let exchanges: Vec<String> = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| transient(&exchange.durable))
            .map(|(name, _)| name.clone())
            .collect();
        for exchange in exchanges {
            self.deleted_exchange(&exchange);
        }
    }

    pub(crate) fn observe_queue_existence(&mut self, name: &str, there: bool) {
        let Some(queue) = self.queues.get(name) else { return };
        let what = format!("queue {name}");
        self.observe_existence(queue.existence, there, what);
        if there {
            self.declared_queue(name);
        } else {
            self.deleted_queue(name);
        }
    }

    pub(crate) fn observe_exchange_existence(&mut self, name: &str, there: bool) {
        let Some(exchange) = self.exchanges.get(name) else { return };
        self.observe_existence(exchange.existence, there, format!("exchange {name}"));
        if there {
            self.declared_exchange(name);
        } else {
            self.deleted_exchange(name);
        }
    }

    fn observe_existence(&mut self, existence: Existence, there: bool, what: String) {
        match (existence, there) {
            (Existence::Present, false) => {
                self.violations.push(Violation::TopologyLost { what });
            }
            (Existence::Absent, true) => {
                self.violations.push(Violation::TopologyResurrected { what });
            }
            (Existence::Present | Existence::InDoubt, true)
            | (Existence::Absent | Existence::InDoubt, false) => {}
        }
    }

    /// A probe published to `exchange` with `key` was found in exactly `queues`.
    pub(crate) fn observe_probe(&mut self, exchange: &str, key: &str, queues: &[String]) {
        let bindings: Vec<(Binding, Existence)> = self
            .matching(exchange, key)
            .map(|(binding, existence)| (binding.clone(), existence))
            .collect();
        for queue in queues {
            let bound = |(binding, existence): &&(Binding, Existence)| {
                binding.queue == *queue && *existence != Existence::Absent
            };
            if !bindings.iter().any(|binding| bound(&binding)) {
                let what = format!("a binding of {queue} to {exchange} that lets {key} through");
                self.violations.push(Violation::TopologyResurrected { what });
            }
        }
        for (binding, existence) in bindings {
            let there = queues.contains(&binding.queue);
            let what = format!("the binding of {} to {exchange} by {}", binding.queue, binding.key);
            if existence == Existence::Present && !there {
                self.violations.push(Violation::TopologyLost { what });
            }
            if existence != Existence::Absent {
                let seen = if there { Existence::Present } else { Existence::Absent };
                self.bindings.insert(binding, seen);
            }
        }
    }
}

fn doubtful(existence: Existence) -> Existence {
    match existence {
        Existence::Absent => Existence::Absent,
        Existence::InDoubt | Existence::Present => Existence::InDoubt,
    }
}

fn matches(kind: ExchangeType, pattern: &str, key: &str) -> bool {
    match kind {
        ExchangeType::Fanout => true,
        ExchangeType::Direct => pattern == key,
        ExchangeType::Topic => {
            let words = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
            matches_words(&words(pattern), &words(key))
        }
    }
}

fn matches_words(pattern: &[String], key: &[String]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return key.is_empty() };
    match first.as_str() {
        "#" => (0..=key.len()).any(|skipped| matches_words(rest, &key[skipped..])),
        "*" => !key.is_empty() && matches_words(rest, &key[1..]),
        word => key.first().is_some_and(|key| key == word) && matches_words(rest, &key[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_patterns_match_as_the_specification_says() {
        for (pattern, key, expected) in [
            ("orders.*.created", "orders.eu.created", true),
            ("orders.*.created", "orders.created", false),
            ("orders.#", "orders", true),
            ("orders.#", "orders.eu.created", true),
            ("#.error", "error", true),
            ("#.error", "a.b.error", true),
            ("#.error", "a.error.b", false),
            ("#", "", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(ExchangeType::Topic, pattern, key), expected, "{pattern} {key}");
        }
    }
}
