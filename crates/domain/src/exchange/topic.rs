//! Topic: binding keys are patterns of words separated by dots; `*` stands for one word, `#` for
//! any number of them, none included. An empty word is a word.
//!
//! Patterns lie in a trie. A routing key walks it with the set of all nodes it may be in at once,
//! so that patterns with many `#` cost words × nodes, never an exponential search.

use hashbrown::HashMap;

use crate::binding::Target;

/// Patterns and where they lead.
#[derive(Debug)]
pub struct Topic {
    nodes: slab::Slab<Node>,
    root: usize,
}

#[derive(Debug, Default)]
struct Node {
    words: HashMap<Box<[u8]>, usize, foldhash::fast::FixedState>,
    /// The node behind `*`.
    star: Option<usize>,
    /// The node behind `#`.
    hash: Option<usize>,
    /// Whether this node stands behind `#`: it stays where it is whatever word comes.
    stays: bool,
    targets: Vec<Target>,
}

impl Default for Topic {
    fn default() -> Topic {
        let mut nodes = slab::Slab::new();
        let root = nodes.insert(Node::default());
        Topic { nodes, root }
    }
}

fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    // The empty key is no word at all: `#` matches it, `*` does not.
    let none = key.is_empty();
    key.split(|byte| *byte == b'.').skip(usize::from(none))
}

impl Topic {
    /// Adds a pair that is not there.
    pub fn add(&mut self, pattern: &[u8], target: Target) {
        let mut at = self.root;
        for word in words(pattern) {
            at = self.child(at, word).unwrap_or_else(|| self.grow(at, word));
        }
        self.nodes[at].targets.push(target);
    }

    /// Removes a pair, and the nodes that nothing needs any more.
    pub fn remove(&mut self, pattern: &[u8], target: Target) {
        let mut path = vec![(self.root, &b""[..])];
        for word in words(pattern) {
            let Some(next) = path.last().and_then(|(at, _)| self.child(*at, word)) else {
                return;
            };
            path.push((next, word));
        }
        if let Some((at, _)) = path.last() {
            self.nodes[*at].targets.retain(|known| *known != target);
        }
        while let [.., (parent, _), (at, word)] = path[..] {
            let node = &self.nodes[at];
            if !node.targets.is_empty()
                || !node.words.is_empty()
                || node.star.is_some()
                || node.hash.is_some()
            {
                break;
            }
            self.nodes.remove(at);
            let parent = &mut self.nodes[parent];
            match word {
                b"*" => parent.star = None,
                b"#" => parent.hash = None,
                word => {
                    parent.words.remove(word);
                }
            }
            path.pop();
        }
    }

    /// Where a message with this routing key goes; a target may be found more than once.
    pub fn route(&self, routing_key: &[u8], found: &mut Vec<Target>) {
        let (mut here, mut next) = (Vec::with_capacity(8), Vec::with_capacity(8));
        self.enter(self.root, &mut here);
        for word in words(routing_key) {
            for at in here.drain(..) {
                let node = &self.nodes[at];
                if node.stays {
                    self.enter(at, &mut next);
                }
                for child in node.words.get(word).into_iter().chain(&node.star) {
                    self.enter(*child, &mut next);
                }
            }
            std::mem::swap(&mut here, &mut next);
        }
        found.extend(here.iter().flat_map(|at| &self.nodes[*at].targets));
    }

    /// Adds a node, and those that `#` lets follow at once, unless they are there.
    fn enter(&self, at: usize, nodes: &mut Vec<usize>) {
        let mut entering = Some(at);
        while let Some(at) = entering {
            if nodes.contains(&at) {
                return;
            }
            nodes.push(at);
            entering = self.nodes[at].hash;
        }
    }

    fn child(&self, at: usize, word: &[u8]) -> Option<usize> {
        let node = &self.nodes[at];
        match word {
            b"*" => node.star,
            b"#" => node.hash,
            word => node.words.get(word).copied(),
        }
    }

    fn grow(&mut self, at: usize, word: &[u8]) -> usize {
        let new = self.nodes.insert(Node { stays: word == b"#", ..Node::default() });
        let node = &mut self.nodes[at];
        match word {
            b"*" => node.star = Some(new),
            b"#" => node.hash = Some(new),
            word => {
                node.words.insert(word.into(), new);
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::QueueId;

    fn check(pattern: &str, key: &str, expected: bool) {
        let mut topic = Topic::default();
        let target = Target::Queue(QueueId(1));
        topic.add(pattern.as_bytes(), target);
        let mut found = Vec::new();
        topic.route(key.as_bytes(), &mut found);
        assert_eq!(!found.is_empty(), expected, "pattern {pattern:?}, key {key:?}");
        topic.remove(pattern.as_bytes(), target);
        assert_eq!(topic.nodes.len(), 1, "{pattern:?} leaves nothing behind");
    }

    #[test]
    fn patterns() {
        for (pattern, matching, other) in [
            ("a.b", vec!["a.b"], vec!["a", "a.b.c", "a.c", "", "a.b."]),
            ("*", vec!["a", "#"], vec!["", "a.b"]),
            ("#", vec!["", "a", "a.b", "a..b", "."], vec![]),
            ("a.*", vec!["a.b", "a."], vec!["a", "a.b.c"]),
            ("a.#", vec!["a", "a.b", "a.b.c", "a."], vec!["b", "", "b.a"]),
            ("#.a", vec!["a", "b.a", "b.c.a"], vec!["a.b", ""]),
            ("#.#", vec!["", "a", "a.b"], vec![]),
            ("*.#", vec!["a", "a.b", "a.b.c"], vec![""]),
            ("#.b.#", vec!["b", "a.b", "b.c", "a.b.c"], vec!["a", "bb", ""]),
            ("a.*.c", vec!["a.b.c", "a..c"], vec!["a.c", "a.b.b.c"]),
            ("", vec![""], vec!["a", "."]),
        ] {
            for key in matching {
                check(pattern, key, true);
            }
            for key in other {
                check(pattern, key, false);
            }
        }
    }

    #[test]
    fn many_hashes_are_not_exponential() {
        let pattern = ["#"; 100].join(".x.");
        let key = ["x"; 120].join(".");
        check(&pattern, &key[..239], true);
        check(&format!("{pattern}.y"), &key[..239], false);
    }
}
