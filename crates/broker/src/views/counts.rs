//! What is counted of messages since the start, and how much of it per second lately.

use crate::rate::per_second;

/// A struct of counters, and the same of rates.
macro_rules! counts {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name<N = u64> {
            $($(#[$field_doc])* pub $field: N,)+
        }

        impl Counted for $name {
            type Rates = $name<f64>;

            fn per_second(&self, before: &$name, elapsed_ms: u64) -> $name<f64> {
                let rate = |now: u64, before: u64| per_second(now, before, elapsed_ms);
                $name { $($field: rate(self.$field, before.$field),)+ }
            }
        }

        impl<N: std::ops::AddAssign + Copy> $name<N> {
            /// Adds what others counted.
            pub fn add(&mut self, other: &$name<N>) {
                $(self.$field += other.$field;)+
            }
        }
    };
}

/// What can be told per second.
pub(crate) trait Counted: Clone + Copy + Default + PartialEq {
    /// The same per second.
    type Rates: Clone + Copy + Default + PartialEq;

    /// How much came per second since `before`.
    fn per_second(&self, before: &Self, elapsed_ms: u64) -> Self::Rates;
}

counts! {
    /// What happened to messages. What does not concern whoever counts stays zero: a queue confirms
    /// nothing, a channel purges nothing.
    MessageCounts {
        /// Published on the channel; for a queue: came into it.
        published,
        /// Confirmed to their publishers.
        confirmed,
        /// No queue took them, and they were returned to their publisher.
        returned,
        /// No queue took them, and nobody wanted them back.
        unroutable_dropped,
        /// Delivered to consumers that acknowledge.
        delivered,
        /// Delivered to consumers that need not acknowledge.
        delivered_no_ack,
        /// Got one by one, to be acknowledged.
        got,
        /// Got one by one, settled by being sent.
        got_no_ack,
        /// Asked for one, and there was none.
        got_nothing,
        /// Of those delivered or got: those that may have been before.
        redelivered,
        /// Acknowledged by their consumers.
        acknowledged,
        /// Came back to their queue unsettled.
        requeued,
        /// Rejected for good.
        rejected,
        /// Waited too long.
        expired,
        /// Went because the queue had too many.
        overflowed,
        /// Failed too often.
        failed,
        /// Were refused by a queue that is full.
        refused,
        /// Left their queue as dead letters.
        dead_lettered,
        /// Were purged, or went with their queue.
        purged,
    }
}

counts! {
    /// What went through an exchange.
    ExchangeCounts {
        /// Messages published to it.
        published_in,
        /// Copies of them that went into queues.
        published_out,
    }
}

impl<N: std::ops::Add<Output = N> + Copy> MessageCounts<N> {
    /// All that were handed out: delivered or got, to be acknowledged or not.
    pub fn handed_out(&self) -> N {
        self.delivered + self.delivered_no_ack + self.got + self.got_no_ack
    }
}

/// Counts, and how fast they grew between the last two samples.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally<C: Counted> {
    pub(crate) counts: C,
    pub(crate) rates: C::Rates,
    /// The counts at the last sample.
    sampled: C,
    /// It stands in the list of those to be sampled.
    pub(crate) listed: bool,
    /// The number of the last sample.
    round: u64,
}

impl<C: Counted> Tally<C> {
    /// Takes a sample; says whether anything had happened. What rests leaves the list.
    pub(crate) fn sample(&mut self, round: Round) -> Activity {
        if self.round == round.number {
            // It was listed twice.
            return Activity::Idle;
        }
        self.round = round.number;
        self.rates = self.counts.per_second(&self.sampled, round.elapsed_ms);
        let activity = if self.counts == self.sampled { Activity::Idle } else { Activity::Busy };
        self.listed = activity == Activity::Busy;
        self.sampled = self.counts;
        activity
    }
}

/// One look at everything that has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// Growing, from 1.
    pub(crate) number: u64,
    /// Since the one before.
    pub(crate) elapsed_ms: u64,
}

/// Whether anything happened between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    Busy,
    Idle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_two_samples() {
        let mut tally = Tally::<MessageCounts>::default();
        for (number, (published, elapsed_ms, rate, activity)) in (1..).zip([
            (0, 5_000, 0.0, Activity::Idle),
            (500, 5_000, 100.0, Activity::Busy),
            (25, 2_500, 10.0, Activity::Busy),
            (0, 5_000, 0.0, Activity::Idle),
            (7, 0, 0.0, Activity::Busy),
        ]) {
            tally.counts.published += published;
            let round = Round { number, elapsed_ms };
            assert_eq!(tally.sample(round), activity, "{published}");
            assert_eq!(tally.listed, activity == Activity::Busy);
            // Once is enough.
            assert_eq!(tally.sample(round), Activity::Idle);
            assert!((tally.rates.published - rate).abs() < 1e-9, "{published}: {:?}", tally.rates);
        }
    }
}
