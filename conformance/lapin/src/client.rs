//! A connection with one channel in confirm mode, and the few operations the tests are made of.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_lite::StreamExt;
use lapin::message::{BasicReturnMessage, Delivery};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind, PublisherConfirm,
};
use tokio::time::{sleep, timeout};

use crate::{Missing, Outcome};

/// How long a test waits for what must come.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

const CONSUMER: Missing = Missing("the consumer ended while deliveries were awaited");

/// `delivery_mode` of a message that survives.
pub const PERSISTENT: u8 = 2;

/// What was awaited and did not come.
#[derive(Debug, thiserror::Error)]
#[error("{0} did not come within {WAIT_MAX:?}")]
pub struct Late(&'static str);

/// The value of `future`, unless it takes longer than a test can wait.
pub async fn soon<F: Future>(what: &'static str, future: F) -> Result<F::Output, Late> {
    timeout(WAIT_MAX, future).await.map_err(|_elapsed| Late(what))
}

/// A name nobody else uses, so that tests may share a broker.
pub fn unique(kind: &str) -> String {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    let number = GIVEN.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("lapin-{kind}-{:x}-{:x}-{number}", std::process::id(), now.as_micros())
}

/// A connection and its channel, in confirm mode.
pub struct Client {
    /// The connection, for tests that need more channels or its end.
    pub connection: Connection,
    /// The channel all operations go through.
    pub channel: Channel,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("channel", &self.channel.id())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and opens a channel in confirm mode.
    pub async fn open(url: &str) -> Outcome<Self> {
        let properties = ConnectionProperties::default();
        let connection = soon("a connection", Connection::connect(url, properties)).await??;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel })
    }

    /// Closes the connection, as a program does that is done.
    pub async fn close(self) -> lapin::Result<()> {
        self.connection.close(200, "done".into()).await
    }

    /// Declares a transient queue under a new name.
    pub async fn queue(&self, kind: &str) -> lapin::Result<String> {
        let name = unique(kind);
        self.declare(&name, QueueDeclareOptions::default()).await?;
        Ok(name)
    }

    /// Declares a queue and tells how many ready messages it has.
    pub async fn declare(&self, name: &str, options: QueueDeclareOptions) -> lapin::Result<u32> {
        let table = FieldTable::default();
        let queue = self.channel.queue_declare(name.into(), options, table).await?;
        Ok(queue.message_count())
    }

    /// How many messages are ready; refused with 404 when the queue is missing.
    pub async fn ready(&self, name: &str) -> lapin::Result<u32> {
        self.declare(name, QueueDeclareOptions { passive: true, ..Default::default() }).await
    }

    /// Waits until exactly `count` messages are ready.
    pub async fn ready_becomes(&self, name: &str, count: u32) -> Outcome {
        soon("the number of ready messages", async {
            while self.ready(name).await? != count {
                sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        })
        .await?
    }

    /// Deletes a queue and tells how many messages went with it.
    pub async fn delete(&self, queue: &str) -> lapin::Result<u32> {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await
    }

    /// Declares a transient exchange under a new name.
    pub async fn exchange(&self, kind: ExchangeKind) -> lapin::Result<String> {
        let name = unique("exchange");
        let (options, table) = (ExchangeDeclareOptions::default(), FieldTable::default());
        self.channel.exchange_declare(name.as_str().into(), kind, options, table).await?;
        Ok(name)
    }

    /// Deletes an exchange.
    pub async fn delete_exchange(&self, name: &str) -> lapin::Result<()> {
        self.channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
        let (options, table) = (QueueBindOptions::default(), FieldTable::default());
        self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, table).await
    }

    /// Sends a persistent message to a queue; the confirm is left to the caller.
    pub async fn send(&self, queue: &str, body: &str) -> lapin::Result<PublisherConfirm> {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions::default();
        self.channel
            .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties)
            .await
    }

    /// Sends all numbers of `range` to a queue, and waits for their confirms.
    pub async fn send_numbers(
        &self,
        queue: &str,
        range: std::ops::Range<u32>,
    ) -> lapin::Result<()> {
        for number in range {
            // Dropped, a confirm is kept for `wait_for_confirms`.
            drop(self.send(queue, &number.to_string()).await?);
        }
        self.channel.wait_for_confirms().await?;
        Ok(())
    }

    /// Publishes a mandatory message, and gives it back if the broker did.
    pub async fn publish_mandatory(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
    ) -> Outcome<Option<BasicReturnMessage>> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirm = self
            .channel
            .basic_publish(exchange.into(), key.into(), options, body, BasicProperties::default())
            .await?;
        let confirmation: Confirmation = soon("a confirm", confirm).await??;
        Ok(confirmation.take_message())
    }

    /// The next message of a queue, taken for good.
    pub async fn get(&self, queue: &str) -> lapin::Result<Option<Delivery>> {
        let options = BasicGetOptions { no_ack: true };
        let message = self.channel.basic_get(queue.into(), options).await?;
        Ok(message.map(|message| message.delivery))
    }

    /// The bodies of all ready messages, taken for good.
    pub async fn get_all(&self, queue: &str) -> lapin::Result<Vec<String>> {
        let mut bodies = Vec::new();
        while let Some(delivery) = self.get(queue).await? {
            bodies.push(body(&delivery));
        }
        Ok(bodies)
    }

    /// Subscribes, with `prefetch` deliveries outstanding at most; 0 is no bound.
    pub async fn consume(&self, queue: &str, prefetch: u16) -> lapin::Result<Consumer> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
        self.channel.basic_consume(queue.into(), "".into(), options, table).await
    }
}

