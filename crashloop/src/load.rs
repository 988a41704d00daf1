//! The load of one round: publishers with confirms, consumers that settle in every way, holders that
//! don't, and churners that declare, bind, purge and delete. All of it stops by itself when the broker
//! goes.

mod churner;

mod consumer;

mod holder;

mod publisher;

mod shape;

mod fixed;

use std::sync::Arc;
use std::time::Duration;

use lapin::Connection;
use powerloss::Random;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::arguments::Shape;
use crate::client::{Desk, connect};
use consumer::Habit;
use fixed::Ground;
use shape::Profile;

const STOP_LONGEST: Duration = Duration::from_secs(20);

/// A queue of the mixed load that is longer than this gets consumers in any case.
const BACKLOG_MAX: usize = 1500;

/// Everything that is at work.
#[derive(Debug)]
pub(crate) struct Load {
    tasks: JoinSet<()>,
    /// Dropping a connection closes it.
    connections: Vec<Arc<Connection>>,
    /// Those of the publishers.
    publishing: Vec<Arc<Connection>>,
    ground: Arc<Ground>,
}

/// The load did not stop.
#[derive(Debug, thiserror::Error)]
#[error("the clients did not come to an end within {} s", STOP_LONGEST.as_secs())]
pub(crate) struct Stuck;

impl Load {
    /// Declares what the load stands on, then starts all of it.
    pub(crate) async fn start(
        port: u16,
        desk: &Desk,
        (round, shape): (u16, Shape),
        random: &Random,
    ) -> lapin::Result<Self> {
        desk.begin();
        let (ground, profile) = (Arc::new(shape::ground_of(shape)), shape::profile_of(shape));
        let mut load = Self {
            tasks: JoinSet::new(),
            connections: Vec::new(),
            publishing: Vec::new(),
            ground: Arc::clone(&ground),
        };
        let setup = load.connect(port, desk, "setup").await?;
        ground.declare(&load.connections[setup], desk).await?;
        fixed::declare_exclusive(&load.connections[setup], desk, round).await?;
        load.start_holders(port, desk, &ground, &profile, random).await?;
        let fewest = |queue: &str| {
            usize::from(shape == Shape::Mixed && desk.ledger().backlog(queue) > BACKLOG_MAX)
        };
        load.start_consumers(port, desk, &ground, &profile, random, fewest).await?;
        for churner in 0..profile.churners {
            let connection = load.connect(port, desk, "churner").await?;
            let channel = load.connections[connection].create_channel().await?;
            let random = random.branch(100 + u64::from(churner));
            let churner = churner::Churner::new(desk, churner, &profile, random);
            load.tasks.spawn(churner.run(channel));
        }
        for publisher in 0..profile.publishers {
            let connection = load.connect(port, desk, "publisher").await?;
            let channel = load.connections[connection].create_channel().await?;
            load.publishing.push(Arc::clone(&load.connections[connection]));
            let random = random.branch(200 + u64::from(publisher));
            let publisher = publisher::Publisher::new(desk, Arc::clone(&ground), profile, random);
            load.tasks.spawn(publisher.run(channel));
        }
        Ok(load)
    }

    async fn start_holders(
        &mut self,
        port: u16,
        desk: &Desk,
        ground: &Ground,
        profile: &Profile,
        random: &Random,
    ) -> lapin::Result<()> {
        let connection = self.connect(port, desk, "holders").await?;
        let queues: Vec<&str> = ground.durable_queues().collect();
        for holder in 0..profile.holders {
            let mut random = random.branch(300 + u64::from(holder));
            let queue = queues[random.index(queues.len())];
            let holder = holder::Holder::new(desk, queue, random);
            self.tasks.spawn(holder.run(Arc::clone(&self.connections[connection])));
        }
        Ok(())
    }

    /// No consumers, one or two for each queue.
    async fn start_consumers(
        &mut self,
        port: u16,
        desk: &Desk,
        ground: &Ground,
        profile: &Profile,
        random: &Random,
        fewest: impl Fn(&str) -> usize,
    ) -> lapin::Result<()> {
        let connection = self.connect(port, desk, "consumers").await?;
        let mut choice = random.branch(0);
        for (number, queue) in ground.durable_queues().enumerate() {
            let has_any = choice.chance(profile.consumed_per_cent);
            let consumers = if has_any { 1 + choice.index(2) } else { 0 };
            for consumer in 0..consumers.max(fewest(queue)) {
                let steady = choice.chance(profile.steady_per_cent);
                let habit = if steady { Habit::Steady } else { Habit::Fickle };
                let random = random.branch(1000 + (number * 10 + consumer) as u64);
                let consumer = consumer::Consumer::new(desk, queue, habit, random);
                self.tasks.spawn(consumer.run(Arc::clone(&self.connections[connection])));
            }
        }
        Ok(())
    }

    async fn connect(&mut self, port: u16, desk: &Desk, name: &str) -> lapin::Result<usize> {
        self.connections.push(Arc::new(connect(port, desk, name).await?));
        Ok(self.connections.len() - 1)
    }

    /// Whether a publisher has been told to wait.
    pub(crate) fn has_blocked(&self) -> bool {
        self.publishing.iter().any(|connection| connection.status().blocked())
    }

    /// One steady consumer for each durable queue.
    pub(crate) async fn consume_all(
        &mut self,
        port: u16,
        desk: &Desk,
        random: &Random,
    ) -> lapin::Result<()> {
        let connection = self.connect(port, desk, "consumers").await?;
        let ground = Arc::clone(&self.ground);
        for (number, queue) in (0..).zip(ground.durable_queues()) {
            let random = random.branch(number);
            let consumer = consumer::Consumer::new(desk, queue, Habit::Steady, random);
            self.tasks.spawn(consumer.run(Arc::clone(&self.connections[connection])));
        }
        Ok(())
    }

    /// Waits until everybody has noticed the end and written down what they still heard.
    pub(crate) async fn finish(mut self) -> Result<(), Stuck> {
        timeout(STOP_LONGEST, async { while self.tasks.join_next().await.is_some() {} })
            .await
            .ok()
            .ok_or(Stuck)
    }
}
