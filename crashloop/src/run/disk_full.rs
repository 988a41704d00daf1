//! Rounds on a small disk: publishers fill it and are blocked, consumers go on, and when there is
//! room again everything resumes by itself. The broker is killed before, during or after that.

use std::time::{Duration, Instant};

use powerloss::Random;
use tokio::time::sleep;

use super::{Run, RunError};
use crate::disk::Behaviour;
use crate::ledger::Unmarked;
use crate::load::Load;
use crate::process::Broker;
use crate::violation::Violation;

/// What there is room for beside what is there already.
const ROOM_BYTES: u64 = 48 << 20;

/// What somebody else leaves of the disk when he fills it all at once, at most.
const LEFT_BYTES_MAX: u64 = 256 << 10;

/// How long the broker may take for anything that it has to do by itself.
const LATEST: Duration = Duration::from_secs(20);

/// Nobody publishes if nobody has for so long.
const STOPPED_FOR: Duration = Duration::from_millis(200);

/// Messages that consumers must get while publishers are blocked.
const DELIVERED_MIN: u64 = 50;

/// How the disk gets full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    /// By what is published.
    Published,
    /// By somebody else, all at once.
    Sudden,
}

/// How there is room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relief {
    /// Consumers take what is there.
    Drained,
    /// The disk grows.
    Grown,
}

/// When the broker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Blocked,
    Consumed,
    Resumed,
}

/// What a round is like.
#[derive(Clone, Copy, Debug)]
struct Plan {
    filling: Filling,
    relief: Relief,
    end: End,
}

impl Plan {
    /// The first rounds show everything that there is.
    fn of(round: u32, random: &mut Random) -> Self {
        let (filling, relief, end) = match round {
            0 => (Filling::Published, Relief::Drained, End::Resumed),
            1 => (Filling::Sudden, Relief::Grown, End::Resumed),
            2 => (Filling::Sudden, Relief::Grown, End::Consumed),
            _ => (
                if random.chance(50) { Filling::Published } else { Filling::Sudden },
                if random.chance(50) { Relief::Drained } else { Relief::Grown },
                [End::Blocked, End::Consumed, End::Resumed][random.index(3)],
            ),
        };
        Self { filling, relief, end }
    }
}

impl Run {
    /// Lets the disk get full, and ends the broker. False if it would not.
    pub(super) async fn fill_and_end(
        &mut self,
        broker: Broker,
        round: u32,
    ) -> Result<bool, RunError> {
        let mut random = self.random.branch(u64::from(round));
        let plan = Plan::of(round, &mut random);
        let capacity_bytes = self.disk.used_bytes() + ROOM_BYTES;
        self.disk.behave(Behaviour::Capacity(capacity_bytes))?;
        let shapes = self.shapes_of(round);
        let Some(mut loads) = self.start_loads(&broker, round, &shapes).await else {
            self.ended(&broker.kill(&self.recipe).await);
            return Ok(false);
        };
        let missing = self.fill(&broker, &mut loads, plan, &mut random).await?;
        if let Some(what) = missing {
            let what = format!("on a full disk ({plan:?}): {what}");
            self.vhosts.complain(Violation::Refused { what });
        }
        self.vhosts.end();
        // What was acknowledged was written down, however full the disk is.
        let known_at = Instant::now();
        let ended = broker.kill(&self.recipe).await;
        self.finish(loads).await;
        self.vhosts.restarts(known_at, self.ack_grace, Unmarked::IsCounted);
        let ended = self.ended(&ended);
        if random.chance(50) {
            // A start must do with what there is; what is compared then needs room.
            self.disk.behave(Behaviour::Sound)?;
        }
        Ok(ended)
    }

    /// Plays a round up to its end; gives what did not happen.
    async fn fill(
        &mut self,
        broker: &Broker,
        loads: &mut [Load],
        plan: Plan,
        random: &mut Random,
    ) -> Result<Option<&'static str>, RunError> {
        if plan.filling == Filling::Sudden {
            sleep(Duration::from_millis(random.below(400))).await;
            let left_bytes = random.below(LEFT_BYTES_MAX);
            self.disk.behave(Behaviour::Capacity(self.disk.used_bytes() + left_bytes))?;
        }
        if !self.is_stopped(loads).await {
            return Ok(Some("publishers were not blocked"));
        }
        if plan.end == End::Blocked {
            return Ok(None);
        }
        let delivered = self.vhosts.delivered();
        for (part, (load, desk)) in (0..).zip(loads.iter_mut().zip(&self.vhosts.desks)) {
            if let Err(error) = load.consume_all(broker.port, desk, &random.branch(part)).await {
                desk.refused("a consumer on a full disk", &error);
            }
        }
        let vhosts = &self.vhosts;
        let goes_on = || {
            let now = vhosts.delivered();
            delivered.iter().zip(now).all(|(before, now)| before + DELIVERED_MIN <= now)
        };
        if !within(LATEST, goes_on).await {
            return Ok(Some("consumers did not go on"));
        }
        if plan.end == End::Consumed {
            // Some settlements are old enough by then to be durable.
            sleep(Duration::from_millis(random.below(1_500))).await;
            return Ok(None);
        }
        if plan.relief == Relief::Grown {
            self.disk.behave(Behaviour::Sound)?;
        }
        // More than was on its way before.
        let published = vhosts.published();
        let resumed =
            || published.iter().zip(vhosts.confirmed()).all(|(before, now)| *before < now);
        if !within(LATEST, resumed).await {
            return Ok(Some("publishers did not go on"));
        }
        sleep(Duration::from_millis(random.below(300))).await;
        Ok(None)
    }
}

impl Run {
    /// Waits until publishers are told to wait and nobody publishes. One that waits for its confirms
    /// publishes nothing and is not told.
    async fn is_stopped(&self, loads: &[Load]) -> bool {
        let started = Instant::now();
        while started.elapsed() < LATEST {
            let published = self.vhosts.published();
            sleep(STOPPED_FOR).await;
            let stopped = published == self.vhosts.published();
            if stopped && loads.iter().any(Load::has_blocked) {
                return true;
            }
        }
        false
    }
}

/// Waits for something, not longer than that.
pub(super) async fn within(latest: Duration, happens: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !happens() {
        if started.elapsed() > latest {
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    true
}
