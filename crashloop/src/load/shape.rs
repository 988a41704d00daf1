//! What the load of a round is like: who is at work, on which queues, with which messages. All
//! shapes leave their queues behind for the rounds after them.

use super::fixed::{self, Ground};
use crate::arguments::Shape;
use crate::ledger::ExchangeType;
use crate::message::Lengths;

/// The fan-out of the many queues leads to one in so many of them.
const MANY_FANNED_ONE_IN: usize = 10;

const MANY_QUEUES: usize = 300;
const DEEP_QUEUES: usize = 3;
const LARGE_QUEUES: usize = 2;
const FULL_QUEUES: usize = 3;

/// What the load stands on.
pub(super) fn ground_of(shape: Shape) -> Ground {
    match shape {
        Shape::Mixed => fixed::ground(),
        Shape::Deep => fanned("cl.deep", DEEP_QUEUES, 2),
        Shape::Many => fanned("cl.many", MANY_QUEUES, MANY_FANNED_ONE_IN),
        Shape::Large => fanned("cl.large", LARGE_QUEUES, 1),
        Shape::Full => fanned("cl.full", FULL_QUEUES, FULL_QUEUES),
    }
}

pub(super) fn profile_of(shape: Shape) -> Profile {
    let mixed = Profile {
        publishers: 4,
        windows: &[1, 16, 256],
        lengths: Lengths::Usual,
        messages_max: u32::MAX,
        bytes_max: usize::MAX,
        pause_per_cent: 10,
        churners: 2,
        churned_at_once_max: 12,
        holders: 2,
        consumed_per_cent: 67,
        steady_per_cent: 0,
    };
    match shape {
        Shape::Mixed => mixed,
        Shape::Deep => Profile {
            windows: &[1_000, 4_000],
            lengths: Lengths::Small,
            messages_max: 100_000,
            pause_per_cent: 0,
            churned_at_once_max: 3_000,
            consumed_per_cent: 30,
            steady_per_cent: 80,
            ..mixed
        },
        Shape::Many => Profile {
            windows: &[16, 1_000],
            lengths: Lengths::Small,
            pause_per_cent: 0,
            churned_at_once_max: 100,
            holders: 5,
            consumed_per_cent: 15,
            steady_per_cent: 30,
            ..mixed
        },
        // Many at once: what all of them have on their way must not be in the way of settlements.
        Shape::Full => Profile {
            publishers: 6,
            windows: &[64, 1_000],
            pause_per_cent: 0,
            churners: 0,
            holders: 0,
            consumed_per_cent: 0,
            ..mixed
        },
        Shape::Large => Profile {
            publishers: 2,
            windows: &[1, 4, 16],
            lengths: Lengths::Any,
            bytes_max: 48 << 20,
            churners: 1,
            holders: 1,
            steady_per_cent: 50,
            ..mixed
        },
    }
}

/// Who is at work, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    pub(super) publishers: u16,
    /// Unconfirmed messages that a publisher may have; each chooses one.
    pub(super) windows: &'static [usize],
    pub(super) lengths: Lengths,
    /// A publisher ends after so many messages.
    pub(super) messages_max: u32,
    /// And after so many bytes.
    pub(super) bytes_max: usize,
    /// How often a publisher pauses.
    pub(super) pause_per_cent: u64,
    pub(super) churners: u16,
    /// Messages that a churner publishes in one step.
    pub(super) churned_at_once_max: u64,
    /// Consumers that take messages and keep them until the end.
    pub(super) holders: u16,
    /// Queues that have consumers.
    pub(super) consumed_per_cent: u64,
    /// Of these, those whose consumers only ack.
    pub(super) steady_per_cent: u64,
}

/// Durable queues, published to directly, and one in `one_in` of them through a fan-out as well.
fn fanned(prefix: &str, queues: usize, one_in: usize) -> Ground {
    let exchange = format!("{prefix}-fan");
    let names: Vec<String> = (0..queues).map(|queue| format!("{prefix}-{queue}")).collect();
    let fanned = names.iter().step_by(one_in);
    let bindings = fanned.map(|queue| (exchange.clone(), queue.clone(), queue.clone())).collect();
    let mut targets: Vec<(String, String)> =
        names.iter().map(|queue| (String::new(), queue.clone())).collect();
    let shared = (exchange.clone(), "any".to_owned());
    targets.extend(std::iter::repeat_n(shared, queues.div_ceil(20)));
    Ground {
        exchanges: vec![(exchange, ExchangeType::Fanout, true)],
        queues: names.into_iter().map(|queue| (queue, true)).collect(),
        bindings,
        targets,
    }
}
