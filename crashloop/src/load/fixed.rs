//! The exchanges and queues that rounds use again and nobody deletes. Those of the mixed load: plain
//! durable queues, a fan-out to three, topic bindings, and some that must not outlive a restart.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ExchangeKind};

use crate::client::Desk;
use crate::ledger::{Binding, ExchangeType, Existence};

/// The churners' exchange, declared here because both use it.
pub(super) const CHURN: &str = "cl.direct";

/// Where publishers send to: an exchange and a routing key. The more often, the more.
const TARGETS: [(&str, &str); 9] = [
    ("", "cl.plain-0"),
    ("", "cl.plain-0"),
    ("", "cl.plain-1"),
    ("", "cl.volatile"),
    ("cl.fan", "any"),
    ("cl.topic", "orders.eu.created"),
    ("cl.topic", "orders.eu.west.error"),
    ("cl.topic", "stock.error"),
    ("cl.gone", "key"),
];

const EXCHANGES: [(&str, ExchangeType, bool); 3] = [
    ("cl.fan", ExchangeType::Fanout, true),
    ("cl.topic", ExchangeType::Topic, true),
    ("cl.gone", ExchangeType::Direct, false),
];

const QUEUES: [(&str, bool); 9] = [
    ("cl.plain-0", true),
    ("cl.plain-1", true),
    ("cl.fan-0", true),
    ("cl.fan-1", true),
    ("cl.fan-2", true),
    ("cl.topic-created", true),
    ("cl.topic-orders", true),
    ("cl.topic-errors", true),
    ("cl.volatile", false),
];

const BINDINGS: [(&str, &str, &str); 7] = [
    ("cl.fan", "cl.fan-0", "0"),
    ("cl.fan", "cl.fan-1", "1"),
    ("cl.fan", "cl.fan-2", "2"),
    ("cl.topic", "cl.topic-created", "orders.*.created"),
    ("cl.topic", "cl.topic-orders", "orders.#"),
    ("cl.topic", "cl.topic-errors", "#.error"),
    ("cl.gone", "cl.plain-1", "key"),
];

/// Exchanges, queues and bindings, and where publishers send to.
#[derive(Debug)]
pub(super) struct Ground {
    /// Name, type, whether it is durable.
    pub(super) exchanges: Vec<(String, ExchangeType, bool)>,
    /// Name, whether it is durable.
    pub(super) queues: Vec<(String, bool)>,
    /// Exchange, queue, key.
    pub(super) bindings: Vec<(String, String, String)>,
    /// Exchange, routing key.
    pub(super) targets: Vec<(String, String)>,
}

/// What the mixed load stands on.
pub(super) fn ground() -> Ground {
    let text = str::to_owned;
    Ground {
        exchanges: EXCHANGES.map(|(name, kind, durable)| (text(name), kind, durable)).to_vec(),
        queues: QUEUES.map(|(name, durable)| (text(name), durable)).to_vec(),
        bindings: BINDINGS.map(|(from, to, key)| (text(from), text(to), text(key))).to_vec(),
        targets: TARGETS.map(|(exchange, key)| (text(exchange), text(key))).to_vec(),
    }
}

impl Ground {
    pub(super) fn durable_queues(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().filter(|(_, durable)| *durable).map(|(name, _)| name.as_str())
    }

    /// Declares all of it; what is there already is declared the same again.
    pub(super) async fn declare(&self, connection: &Connection, desk: &Desk) -> lapin::Result<()> {
        let channel = connection.create_channel().await?;
        declare_exchange(&channel, desk, CHURN, ExchangeType::Direct, Durability::Durable).await?;
        for (name, kind, durable) in &self.exchanges {
            declare_exchange(&channel, desk, name, *kind, durability(*durable)).await?;
        }
        for (name, durable) in &self.queues {
            declare_queue(&channel, desk, name, durability(*durable)).await?;
        }
        for (exchange, queue, key) in &self.bindings {
            bind(&channel, desk, &binding(exchange, queue, key)).await?;
        }
        channel.close(200, "declared".into()).await
    }
}

/// A queue that goes with its connection, however that ends.
pub(super) async fn declare_exclusive(
    connection: &Connection,
    desk: &Desk,
    round: u16,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let name = format!("cl.exclusive-{round}");
    desk.ledger().declares_queue(&name, false);
    let options = QueueDeclareOptions::exclusive();
    channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await?;
    desk.ledger().declared_queue(&name);
    Ok(())
}

/// Whether something is declared to outlive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    Durable,
    Transient,
}

fn durability(durable: bool) -> Durability {
    if durable { Durability::Durable } else { Durability::Transient }
}

pub(super) fn binding(exchange: &str, queue: &str, key: &str) -> Binding {
    Binding { exchange: exchange.to_owned(), queue: queue.to_owned(), key: key.to_owned() }
}

pub(super) async fn declare_exchange(
    channel: &Channel,
    desk: &Desk,
    name: &str,
    kind: ExchangeType,
    durability: Durability,
) -> lapin::Result<()> {
    let durable = durability == Durability::Durable;
    desk.ledger().declares_exchange(name, kind, durable);
    let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
    let kind = match kind {
        ExchangeType::Direct => ExchangeKind::Direct,
        ExchangeType::Fanout => ExchangeKind::Fanout,
        ExchangeType::Topic => ExchangeKind::Topic,
    };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await?;
    desk.ledger().declared_exchange(name);
    Ok(())
}

pub(super) async fn declare_queue(
    channel: &Channel,
    desk: &Desk,
    name: &str,
    durability: Durability,
) -> lapin::Result<()> {
    let durable = durability == Durability::Durable;
    desk.ledger().declares_queue(name, durable);
    let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, FieldTable::default()).await?;
    desk.ledger().declared_queue(name);
    Ok(())
}

pub(super) async fn bind(channel: &Channel, desk: &Desk, binding: &Binding) -> lapin::Result<()> {
    desk.ledger().changes_binding(binding);
    let (queue, exchange) = (binding.queue.as_str().into(), binding.exchange.as_str().into());
    let (key, options) = (binding.key.as_str().into(), QueueBindOptions::default());
    channel.queue_bind(queue, exchange, key, options, FieldTable::default()).await?;
    desk.ledger().changed_binding(binding, Existence::Present);
    Ok(())
}

pub(super) async fn unbind(channel: &Channel, desk: &Desk, binding: &Binding) -> lapin::Result<()> {
    desk.ledger().changes_binding(binding);
    let (queue, exchange) = (binding.queue.as_str().into(), binding.exchange.as_str().into());
    let key = binding.key.as_str().into();
    channel.queue_unbind(queue, exchange, key, FieldTable::default()).await?;
    desk.ledger().changed_binding(binding, Existence::Absent);
    Ok(())
}
