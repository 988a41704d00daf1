//! What time does to the picture: messages go unread.

use super::queue::{Entry, Known, Whereabouts};
use super::{Checker, QueueKey};
use crate::message::{Content, MessageId, deceased, letter as letter_of};
use crate::vocabulary::DEAD;

/// A message that a queue has given up, until it is certain that its letter is there: the broker may
/// have to read it from the disk first.
#[derive(Clone, Debug)]
pub(crate) struct Dying {
    pub(crate) queue: QueueKey,
    /// Where it was, and how.
    pub(crate) place: u64,
    pub(crate) entry: Entry,
    pub(crate) letter: MessageId,
    /// Whether its letter will be there.
    pub(crate) there: Known,
}

impl Checker {
    /// Time passes. What is due now goes when the broker next does anything.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for queue in self.queues.values_mut().filter(|queue| !queue.deleted) {
            for entry in queue.entries.values_mut() {
                if entry.whereabouts == Whereabouts::Ready && entry.is_due(self.now_ms) {
                    entry.leaving = true;
                }
            }
        }
    }

    /// A turn begins with what is due. What may have been delivered unseen before is in doubt.
    pub(super) fn expire(&mut self) {
        let queues: Vec<QueueKey> = self.queues.keys().copied().collect();
        for key in queues {
            let foggy = self.is_foggy(key);
            let now_ms = self.now_ms;
            let Some(queue) = self.queues.get(&key).filter(|queue| !queue.deleted) else {
                continue;
            };
            let due: Vec<u64> = queue
                .ready()
                .filter(|(_, entry)| entry.is_due(now_ms))
                .map(|(place, _)| place)
                .collect();
            for place in due {
                self.give_up(
                    key,
                    place,
                    "expired",
                    if foggy { Known::Perhaps } else { Known::Yes },
                );
            }
        }
    }

    /// A queue gives a message up; where it may be with somebody instead, both are possible.
    pub(super) fn give_up(&mut self, key: QueueKey, place: u64, reason: &str, surely: Known) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        let Some(entry) = queue.entries.get_mut(&place) else { return };
        entry.leaving = true;
        let perhaps_died = std::mem::replace(&mut entry.perhaps_died, surely != Known::Yes);
        let there = if surely == Known::Yes { entry.there } else { Known::Perhaps };
        let message = entry.message;
        let gone = entry.clone();
        let letter = queue.settings.dead_lettering.as_ref();
        let letter = letter.and_then(|_| letter_of(message, &queue.name, reason));
        if surely == Known::Yes {
            queue.remove(place);
        }
        if perhaps_died {
            // What became of the letter was for others to say since.
            return;
        }
        let Some(letter) = letter else { return };
        if surely == Known::Yes {
            self.dying.push(Dying { queue: key, place, entry: gone, letter, there });
        }
        self.write_letter(letter, message);
    }

    /// A letter may come.
    fn write_letter(&mut self, letter: MessageId, message: MessageId) {
        let Some(content) = self.messages.content(message) else { return };
        let content = Content { expiration_ms: None, ..content.clone() };
        let Some(dead) = self.names.get(DEAD).and_then(|key| self.queues.get_mut(key)) else {
            return;
        };
        if dead.place(letter).is_none() {
            dead.enqueue(letter, &content, (self.turn, 0));
        }
        let Some(place) = dead.place(letter) else { return };
        if let Some(entry) = dead.entries.get_mut(&place)
            && entry.whereabouts == Whereabouts::Ready
        {
            entry.there = Known::Perhaps;
        }
    }

    /// Everything that was given up has become what it becomes.
    pub(crate) fn bury(&mut self) {
        let dying = std::mem::take(&mut self.dying);
        let Some(dead) = self.names.get(DEAD).and_then(|key| self.queues.get_mut(key)) else {
            return;
        };
        for Dying { letter, there, .. } in dying {
            if let Some(place) = dead.place(letter)
                && let Some(entry) = dead.entries.get_mut(&place)
                && entry.whereabouts == Whereabouts::Ready
            {
                entry.there = there;
            }
        }
    }

    /// There is a new queue for letters: those that are still to come go there.
    pub(super) fn redirect_letters(&mut self) {
        for Dying { letter, entry, .. } in self.dying.clone() {
            self.write_letter(letter, entry.message);
        }
    }

    /// The letters that are there are dropped; those that are still to come are not.
    pub(super) fn spare_letters_to_come(&mut self) {
        self.redirect_letters();
        for dying in &mut self.dying {
            dying.there = Known::Perhaps;
        }
    }

    /// A letter is there: who was to die in this turn is dead by now.
    pub(super) fn die_by_now(&mut self, message: MessageId) {
        let Some((message, queue)) = deceased(message) else { return };
        let Some(key) = self.names.get(queue).copied() else { return };
        let Some(state) = self.queues.get(&key) else { return };
        let Some(place) = state.place(message) else { return };
        let leaving = state
            .entries
            .get(&place)
            .is_some_and(|entry| entry.leaving && entry.whereabouts == Whereabouts::Ready);
        if leaving {
            self.give_up(key, place, "expired", Known::Yes);
        }
    }

    /// What is due and may have become letters in this very turn.
    pub(super) fn letters_to_come(&self) -> u64 {
        let lettered = self.queues.values().filter(|queue| {
            !queue.deleted && queue.settings.dead_lettering.is_some() && !queue.is_mixed()
        });
        let leaving = lettered.flat_map(|queue| queue.ready().filter(|(_, entry)| entry.leaving));
        leaving.count() as u64
    }

    /// Somebody has a message: if it is a letter, what it was is gone.
    pub(super) fn dies_once(&mut self, message: MessageId) {
        self.dying.retain(|dying| dying.letter != message);
        let Some((message, queue)) = deceased(message) else { return };
        let source = self.names.get(queue).and_then(|key| self.queues.get_mut(key));
        let Some(source) = source else { return };
        if let Some(place) = source.place(message)
            && source.entries.get(&place).is_some_and(|it| it.whereabouts == Whereabouts::Ready)
        {
            source.remove(place);
        }
    }

    /// Somebody has a message: it did not become a letter.
    pub(super) fn lives_yet(&mut self, queue: QueueKey, message: MessageId) {
        let Some(name) = self.queues.get(&queue).map(|queue| queue.name.clone()) else { return };
        let dead = self.names.get(DEAD).and_then(|key| self.queues.get_mut(key));
        if let (Some(letter), Some(dead)) = (letter_of(message, &name, "expired"), dead)
            && let Some(place) = dead.place(letter)
        {
            dead.remove(place);
        }
    }
}
