//! The load of one round: publishers with confirms, consumers that settle in every way, and churners
//! that declare, bind, purge and delete. All of it stops by itself when the broker goes.

mod churner;

mod consumer;

mod publisher;

mod fixed;

use std::sync::Arc;
use std::time::Duration;

use lapin::Connection;
use powerloss::Random;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Desk, connect};

const PUBLISHERS: u16 = 4;
const CHURNERS: u16 = 2;
const STOP_LONGEST: Duration = Duration::from_secs(20);

/// A queue longer than this gets consumers in any case.
const BACKLOG_MAX: usize = 1500;

/// Everything that is at work.
#[derive(Debug)]
pub(crate) struct Load {
    tasks: JoinSet<()>,
    /// Dropping a connection closes it.
    connections: Vec<Arc<Connection>>,
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
        round: u16,
        random: &Random,
    ) -> lapin::Result<Self> {
        desk.begin();
        let mut load = Self { tasks: JoinSet::new(), connections: Vec::new() };
        let setup = load.connect(port, "setup").await?;
        fixed::declare(&load.connections[setup], desk, round).await?;
        let consumers = load.connect(port, "consumers").await?;
        let mut choice = random.branch(0);
        for (number, queue) in fixed::durable_queues().enumerate() {
            let backlog = desk.ledger().backlog(queue);
            let fewest = usize::from(backlog > BACKLOG_MAX);
            for consumer in 0..choice.index(3).max(fewest) {
                let random = random.branch(1000 + (number * 10 + consumer) as u64);
                let consumer = consumer::Consumer::new(desk, queue, random);
                load.tasks.spawn(consumer.run(Arc::clone(&load.connections[consumers])));
            }
        }
        for churner in 0..CHURNERS {
            let connection = load.connect(port, "churner").await?;
            let channel = load.connections[connection].create_channel().await?;
            let random = random.branch(100 + u64::from(churner));
            let publisher = round * (PUBLISHERS + CHURNERS) + PUBLISHERS + churner;
            let churner = churner::Churner::new(desk, churner, publisher, random);
            load.tasks.spawn(churner.run(channel));
        }
        for publisher in 0..PUBLISHERS {
            let connection = load.connect(port, "publisher").await?;
            let channel = load.connections[connection].create_channel().await?;
            let random = random.branch(200 + u64::from(publisher));
            let number = round * (PUBLISHERS + CHURNERS) + publisher;
            let publisher = publisher::Publisher::new(desk, number, random);
            load.tasks.spawn(publisher.run(channel));
        }
        Ok(load)
    }

    async fn connect(&mut self, port: u16, name: &str) -> lapin::Result<usize> {
        self.connections.push(Arc::new(connect(port, name).await?));
        Ok(self.connections.len() - 1)
    }

    /// Waits until everybody has noticed the end and written down what they still heard.
    pub(crate) async fn finish(mut self, desk: &Desk) -> Result<(), Stuck> {
        desk.end();
        timeout(STOP_LONGEST, async { while self.tasks.join_next().await.is_some() {} })
            .await
            .ok()
            .ok_or(Stuck)
    }
}
