//! Looks at everything a restarted broker holds, as a client can: which exchanges and queues are
//! there, what is bound, and every message of every queue in order. It gives back what it took, but
//! for a part of what has grown too long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use powerloss::Random;
use tokio::time::timeout;

use crate::client::{Desk, connect, properties_of, read};
use crate::ledger::Unmarked;
use crate::message::{Arrival, BODY_BYTES_MIN, Content, MessageId, body_of};

/// Probes come from a publisher that the load never uses.
const PROBE: u16 = u16::MAX;

const IDLE_LONGEST: Duration = Duration::from_secs(10);

/// A queue longer than this is shortened by half.
const BACKLOG_MAX: usize = 2500;

const NOT_FOUND: u16 = 404;

/// Compares the broker on `port` with the ledger. Gives how many queues were looked at.
pub(crate) async fn observe(
    port: u16,
    desk: &Desk,
    unmarked: Unmarked,
    random: &mut Random,
) -> lapin::Result<usize> {
    let connection = connect(port, "observer").await?;
    observe_exchanges(&connection, desk).await?;
    let queues = observe_queues(&connection, desk).await?;
    let probes = publish_probes(&connection, desk, random).await?;
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for queue in &queues {
        let Some(said) = message_count(&connection, queue).await? else { continue };
        for probe in observe_content(&connection, desk, queue, said, unmarked).await? {
            found.entry(probe).or_default().push(queue.clone());
        }
    }
    for (number, (exchange, key)) in probes {
        let queues = found.remove(&number).unwrap_or_default();
        desk.ledger().observe_probe(&exchange, &key, &queues);
    }
    connection.close(200, "observed".into()).await?;
    Ok(queues.len())
}

async fn observe_exchanges(connection: &Connection, desk: &Desk) -> lapin::Result<()> {
    let names = desk.ledger().exchange_names();
    for name in names {
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let arguments = FieldTable::default();
        let declared = channel
            .exchange_declare(name.as_str().into(), ExchangeKind::Direct, options, arguments)
            .await;
        let there = found(declared)?.is_some();
        desk.ledger().observe_exchange_existence(&name, there);
        close(&channel).await?;
    }
    Ok(())
}

/// The queues that are there.
async fn observe_queues(connection: &Connection, desk: &Desk) -> lapin::Result<Vec<String>> {
    let names = desk.ledger().queue_names();
    let mut there = Vec::new();
    for (name, _) in names {
        let count = message_count(connection, &name).await?;
        desk.ledger().observe_queue_existence(&name, count.is_some());
        if count.is_some() {
            there.push(name);
        }
    }
    Ok(there)
}

/// How many messages a queue says it holds; none if there is no such queue.
async fn message_count(connection: &Connection, queue: &str) -> lapin::Result<Option<u64>> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
    let count = found(declared)?.map(|queue| u64::from(queue.message_count()));
    close(&channel).await?;
    Ok(count)
}

/// Tells "there is none" from other refusals.
fn found<T>(declared: lapin::Result<T>) -> lapin::Result<Option<T>> {
    match declared {
        Ok(declared) => Ok(Some(declared)),
        Err(error) => {
            if let ErrorKind::ProtocolError(refusal) = error.kind()
                && refusal.get_id() == NOT_FOUND
            {
                return Ok(None);
            }
            Err(error)
        }
    }
}

/// A refusal has closed the channel already.
async fn close(channel: &Channel) -> lapin::Result<()> {
    if channel.status().connected() { channel.close(200, "looked".into()).await } else { Ok(()) }
}

/// One transient message for every binding: where it arrives shows what is bound.
async fn publish_probes(
    connection: &Connection,
    desk: &Desk,
    random: &mut Random,
) -> lapin::Result<Vec<(u32, (String, String))>> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let probes: Vec<_> = (0..).zip(desk.ledger().probes()).collect();
    for (number, (exchange, key)) in &probes {
        let id = MessageId { publisher: PROBE, number: *number };
        let body = body_of(id, BODY_BYTES_MIN, random);
        let properties = properties_of(id, &Content::of(&body, false));
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(
                exchange.as_str().into(),
                key.as_str().into(),
                options,
                &body,
                properties,
            )
            .await?
            .await?;
    }
    close(&channel).await?;
    Ok(probes)
}

/// Takes all messages of a queue, compares them, gives them back. The result is the probes found.
async fn observe_content(
    connection: &Connection,
    desk: &Desk,
    queue: &str,
    said: u64,
    unmarked: Unmarked,
) -> lapin::Result<Vec<u32>> {
    let channel = connection.create_channel().await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut deliveries =
        channel.basic_consume(queue.into(), "observer".into(), options, arguments).await?;
    let (mut arrivals, mut tags, mut probes) = (Vec::new(), Vec::new(), Vec::new());
    let mut asked_for_more = false;
    loop {
        let taken = (arrivals.len() + probes.len()) as u64;
        if taken >= said && !asked_for_more {
            // Whatever is there beyond the count would have been sent before this answer.
            let more = channel.basic_get(queue.into(), BasicGetOptions { no_ack: false }).await?;
            arrivals.extend(more.map(|more| read(&more.delivery)));
            asked_for_more = true;
        }
        let patience = if asked_for_more { Duration::from_millis(5) } else { IDLE_LONGEST };
        let Ok(Some(delivery)) = timeout(patience, deliveries.next()).await else { break };
        let delivery = delivery?;
        let arrival: Arrival = read(&delivery);
        match arrival.id {
            Some(id) if id.publisher == PROBE => {
                probes.push(id.number);
                channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await?;
            }
            _ => {
                tags.push(delivery.delivery_tag);
                arrivals.push(arrival);
            }
        }
    }
    desk.ledger().observe_queue(
        queue,
        said.saturating_sub(probes.len() as u64),
        &arrivals,
        unmarked,
    );
    if tags.len() > BACKLOG_MAX {
        shorten(&channel, desk, queue, &arrivals, &tags).await?;
    }
    close(&channel).await?;
    Ok(probes)
}

/// Acks the older half, so that a run doesn't only grow.
async fn shorten(
    channel: &Channel,
    desk: &Desk,
    queue: &str,
    arrivals: &[Arrival],
    tags: &[u64],
) -> lapin::Result<()> {
    let half = tags.len() / 2;
    let ids: Vec<MessageId> = arrivals[..half].iter().filter_map(|arrival| arrival.id).collect();
    for id in &ids {
        desk.ledger().settles(queue, *id);
    }
    channel.basic_ack(tags[half - 1], BasicAckOptions { multiple: true }).await?;
    channel.basic_qos(0, BasicQosOptions::default()).await?;
    desk.ledger().settled(queue, &ids, Instant::now());
    Ok(())
}
