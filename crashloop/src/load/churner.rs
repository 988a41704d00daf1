//! Declares, binds, publishes, gets, purges, unbinds and deletes in names of its own, one step after
//! the other on one channel, so that what must be true after each answer is certain.

use std::time::{Duration, Instant};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeleteOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::{Channel, Confirmation};
use powerloss::Random;
use tokio::time::sleep;

use super::fixed::{CHURN, Durability, bind, binding, declare_exchange, declare_queue, unbind};
use super::publisher::publish;
use super::shape::Profile;
use crate::client::{Desk, read};
use crate::ledger::{ExchangeType, Existence};
use crate::message::{Lengths, MessageId};
use crate::violation::Violation;

const QUEUES: u64 = 3;

#[derive(Debug)]
pub(super) struct Churner {
    desk: Desk,
    number: u16,
    publisher: u16,
    published: u32,
    lengths: Lengths,
    published_at_once_max: u64,
    random: Random,
}

impl Churner {
    pub(super) fn new(desk: &Desk, number: u16, profile: &Profile, random: Random) -> Self {
        Self {
            desk: desk.clone(),
            number,
            publisher: desk.next_publisher(),
            published: 0,
            lengths: profile.lengths,
            published_at_once_max: profile.churned_at_once_max,
            random,
        }
    }

    pub(super) async fn run(mut self, channel: Channel) {
        if let Err(error) = self.churn(&channel).await {
            self.desk.refused("a churner", &error);
        }
    }

    async fn churn(&mut self, channel: &Channel) -> lapin::Result<()> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        while !self.desk.ending() {
            let queue = format!("churn-{}.q{}", self.number, self.random.below(QUEUES));
            let exchange = match self.random.below(2) {
                0 => CHURN.to_owned(),
                _ => format!("churn-{}.exchange", self.number),
            };
            if self.there(&queue) {
                self.change(channel, &queue, &exchange).await?;
            } else {
                declare_queue(channel, &self.desk, &queue, Durability::Durable).await?;
            }
            sleep(Duration::from_micros(self.random.below(3000))).await;
        }
        Ok(())
    }

    async fn change(
        &mut self,
        channel: &Channel,
        queue: &str,
        exchange: &str,
    ) -> lapin::Result<()> {
        let bound = binding(exchange, queue, queue);
        let kind = ExchangeType::Direct;
        match self.random.below(100) {
            0..45 => self.publish(channel, exchange, queue).await,
            45..60 => {
                declare_exchange(channel, &self.desk, exchange, kind, Durability::Durable).await?;
                bind(channel, &self.desk, &bound).await
            }
            60..68 if self.exchange_there(exchange) => unbind(channel, &self.desk, &bound).await,
            68..80 => self.get_and_ack(channel, queue).await,
            80..88 => self.get_and_requeue(channel, queue).await,
            88..92 => {
                self.desk.ledger().purges(queue);
                let purged =
                    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
                self.desk.ledger().purged(queue, purged.into());
                Ok(())
            }
            92..96 => {
                self.desk.ledger().deletes_queue(queue);
                channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
                self.desk.ledger().deleted_queue(queue);
                Ok(())
            }
            // The other exchange is shared by all churners.
            96..99 if exchange != CHURN && self.exchange_there(exchange) => {
                self.desk.ledger().deletes_exchange(exchange);
                channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
                self.desk.ledger().deleted_exchange(exchange);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn there(&self, queue: &str) -> bool {
        self.desk.ledger().queue_existence(queue) == Existence::Present
    }

    fn exchange_there(&self, exchange: &str) -> bool {
        self.desk.ledger().exchange_existence(exchange) == Existence::Present
    }

    /// Some messages to a queue, directly or through the exchange; all are confirmed at the end.
    async fn publish(
        &mut self,
        channel: &Channel,
        exchange: &str,
        queue: &str,
    ) -> lapin::Result<()> {
        let mut waiting = Vec::new();
        for _ in 0..self.random.below(self.published_at_once_max) {
            let to = if self.random.chance(50) { exchange } else { "" };
            if !to.is_empty() && !self.exchange_there(to) || self.desk.ending() {
                continue;
            }
            let id = MessageId { publisher: self.publisher, number: self.published };
            self.published += 1;
            let length = self.lengths.any(&mut self.random);
            let random = &mut self.random;
            let confirm = publish(channel, &self.desk, id, (to, queue), length, random).await?;
            waiting.push((id, confirm));
        }
        for (id, confirm) in waiting {
            match confirm.await? {
                Confirmation::Ack(_) => self.desk.ledger().confirmed(id),
                Confirmation::Nack(_) | Confirmation::NotRequested => {
                    let what = format!("the broker did not want to confirm {id}");
                    self.desk.ledger().violations.push(Violation::Refused { what });
                }
            }
        }
        Ok(())
    }

    async fn get_and_ack(&mut self, channel: &Channel, queue: &str) -> lapin::Result<()> {
        let Some((tag, id)) = self.get(channel, queue).await? else { return Ok(()) };
        self.desk.ledger().settles(queue, id);
        channel.basic_ack(tag, BasicAckOptions { multiple: false }).await?;
        channel.basic_qos(0, BasicQosOptions::default()).await?;
        self.desk.ledger().settled(queue, &[id], Instant::now());
        Ok(())
    }

    /// A message that is requeued goes to its old place; nobody else takes from this queue, so it
    /// must be the next one again.
    async fn get_and_requeue(&mut self, channel: &Channel, queue: &str) -> lapin::Result<()> {
        let Some((tag, first)) = self.get(channel, queue).await? else { return Ok(()) };
        self.requeue(channel, queue, tag, first).await?;
        let queue_name = queue.to_owned();
        let Some((tag, again)) = self.get(channel, queue).await? else {
            let lost = Violation::Lost { queue: queue_name, id: first };
            self.desk.ledger().violations.push(lost);
            return Ok(());
        };
        if again != first {
            let reordered = Violation::Reordered { queue: queue_name, first, second: again };
            self.desk.ledger().violations.push(reordered);
        }
        self.requeue(channel, queue, tag, again).await
    }

    async fn requeue(
        &mut self,
        channel: &Channel,
        queue: &str,
        tag: u64,
        id: MessageId,
    ) -> lapin::Result<()> {
        self.desk.ledger().requeues(queue, id);
        channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await
    }

    async fn get(
        &mut self,
        channel: &Channel,
        queue: &str,
    ) -> lapin::Result<Option<(u64, MessageId)>> {
        let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await?;
        let Some(message) = got else { return Ok(None) };
        let arrival = read(&message.delivery);
        self.desk.ledger().delivered(queue, &arrival, self.desk.next_consumer(), Instant::now());
        Ok(arrival.id.map(|id| (message.delivery.delivery_tag, id)))
    }
}
