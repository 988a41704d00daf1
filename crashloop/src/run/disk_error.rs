//! Rounds on a disk that fails: a write or a sync gets an error in the middle of the load. The
//! virtual host it concerns says so, once, and takes no more writes, while the other goes on as if
//! nothing were; a restart on a sound disk has everything that was confirmed.

use std::time::{Duration, Instant};

use lapin::Confirmation;
use tokio::time::{sleep, timeout};

use super::disk_full::within;
use super::{Run, RunError};
use crate::client::{Desk, confirm_one};
use crate::disk::Behaviour;
use crate::ledger::Unmarked;
use crate::process::Broker;
use crate::violation::Violation;

/// How long a failure may go unnoticed. It may wait for a write that comes late.
const NOTICED_LATEST: Duration = Duration::from_secs(10);

/// What the log says of it.
const REASON: &str = "the journal can't be written any more";

/// What clients are told.
const TOLD: &str = "what is confirmed is safe";

/// The write or sync that fails is one of so many.
const NTH_MAX: u64 = 12;

impl Run {
    /// Lets the disk fail under load, and ends the broker. False if it would not.
    pub(super) async fn fail_and_end(
        &mut self,
        broker: Broker,
        round: u32,
    ) -> Result<bool, RunError> {
        let mut random = self.random.branch(u64::from(round));
        let shapes = self.shapes_of(round);
        let Some(loads) = self.start_loads(&broker, round, &shapes).await else {
            self.ended(&broker.kill(&self.recipe).await);
            return Ok(false);
        };
        let micros = u64::try_from(self.load_longest.as_micros()).unwrap_or(u64::MAX);
        sleep(Duration::from_micros(random.below(micros / 2))).await;
        self.vhosts.expect_refusals();
        let reasons_before = self.recipe.log_lines_with(REASON);
        let failed_at = Instant::now();
        let nth = 1 + random.below(NTH_MAX);
        let write = random.chance(50);
        self.disk.behave(if write {
            Behaviour::FailWrite(nth)
        } else {
            Behaviour::FailSync(nth)
        })?;
        let recipe = &self.recipe;
        let reasons = || recipe.log_lines_with(REASON) - reasons_before;
        let mut missing = Vec::new();
        if !within(NOTICED_LATEST, || reasons() > 0).await {
            missing.push("nobody said that it failed".to_owned());
        }
        let vhosts = &self.vhosts;
        let told = || vhosts.refusals().iter().any(|text| text.contains(TOLD));
        if !within(NOTICED_LATEST, told).await {
            missing.push(format!("no client was told why, but {:?}", vhosts.refusals()));
        }
        if reasons() > 1 {
            missing.push(format!("the reason was told {} times", reasons()));
        }
        missing.extend(self.others_complaint(&broker).await);
        for what in missing {
            let what = format!("{} {nth} failed: {what}", if write { "write" } else { "sync" });
            self.vhosts.complain(Violation::Process { what });
        }
        self.vhosts.end();
        let ended = broker.kill(&self.recipe).await;
        self.finish(loads).await;
        self.vhosts.restarts(failed_at, self.ack_grace, Unmarked::IsCounted);
        self.disk.behave(Behaviour::Sound)?;
        Ok(self.ended(&ended))
    }

    /// What is wrong with the virtual hosts whose disk is sound: there is one, its clients hear
    /// nothing of it, and it still takes what it has to write down.
    async fn others_complaint(&self, broker: &Broker) -> Option<String> {
        let told = |desk: &&Desk| desk.refusals().iter().any(|text| text.contains(TOLD));
        let mut others = self.vhosts.desks.iter().filter(|desk| !told(desk));
        let Some(other) = others.next() else {
            return Some("every virtual host stopped, also the one whose disk is sound".to_owned());
        };
        let confirmed = timeout(NOTICED_LATEST, confirm_one(broker.port, other)).await;
        let what = match confirmed {
            Ok(Ok(Confirmation::Ack(_))) if other.refusals().is_empty() => return None,
            Ok(Ok(Confirmation::Ack(_))) => format!("clients were told {:?}", other.refusals()),
            Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => {
                "a message was not confirmed".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "nothing was confirmed for long".to_owned(),
        };
        Some(format!("the virtual host whose disk is sound did not go on: {what}"))
    }
}