/// The next delivery.
pub async fn next(consumer: &mut Consumer) -> Outcome<Delivery> {
    let delivery = soon("a delivery", consumer.next()).await?;
    Ok(delivery.ok_or(CONSUMER)??)
}

/// The next `count` deliveries, not acknowledged.
pub async fn next_many(consumer: &mut Consumer, count: usize) -> Outcome<Vec<Delivery>> {
    let mut deliveries = Vec::with_capacity(count);
    while deliveries.len() < count {
        deliveries.push(next(consumer).await?);
    }
    Ok(deliveries)
}

/// Waits a little while and gives back what came too much.
pub async fn surplus(consumer: &mut Consumer) -> Outcome<Option<Delivery>> {
    match timeout(Duration::from_millis(100), consumer.next()).await {
        Err(_elapsed) => Ok(None),
        Ok(delivery) => Ok(Some(delivery.ok_or(CONSUMER)??)),
    }
}

/// Acknowledges this delivery and all before it.
pub async fn ack_up_to(delivery: &Delivery) -> lapin::Result<bool> {
    delivery.acker.ack(BasicAckOptions { multiple: true }).await
}

/// The body as text.
pub fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.data).into_owned()
}

/// The bodies of several deliveries, as text.
pub fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

/// All numbers of `range`, as the bodies `send_numbers` gives them.
pub fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// The reply code with which the broker closed a channel; `None` for any other error or none.
pub fn channel_error<T>(result: &lapin::Result<T>) -> Option<AMQPSoftError> {
    match protocol_error(result)? {
        AMQPErrorKind::Soft(error) => Some(error),
        AMQPErrorKind::Hard(_) => None,
    }
}

/// The reply code with which the broker closed the connection; `None` for any other error or none.
pub fn connection_error<T>(result: &lapin::Result<T>) -> Option<AMQPHardError> {
    match protocol_error(result)? {
        AMQPErrorKind::Hard(error) => Some(error),
        AMQPErrorKind::Soft(_) => None,
    }
}

fn protocol_error<T>(result: &lapin::Result<T>) -> Option<AMQPErrorKind> {
    let ErrorKind::ProtocolError(error) = result.as_ref().err()?.kind() else { return None };
    Some(error.kind().clone())
}
