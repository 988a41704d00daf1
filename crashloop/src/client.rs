//! What every client of the run needs: a connection, the shared ledger, and how a delivery reads.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use crate::ledger::Ledger;
use crate::message::{Arrival, Content, MessageId, id_in};
use crate::violation::Violation;

const PERSISTENT: u8 = 2;

/// What the clients of one virtual host share.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    vhost: &'static str,
    ledger: Arc<Mutex<Ledger>>,
    ending: Arc<AtomicBool>,
    /// What clients were refused since somebody has expected it.
    refusals: Arc<Mutex<Option<Vec<String>>>>,
    consumers: Arc<AtomicU64>,
    publishers: Arc<AtomicU16>,
}

impl Desk {
    pub(crate) fn new(vhost: &'static str) -> Self {
        Self {
            vhost,
            ledger: Arc::default(),
            ending: Arc::default(),
            refusals: Arc::default(),
            consumers: Arc::default(),
            publishers: Arc::default(),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on errors are expected, and nobody begins anything new.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    pub(crate) fn begin(&self) {
        self.ending.store(false, Ordering::SeqCst);
        *self.expected() = None;
    }

    fn expected(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on clients may be refused something, for a reason that is looked at.
    pub(crate) fn expect_refusals(&self) {
        *self.expected() = Some(Vec::new());
    }

    /// What they were refused since then.
    pub(crate) fn refusals(&self) -> Vec<String> {
        self.expected().clone().unwrap_or_default()
    }

    pub(crate) fn ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// A number for a consumer, never used before.
    pub(crate) fn next_consumer(&self) -> u64 {
        self.consumers.fetch_add(1, Ordering::SeqCst)
    }

    /// A number for a publisher, never used before.
    pub(crate) fn next_publisher(&self) -> u16 {
        self.publishers.fetch_add(1, Ordering::SeqCst)
    }

    /// An error that no crash explains.
    pub(crate) fn refused(&self, who: &str, error: &lapin::Error) {
        if let Some(refusals) = &mut *self.expected() {
            refusals.push(error.to_string());
        } else if !self.ending() {
            let what = format!("{who} was refused: {error}");
            self.ledger().violations.push(Violation::Refused { what });
        }
    }
}

pub(crate) async fn connect(port: u16, desk: &Desk, name: &str) -> lapin::Result<Connection> {
    let vhost = desk.vhost.replace('/', "%2f");
    let uri = format!("amqp://guest:guest@127.0.0.1:{port}/{vhost}");
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(&uri, properties).await
}

/// Publishes a persistent message to a durable queue of its own, waits for what the broker says, and
/// takes the queue away again: nobody else hears of it.
pub(crate) async fn confirm_one(port: u16, desk: &Desk) -> lapin::Result<Confirmation> {
    let connection = connect(port, desk, "one message").await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let queue = "cl.one-message";
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let properties = properties.with_delivery_mode(PERSISTENT);
    let confirm =
        channel.basic_publish("".into(), queue.into(), options, b"one", properties).await?.await?;
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    connection.close(200, "".into()).await?;
    Ok(confirm)
}

/// Subscribes to a queue. Who drops the consumer before the channel is closed sends a cancel behind the
/// close.
pub(crate) async fn consume(
    channel: &Channel,
    queue: &str,
    tag: &str,
    prefetch: u16,
) -> lapin::Result<Consumer> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    channel.basic_consume(queue.into(), tag.into(), options, arguments).await
}

pub(crate) fn properties_of(id: MessageId, content: &Content) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(id.to_string().into())
        .with_delivery_mode(if content.persistent { PERSISTENT } else { 1 })
}

pub(crate) fn read(delivery: &Delivery) -> Arrival {
    let persistent = *delivery.properties.delivery_mode() == Some(PERSISTENT);
    let mut content = Content::of(&delivery.data, persistent);
    let id = id_in(&delivery.data);
    let named = delivery.properties.message_id().as_ref().map(|name| name.as_str().to_owned());
    if named != id.map(|id| id.to_string()) {
        // A property that came with another message is damage too.
        content.checksum = !content.checksum;
    }
    Arrival { id, content, redelivered: delivery.redelivered }
}
