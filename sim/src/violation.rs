//! What a broker can do wrong in the eyes of its clients. Each rule is a promise; a violation names
//! the rule and shows where it was broken.

/// The promises that every run is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The broker starts on whatever a crash left.
    Starts,
    /// What was durable is there after a restart: messages, in order, and topology; nothing else is.
    Recovers,
    /// A message arrives exactly as it was published.
    Intact,
    /// Nothing is confirmed or answered before the journal has it.
    SafeBeforeTold,
    /// Every publish is confirmed once, in order, without gaps.
    ConfirmedInOrder,
    /// A returned message comes back before its confirm.
    ReturnedBeforeConfirm,
    /// Requests are answered in order, each with the answer that it deserves.
    Answered,
    /// Delivery tags count from 1 without gaps.
    TagsConsecutive,
    /// A message is with one consumer at a time, and with nobody once it is settled.
    DeliveredOnce,
    /// What has waited too long is gone.
    Expired,
    /// A queue hands out in its order; what returned goes to its old place.
    DeliveredInOrder,
    /// Nobody holds more unsettled deliveries than asked for.
    PrefetchKept,
    /// Nothing comes for what is over: a cancelled consumer, a closed channel, an ended session.
    OverIsOver,
    /// What was delivered before is marked, and nothing else.
    RedeliveredMark,
    /// Whoever waits is served: nothing hangs when there is nothing left to do.
    NothingHangs,
    /// Sessions are woken when something waits for them.
    Woken,
    /// A broker that can't write says so to everybody, and stays silent about safety from then on.
    PoisonTold,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?}: {detail}")]
pub struct Violation {
    /// Which promise.
    pub rule: Rule,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    pub(crate) fn new(rule: Rule, detail: String) -> Violation {
        Violation { rule, detail }
    }
}

/// Breaks a rule, with the detail in words.
macro_rules! broken {
    ($rule:ident, $($detail:tt)*) => {
        Err($crate::violation::Violation::new($crate::violation::Rule::$rule, format!($($detail)*)))
    };
}

/// Demands something by a rule.
macro_rules! demand {
    ($holds:expr, $rule:ident, $($detail:tt)*) => {
        if !$holds {
            return broken!($rule, $($detail)*);
        }
    };
}

pub(crate) use {broken, demand};
