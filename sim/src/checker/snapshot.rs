//! What must be there after a restart: the durable part of the picture at one moment, and whether
//! that is what was found.

use std::collections::{BTreeMap, BTreeSet};

use domain::exchange::ExchangeSettings;
use domain::queue::QueueDeclaration;
use domain::queue::settings::QueueSettings;
use domain::table::Table;

use super::Checker;
use super::queue::{Entry, Known, Queue, Whereabouts};
use super::topology::Topology;
use crate::message::{MessageId, letter};
use crate::vocabulary::DEAD;

/// The most messages a queue may ever have taken for its watermark to be exact: when many are
/// delivered at once it runs ahead, and marks some that never went out.
const EXACT_MARKS_MAX: u64 = 64;

/// The durable part of a broker's state at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) topology: Topology,
    pub(crate) queues: BTreeMap<String, KeptQueue>,
    /// Whether the broker had time to write down how far every queue delivered.
    pub(crate) clean: bool,
    /// Where a queue gave a message up, and its letter: exactly one of both is there.
    pub(crate) dying: Vec<(String, MessageId, MessageId)>,
}

/// A durable queue.
#[derive(Clone, Debug)]
pub(crate) struct KeptQueue {
    pub(crate) declaration: QueueDeclaration,
    /// In order.
    pub(crate) messages: Vec<KeptMessage>,
    pub(crate) enqueued: u64,
    /// Of each session that may have got messages unseen, whether such a delivery settled itself.
    pub(crate) fog: Vec<bool>,
}

/// A message in a durable queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptMessage {
    pub(crate) id: MessageId,
    pub(crate) level: u8,
    pub(crate) redelivered: Known,
    pub(crate) there: Known,
    pub(crate) deadline_ms: Option<u64>,
}

impl KeptMessage {
    fn is_due(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }
}

/// What was found after a restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) exchanges: BTreeMap<String, ExchangeSettings>,
    pub(crate) queues: BTreeMap<String, FoundQueue>,
    pub(crate) routes: Vec<FoundRoute>,
}

/// A queue and its messages in order, each with its mark.
#[derive(Clone, Debug)]
pub(crate) struct FoundQueue {
    pub(crate) declaration: QueueDeclaration,
    pub(crate) messages: Vec<(MessageId, bool)>,
}

/// Where one message went.
#[derive(Clone, Debug)]
pub(crate) struct FoundRoute {
    pub(crate) exchange: String,
    pub(crate) key: Vec<u8>,
    pub(crate) headers: Table,
    pub(crate) queues: Vec<String>,
}

impl Checker {
    /// The durable part of the picture as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut topology = self.topology.clone();
        topology.bindings.retain(|binding| self.is_durable(binding));
        topology.exchanges.retain(|_, settings| settings.durable);
        let mut queues = BTreeMap::new();
        for (key, queue) in &self.queues {
            if queue.is_durable() && !queue.deleted {
                let fog: Vec<bool> = (self.sessions.values())
                    .filter_map(|session| session.held_queues.get(key).copied())
                    .collect();
                let dying: BTreeMap<u64, &Entry> = (self.dying.iter())
                    .filter(|dying| dying.queue == *key)
                    .map(|dying| (dying.place, &dying.entry))
                    .collect();
                queues.insert(queue.name.clone(), keep(queue, &fog, dying));
            }
        }
        if let Some(dead) = queues.get_mut(DEAD) {
            let underway = self.letters_underway();
            dead.enqueued += underway.len() as u64;
            dead.messages.extend(underway);
        }
        let dying = self.dying.iter().filter(|dying| {
            dying.there == Known::Yes && dying.entry.there == Known::Yes && dying.entry.journaled
        });
        let dying = dying.filter_map(|dying| {
            let queue = self.queues.get(&dying.queue).filter(|queue| !queue.deleted)?;
            Some((queue.name.clone(), dying.entry.message, dying.letter))
        });
        Snapshot { topology, dying: dying.collect(), queues, clean: false }
    }

    /// Letters of queues that no restart finds, which may have come in this very turn.
    fn letters_underway(&self) -> Vec<KeptMessage> {
        let forgotten = self.queues.values().filter(|queue| {
            !queue.deleted && !queue.is_durable() && queue.settings.dead_lettering.is_some()
        });
        let mut letters = Vec::new();
        for queue in forgotten {
            let leaving = queue.ready().filter(|(_, entry)| entry.leaving && !entry.perhaps_died);
            letters.extend(leaving.filter_map(|(_, entry)| {
                let id = letter(entry.message, &queue.name, "expired")?;
                let (redelivered, there) = (Known::Perhaps, Known::Perhaps);
                Some(KeptMessage { id, level: 0, redelivered, there, deadline_ms: None })
            }));
        }
        letters
    }
}

