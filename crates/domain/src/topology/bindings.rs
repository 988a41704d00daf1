//! The bindings from one exchange: which there are, and an index by the exchange's type.

use hashbrown::HashMap;

use super::Change;
use crate::binding::{BindingArguments, Target};
use crate::exchange::ExchangeType;
use crate::exchange::direct::Direct;
use crate::exchange::fanout::Fanout;
use crate::exchange::headers::Headers;
use crate::exchange::topic::Topic;

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Bindings from one exchange.
#[derive(Debug)]
pub struct Bindings {
    by_target: Map<Target, Map<Box<[u8]>, Vec<BindingArguments>>>,
    index: Index,
}

/// How the exchange's type finds targets.
#[derive(Debug)]
pub(crate) enum Index {
    Direct(Direct),
    Fanout(Fanout),
    Topic(Topic),
    Headers(Headers),
}

impl Index {
    fn add(&mut self, key: &[u8], target: Target, arguments: &BindingArguments, first: bool) {
        match self {
            Index::Headers(headers) => headers.add(arguments, target),
            // Arguments mean nothing to these: one entry serves all bindings of key and target.
            Index::Direct(direct) if first => direct.add(key, target),
            Index::Fanout(fanout) if first => fanout.add(target),
            Index::Topic(topic) if first => topic.add(key, target),
            Index::Direct(_) | Index::Fanout(_) | Index::Topic(_) => {}
        }
    }

    fn remove(&mut self, key: &[u8], target: Target, arguments: &BindingArguments, last: bool) {
        match self {
            Index::Headers(headers) => headers.remove(arguments, target),
            Index::Direct(direct) if last => direct.remove(key, target),
            Index::Fanout(fanout) if last => fanout.remove(target),
            Index::Topic(topic) if last => topic.remove(key, target),
            Index::Direct(_) | Index::Fanout(_) | Index::Topic(_) => {}
        }
    }
}

impl Bindings {
    pub(crate) fn new(exchange_type: ExchangeType) -> Bindings {
        let index = match exchange_type {
            ExchangeType::Direct => Index::Direct(Direct::default()),
            ExchangeType::Fanout => Index::Fanout(Fanout::default()),
            ExchangeType::Topic => Index::Topic(Topic::default()),
            ExchangeType::Headers => Index::Headers(Headers::default()),
        };
        Bindings { by_target: Map::default(), index }
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    /// All bindings: target, key, arguments.
    pub fn iter(&self) -> impl Iterator<Item = (Target, &[u8], &BindingArguments)> {
        self.by_target.iter().flat_map(|(target, by_key)| {
            by_key.iter().flat_map(|(key, all)| all.iter().map(|one| (*target, &**key, one)))
        })
    }

    /// The bindings to one target: key, arguments.
    pub fn to(&self, target: Target) -> impl Iterator<Item = (&[u8], &BindingArguments)> {
        let by_key = self.by_target.get(&target).into_iter().flatten();
        by_key.flat_map(|(key, all)| all.iter().map(|one| (&**key, one)))
    }

    pub(crate) fn targets(&self) -> impl Iterator<Item = Target> {
        self.by_target.keys().copied()
    }

    pub(crate) fn leads_to(&self, target: Target) -> bool {
        self.by_target.contains_key(&target)
    }

    pub(crate) fn add(
        &mut self,
        key: &[u8],
        target: Target,
        arguments: &BindingArguments,
    ) -> Change {
        let known = self.by_target.entry(target).or_default().entry(key.into()).or_default();
        if known.contains(arguments) {
            return Change::None;
        }
        self.index.add(key, target, arguments, known.is_empty());
        known.push(arguments.clone());
        Change::Made
    }

    pub(crate) fn remove(
        &mut self,
        key: &[u8],
        target: Target,
        arguments: &BindingArguments,
    ) -> Change {
        let Some(by_key) = self.by_target.get_mut(&target) else {
            return Change::None;
        };
        let Some(known) = by_key.get_mut(key) else {
            return Change::None;
        };
        let Some(at) = known.iter().position(|one| one == arguments) else {
            return Change::None;
        };
        known.remove(at);
        let last = known.is_empty();
        self.index.remove(key, target, arguments, last);
        if last {
            by_key.remove(key);
            if by_key.is_empty() {
                self.by_target.remove(&target);
            }
        }
        Change::Made
    }

    pub(crate) fn remove_target(&mut self, target: Target) {
        for (key, all) in self.by_target.remove(&target).into_iter().flatten() {
            let count = all.len();
            for (nth, arguments) in all.iter().enumerate() {
                self.index.remove(&key, target, arguments, nth + 1 == count);
            }
        }
    }
}
