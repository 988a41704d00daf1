//! A consumer that settles in every way: single and multiple acks, nacks and rejects with and without
//! requeue, messages held for long, and a channel closed now and then with everything still open. Or
//! one that only acks, as fast as it can.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions};
use lapin::{Channel, Connection, Consumer as Deliveries};
use powerloss::Random;
use tokio::time::{sleep, timeout};

use crate::client::{Desk, consume, read};
use crate::message::MessageId;

const PREFETCHES: [u16; 4] = [1, 8, 64, 300];
const PREFETCH_STEADY: u16 = 1_000;

/// Settlements sent before the broker is asked something, so that they are known to be applied.
const UNKNOWN_MAX: usize = 40;
const UNKNOWN_MAX_STEADY: usize = 2_000;

const NEW_CHANNEL_ONE_IN: u64 = 400;

/// Messages that a steady consumer acks together.
const ACKED_TOGETHER: usize = 100;

/// How a consumer settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// In every way there is.
    Fickle,
    /// By acks alone.
    Steady,
}

#[derive(Debug)]
pub(super) struct Consumer {
    desk: Desk,
    queue: String,
    habit: Habit,
    random: Random,
    prefetch: u16,
    number: u64,
    /// Delivered and not settled, oldest first.
    held: Vec<(u64, MessageId)>,
    /// Settled, but nothing answered since.
    unknown: Vec<MessageId>,
}

impl Consumer {
    pub(super) fn new(desk: &Desk, queue: &str, habit: Habit, mut random: Random) -> Self {
        let prefetch = match habit {
            Habit::Fickle => PREFETCHES[random.index(PREFETCHES.len())],
            Habit::Steady => PREFETCH_STEADY,
        };
        let number = desk.next_consumer();
        let (desk, queue) = (desk.clone(), queue.to_owned());
        let (held, unknown) = (Vec::new(), Vec::new());
        Self { desk, queue, habit, random, prefetch, number, held, unknown }
    }

    pub(super) async fn run(mut self, connection: Arc<Connection>) {
        while !self.desk.ending() {
            if let Err(error) = self.consume(&connection).await {
                self.desk.refused("a consumer", &error);
                break;
            }
        }
    }

    /// One channel's life. When it ends, for whatever reason, the broker requeues what is held.
    async fn consume(&mut self, connection: &Connection) -> lapin::Result<()> {
        let channel = connection.create_channel().await?;
        let tag = format!("consumer-{}", self.number);
        let mut deliveries = consume(&channel, &self.queue, &tag, self.prefetch).await?;
        let consumed = self.consume_on(&channel, &mut deliveries).await;
        let held = std::mem::take(&mut self.held);
        self.desk.ledger().closes(&self.queue, held.into_iter().map(|(_, id)| id), self.number);
        self.number = self.desk.next_consumer();
        consumed?;
        channel.close(200, "another channel follows".into()).await?;
        self.desk.ledger().settled(&self.queue, &self.unknown, Instant::now());
        self.unknown.clear();
        Ok(())
    }

    /// Consumes until the end, or until it is time for another channel.
    async fn consume_on(
        &mut self,
        channel: &Channel,
        deliveries: &mut Deliveries,
    ) -> lapin::Result<()> {
        while !self.desk.ending() {
            match timeout(Duration::from_millis(40), deliveries.next()).await {
                Ok(Some(delivery)) => self.take(channel, &delivery?).await?,
                Ok(None) => break,
                // Nothing comes: perhaps because everything is held here.
                Err(_) => {
                    self.ack_all(channel).await?;
                    self.make_known(channel).await?;
                }
            }
            let unknown_max = match self.habit {
                Habit::Fickle => UNKNOWN_MAX,
                Habit::Steady => UNKNOWN_MAX_STEADY,
            };
            if self.unknown.len() >= unknown_max {
                self.make_known(channel).await?;
            }
            if self.habit == Habit::Steady {
                continue;
            }
            if self.random.chance(2) {
                sleep(Duration::from_micros(self.random.below(20_000))).await;
            }
            if self.random.below(NEW_CHANNEL_ONE_IN) == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn take(&mut self, channel: &Channel, delivery: &Delivery) -> lapin::Result<()> {
        let arrival = read(delivery);
        self.desk.ledger().delivered(&self.queue, &arrival, self.number, Instant::now());
        let Some(id) = arrival.id else { return Ok(()) };
        let tag = delivery.delivery_tag;
        self.held.push((tag, id));
        if self.habit == Habit::Steady {
            let enough = self.held.len() >= ACKED_TOGETHER;
            return if enough { self.ack_all(channel).await } else { Ok(()) };
        }
        match self.random.below(100) {
            0..72 => {
                self.settle(id);
                channel.basic_ack(tag, BasicAckOptions { multiple: false }).await
            }
            72..78 => self.ack_all(channel).await,
            78..84 => {
                self.requeue(id);
                let options = BasicNackOptions { multiple: false, requeue: true };
                channel.basic_nack(tag, options).await
            }
            84..87 => {
                self.requeue(id);
                channel.basic_reject(tag, BasicRejectOptions { requeue: true }).await
            }
            87..89 => {
                for (_, id) in std::mem::take(&mut self.held) {
                    self.desk.ledger().requeues(&self.queue, id);
                }
                let options = BasicNackOptions { multiple: true, requeue: true };
                channel.basic_nack(tag, options).await
            }
            89..92 => {
                self.settle(id);
                channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await
            }
            _ => Ok(()),
        }
    }

    fn settle(&mut self, id: MessageId) {
        self.held.retain(|(_, held)| *held != id);
        self.desk.ledger().settles(&self.queue, id);
        self.unknown.push(id);
    }

    fn requeue(&mut self, id: MessageId) {
        self.held.retain(|(_, held)| *held != id);
        self.desk.ledger().requeues(&self.queue, id);
    }

    async fn ack_all(&mut self, channel: &Channel) -> lapin::Result<()> {
        let Some((tag, _)) = self.held.last().copied() else { return Ok(()) };
        for (_, id) in std::mem::take(&mut self.held) {
            self.settle(id);
        }
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await
    }

    /// Asks the broker something on the same channel: when it answers, it has applied the settlements.
    async fn make_known(&mut self, channel: &Channel) -> lapin::Result<()> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        self.desk.ledger().settled(&self.queue, &self.unknown, Instant::now());
        self.unknown.clear();
        Ok(())
    }
}
