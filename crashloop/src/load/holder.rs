//! A consumer that takes some messages and keeps them: they lie open across everything that the others
//! do, and come back marked when the broker or the channel ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::{Connection, Consumer};
use powerloss::Random;
use tokio::time::timeout;

use crate::client::{Desk, consume, read};
use crate::message::MessageId;

const HELD: [u16; 3] = [1, 30, 1_000];

#[derive(Debug)]
pub(super) struct Holder {
    desk: Desk,
    queue: String,
    held_max: u16,
    number: u64,
    held: Vec<MessageId>,
}

impl Holder {
    pub(super) fn new(desk: &Desk, queue: &str, mut random: Random) -> Self {
        let held_max = HELD[random.index(HELD.len())];
        let number = desk.next_consumer();
        Self { desk: desk.clone(), queue: queue.to_owned(), held_max, number, held: Vec::new() }
    }

    pub(super) async fn run(mut self, connection: Arc<Connection>) {
        if let Err(error) = self.hold(&connection).await {
            self.desk.refused("a holder", &error);
        }
    }

    async fn hold(&mut self, connection: &Connection) -> lapin::Result<()> {
        let channel = connection.create_channel().await?;
        let tag = format!("holder-{}", self.number);
        let mut deliveries = consume(&channel, &self.queue, &tag, self.held_max).await?;
        let held = self.hold_on(&mut deliveries).await;
        self.desk.ledger().closes(&self.queue, std::mem::take(&mut self.held), self.number);
        held?;
        channel.close(200, "held long enough".into()).await
    }

    async fn hold_on(&mut self, deliveries: &mut Consumer) -> lapin::Result<()> {
        while !self.desk.ending() {
            let Ok(next) = timeout(Duration::from_millis(40), deliveries.next()).await else {
                continue;
            };
            let Some(delivery) = next else { break };
            let arrival = read(&delivery?);
            self.desk.ledger().delivered(&self.queue, &arrival, self.number, Instant::now());
            self.held.extend(arrival.id);
        }
        Ok(())
    }
}
