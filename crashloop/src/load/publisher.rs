//! A publisher with confirms: one channel, a window of unconfirmed messages, every exchange type.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use powerloss::Random;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::fixed::Ground;
use super::shape::Profile;
use crate::client::{Desk, properties_of};
use crate::message::{Content, MessageId, body_of};
use crate::violation::Violation;

const TRANSIENT_PER_CENT: u64 = 10;

#[derive(Debug)]
pub(super) struct Publisher {
    desk: Desk,
    ground: Arc<Ground>,
    profile: Profile,
    number: u16,
    random: Random,
}

impl Publisher {
    pub(super) fn new(desk: &Desk, ground: Arc<Ground>, profile: Profile, random: Random) -> Self {
        Self { desk: desk.clone(), ground, profile, number: desk.next_publisher(), random }
    }

    pub(super) async fn run(mut self, channel: Channel) {
        let windows = self.profile.windows;
        let window = windows[self.random.index(windows.len())];
        let (sender, receiver) = mpsc::channel(window);
        let confirms = tokio::spawn(take_confirms(self.desk.clone(), receiver));
        if let Err(error) = self.publish(&channel, &sender).await {
            self.desk.refused("a publisher", &error);
        }
        drop(sender);
        // Confirms that the broker sent before it went still count.
        if confirms.await.is_err() {
            let what = "a publisher's task ended badly".to_owned();
            self.desk.ledger().violations.push(Violation::Refused { what });
        }
    }

    async fn publish(
        &mut self,
        channel: &Channel,
        confirms: &mpsc::Sender<(MessageId, PublisherConfirm)>,
    ) -> lapin::Result<()> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut bytes = 0;
        for number in 0..self.profile.messages_max {
            if self.desk.ending() || bytes > self.profile.bytes_max {
                break;
            }
            let (exchange, key) =
                &self.ground.targets[self.random.index(self.ground.targets.len())];
            let id = MessageId { publisher: self.number, number };
            let length = self.profile.lengths.any(&mut self.random);
            bytes += length;
            let confirm =
                publish(channel, &self.desk, id, (exchange, key), length, &mut self.random).await?;
            if confirms.send((id, confirm)).await.is_err() {
                break;
            }
            // Bursts and pauses: both the full and the empty broker are to be hit.
            if self.random.chance(self.profile.pause_per_cent) {
                sleep(Duration::from_micros(self.random.below(20_000))).await;
            }
        }
        Ok(())
    }
}

/// Publishes one message of random kind to an exchange with a routing key, after telling the ledger.
pub(super) async fn publish(
    channel: &Channel,
    desk: &Desk,
    id: MessageId,
    (exchange, key): (&str, &str),
    length: usize,
    random: &mut Random,
) -> lapin::Result<PublisherConfirm> {
    let body = body_of(id, length, random);
    let content = Content::of(&body, !random.chance(TRANSIENT_PER_CENT));
    {
        let mut ledger = desk.ledger();
        let queues = ledger.routes(exchange, key);
        ledger.publishes(id, content, queues);
    }
    let options = BasicPublishOptions::default();
    let properties = properties_of(id, &content);
    channel.basic_publish(exchange.into(), key.into(), options, &body, properties).await
}

async fn take_confirms(desk: Desk, mut waiting: mpsc::Receiver<(MessageId, PublisherConfirm)>) {
    while let Some((id, confirm)) = waiting.recv().await {
        match confirm.await {
            Ok(Confirmation::Ack(_)) => desk.ledger().confirmed(id),
            Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => {
                let what = format!("the broker did not want to confirm {id}");
                desk.ledger().violations.push(Violation::Refused { what });
            }
            // The broker is gone; later confirms may have come all the same.
            Err(error) => desk.refused("waiting for a confirm, a publisher", &error),
        }
    }
}