/// `fog` has an entry for every session that may have got messages unseen, true if such a delivery
/// settled itself.
fn keep<'q>(queue: &'q Queue, fog: &[bool], mut dying: BTreeMap<u64, &'q Entry>) -> KeptQueue {
    let given_up: BTreeSet<MessageId> = dying.values().map(|entry| entry.message).collect();
    dying.extend(queue.entries.iter().map(|(place, entry)| (*place, entry)));
    let messages = dying.values().map(|entry| {
        let is_given_up = given_up.contains(&entry.message);
        let ready = entry.whereabouts == Whereabouts::Ready;
        let in_doubt =
            is_given_up || !entry.journaled || entry.perhaps_died || (ready && fog.contains(&true));
        let marked_in_doubt = ready && !fog.is_empty() && entry.redelivered == Known::No;
        KeptMessage {
            id: entry.message,
            level: entry.level,
            redelivered: if marked_in_doubt || is_given_up {
                Known::Perhaps
            } else {
                entry.redelivered
            },
            there: if in_doubt { Known::Perhaps } else { entry.there },
            deadline_ms: entry.deadline_ms,
        }
    });
    KeptQueue {
        declaration: queue.declaration.clone(),
        messages: messages.collect(),
        enqueued: queue.enqueued,
        fog: fog.to_vec(),
    }
}

impl Snapshot {
    /// Whether this is what was found; if not, the first difference.
    pub(crate) fn explains(&self, found: &Found, now_ms: u64) -> Result<(), String> {
        let exchanges = &self.topology.exchanges;
        if *exchanges != found.exchanges {
            let names = |of: &BTreeMap<String, ExchangeSettings>| format!("{:?}", of.keys());
            return Err(format!("exchanges {}, not {}", names(&found.exchanges), names(exchanges)));
        }
        if !self.queues.keys().eq(found.queues.keys()) {
            let (has, should) = (found.queues.keys(), self.queues.keys());
            return Err(format!("queues {has:?}, not {should:?}"));
        }
        for (name, queue) in &self.queues {
            let Some(other) = found.queues.get(name) else { continue };
            if queue.declaration != other.declaration {
                return Err(format!("queue {name} is another"));
            }
            let letters = if name == DEAD { self.letters(now_ms) } else { Vec::new() };
            self.explains_messages(name, queue, other, now_ms, &letters)
                .map_err(|error| format!("queue {name}: {error}"))?;
        }
        if found.queues.contains_key(DEAD) {
            self.explains_dying(found, now_ms)?;
        }
        for route in &found.routes {
            let known = |name: &str| self.queues.contains_key(name);
            let routed = self.topology.route(&route.exchange, &[&route.key], &route.headers, known);
            let expected: Vec<String> = routed.into_iter().flatten().collect();
            if expected != route.queues {
                return Err(format!("{route:?} should go to {expected:?}"));
            }
        }
        Ok(())
    }

    /// What was being given up is in its queue or has become a letter, and not both. If it was still
    /// in its queue it may have become another one: rejected before, it can have expired since.
    fn explains_dying(&self, found: &Found, now_ms: u64) -> Result<(), String> {
        let has = |queue: &str, id: MessageId| {
            let queue = found.queues.get(queue);
            queue.is_some_and(|queue| queue.messages.iter().any(|(found, _)| *found == id))
        };
        // The letter may have gone unseen, to who settles by receiving.
        let fog = self.queues.get(DEAD).map(|dead| &dead.fog[..]).unwrap_or_default();
        let least = usize::from(!fog.contains(&true));
        for (queue, message, rejected) in &self.dying {
            let kept = self.queues.get(queue).map(|kept| &kept.messages[..]).unwrap_or_default();
            let is_due = kept.iter().any(|kept| kept.id == *message && kept.is_due(now_ms));
            let expired = letter(*message, queue, "expired");
            let expired = expired.filter(|expired| is_due && expired != rejected);
            let letters = [Some(*rejected), expired].into_iter().flatten();
            let letters = letters.filter(|letter| has(DEAD, *letter)).count();
            let there = letters + usize::from(has(queue, *message));
            if !(least..=1).contains(&there) {
                return Err(format!("message {message} of {queue} is there {there} times"));
            }
        }
        Ok(())
    }

    fn explains_messages(
        &self,
        name: &str,
        queue: &KeptQueue,
        found: &FoundQueue,
        now_ms: u64,
        letters: &[KeptMessage],
    ) -> Result<(), String> {
        let mut kept: Vec<&KeptMessage> =
            queue.messages.iter().filter(|message| !message.is_due(now_ms)).collect();
        let known: BTreeSet<MessageId> = kept.iter().map(|message| message.id).collect();
        kept.extend(letters.iter().filter(|letter| !known.contains(&letter.id)));
        let mut found: Vec<(MessageId, bool)> = found.messages.clone();
        if name == DEAD {
            // In whatever order.
            kept.sort_by_key(|message| message.id);
            found.sort_unstable();
        } else {
            // Levels take turns as they like.
            let levels: BTreeMap<MessageId, u8> =
                kept.iter().map(|message| (message.id, message.level)).collect();
            found.sort_by_key(|(id, _)| std::cmp::Reverse(levels.get(id).copied()));
        }
        // Where not the first goes first, the mark says how far the last one was that went.
        let in_order = QueueSettings::of(&queue.declaration.arguments).priority_max.is_none();
        let enqueued = queue.enqueued + letters.len() as u64;
        let exact = in_order && (self.clean || enqueued < EXACT_MARKS_MAX);
        let mut kept = kept.into_iter();
        for (id, redelivered) in &found {
            let message = loop {
                match kept.next() {
                    Some(message) if message.id == *id => break message,
                    Some(missing) if missing.there == Known::Yes => {
                        return Err(format!("message {} is missing before {id}", missing.id));
                    }
                    Some(_may_be_gone) => {}
                    None => return Err(format!("message {id} should not be there")),
                }
            };
            let right = match message.redelivered {
                Known::Yes => *redelivered,
                Known::No => !redelivered || !exact,
                Known::Perhaps => true,
            };
            if !right {
                let delivered = message.redelivered;
                return Err(format!(
                    "message {id}: marked {redelivered}, delivered {delivered:?}, of {enqueued}"
                ));
            }
        }
        match kept.find(|message| message.there == Known::Yes) {
            Some(missing) => Err(format!("message {} is missing at the end", missing.id)),
            None => Ok(()),
        }
    }

    /// What became of the messages that were due by then.
    fn letters(&self, now_ms: u64) -> Vec<KeptMessage> {
        let mut letters = Vec::new();
        let fog = self.queues.get(DEAD).map(|dead| &dead.fog[..]).unwrap_or_default();
        for (name, queue) in &self.queues {
            if QueueSettings::of(&queue.declaration.arguments).dead_lettering.is_none() {
                continue;
            }
            let due = queue.messages.iter().filter(|message| message.is_due(now_ms));
            letters.extend(due.filter_map(|message| {
                let id = letter(message.id, name, "expired")?;
                let redelivered = if fog.is_empty() { Known::No } else { Known::Perhaps };
                let there = if fog.contains(&true) { Known::Perhaps } else { message.there };
                Some(KeptMessage { id, level: 0, redelivered, there, deadline_ms: None })
            }));
        }
        letters
    }

    /// The same with exactly the messages found: what the next life starts from. Where a letter was
    /// found that nobody knew of, and what it was is due, only that is kept: who looked may just have
    /// written it, in a copy, and the next life writes it again, which may take time. So it is where
    /// there is nowhere for letters to go yet.
    pub(crate) fn with(&self, found: &Found, now_ms: u64) -> Snapshot {
        let mut snapshot = self.clone();
        let sure: BTreeSet<MessageId> = (self.queues.get(DEAD).into_iter())
            .flat_map(|dead| &dead.messages)
            .filter(|letter| letter.there == Known::Yes)
            .map(|letter| letter.id)
            .collect();
        // What is marked has been there before.
        let new: BTreeSet<MessageId> = (found.queues.get(DEAD).into_iter())
            .flat_map(|dead| &dead.messages)
            .filter(|(id, redelivered)| !redelivered && !sure.contains(id))
            .map(|(id, _)| *id)
            .collect();
        let nowhere = !found.queues.contains_key(DEAD);
        let mut again = BTreeSet::new();
        for (name, queue) in &mut snapshot.queues {
            let Some(found) = found.queues.get(name) else { continue };
            let known: BTreeMap<MessageId, KeptMessage> =
                queue.messages.iter().map(|kept| (kept.id, *kept)).collect();
            let messages = found.messages.iter().map(|(id, redelivered)| KeptMessage {
                id: *id,
                level: known.get(id).map_or(0, |kept| kept.level),
                redelivered: if *redelivered { Known::Yes } else { Known::No },
                there: Known::Yes,
                deadline_ms: known.get(id).and_then(|kept| kept.deadline_ms),
            });
            let due = queue.messages.iter().filter(|message| {
                let letter = letter(message.id, name, "expired");
                let comes = letter.filter(|letter| nowhere || new.contains(letter));
                message.is_due(now_ms) && comes.is_some_and(|letter| again.insert(letter))
            });
            queue.messages = messages.chain(due.copied()).collect();
            queue.fog.clear();
        }
        if let Some(dead) = snapshot.queues.get_mut(DEAD) {
            dead.messages.retain(|letter| !again.contains(&letter.id));
            // Letters that came after the picture was taken, and before the crash, took their places,
            // even those that no restart finds.
            let others = self.letters(now_ms).into_iter().filter(|it| !again.contains(&it.id));
            dead.enqueued += others.count() as u64;
        }
        snapshot
    }
}
