//! Looks at what a restarted broker holds, as a client can: which exchanges and queues are there, what
//! is bound, and the messages of its queues in order. It gives back what it took, but for a part of
//! what has grown too long. Of some queues only the count is taken, so that their messages lie in the
//! broker as they are across several restarts; the last round looks at everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer, ErrorKind, ExchangeKind};
use powerloss::Random;
use tokio::time::timeout;

use crate::client::{Desk, connect, consume, properties_of, read};
use crate::message::{Arrival, BODY_BYTES_MIN, Content, MessageId, body_of};
use crate::violation::Violation;

/// Probes come from a publisher that the load never uses.
const PROBE: u16 = u16::MAX;

const IDLE_LONGEST: Duration = Duration::from_secs(10);

/// A queue longer than this that was looked at as a whole is shortened by half.
const BACKLOG_MAX: usize = 2500;

/// And one that has more bytes of bodies.
const BACKLOG_BYTES_MAX: usize = 32 << 20;

/// A queue longer than this is emptied.
const LONGEST: usize = 400_000;

/// Messages that are acked together, where a queue is emptied.
const ACKED_TOGETHER: usize = 500;

const NOT_FOUND: u16 = 404;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closeness {
    /// As the dice fall.
    Random,
    /// At every message.
    Everything,
}

/// How a queue is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// How many messages there are.
    Count,
    /// So many in front, which are acked.
    Front(usize),
    /// All, which are given back.
    Whole,
    /// All, which are acked.
    Emptied,
}

impl Look {
    fn choose(contents_max: usize, closeness: Closeness, random: &mut Random) -> Self {
        let dice = random.below(100);
        if contents_max <= BACKLOG_MAX {
            let counted = closeness == Closeness::Random && dice < 25;
            return if counted { Self::Count } else { Self::Whole };
        }
        if contents_max > LONGEST || closeness == Closeness::Everything {
            return Self::Emptied;
        }
        match dice {
            ..25 => Self::Whole,
            25..65 => Self::Count,
            65..85 => Self::Front(1 + random.index(contents_max / 2)),
            _ => Self::Emptied,
        }
    }

    /// Whether a probe is found that was published just now.
    fn reaches_the_end(self) -> bool {
        matches!(self, Self::Whole | Self::Emptied)
    }
}

/// Compares the broker on `port` with the ledger. Gives how many queues' messages were looked at.
pub(crate) async fn observe(
    port: u16,
    desk: &Desk,
    closeness: Closeness,
    random: &mut Random,
) -> lapin::Result<usize> {
    let connection = connect(port, desk, "observer").await?;
    observe_exchanges(&connection, desk).await?;
    let queues = observe_queues(&connection, desk).await?;
    let looks: Vec<(&String, Look)> = queues
        .iter()
        .map(|queue| {
            let contents_max = desk.ledger().contents_max(queue);
            (queue, Look::choose(contents_max, closeness, random))
        })
        .collect();
    let seen: BTreeSet<&str> = looks
        .iter()
        .filter(|(_, look)| look.reaches_the_end())
        .map(|(queue, _)| queue.as_str())
        .collect();
    // A binding may lead to a queue that is not there any more; nobody misses the probe.
    let is_seen = |queue: &str| seen.contains(queue) || !queues.iter().any(|there| there == queue);
    let probes = publish_probes(&connection, desk, is_seen, random).await?;
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (queue, look) in &looks {
        let Some(said) = message_count(&connection, queue).await? else { continue };
        if *look == Look::Count {
            desk.ledger().observe_count(queue, said);
            continue;
        }
        for probe in observe_content(&connection, desk, queue, said, *look).await? {
            found.entry(probe).or_default().push((*queue).clone());
        }
    }
    for (number, (exchange, key)) in probes {
        let queues = found.remove(&number).unwrap_or_default();
        desk.ledger().observe_probe(&exchange, &key, &queues);
    }
    connection.close(200, "observed".into()).await?;
    Ok(looks.iter().filter(|(_, look)| *look != Look::Count).count())
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
    is_seen: impl Fn(&str) -> bool,
    random: &mut Random,
) -> lapin::Result<Vec<(u32, (String, String))>> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let probes: Vec<_> = (0..).zip(desk.ledger().probes(is_seen)).collect();
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

/// Takes messages of a queue, compares them, gives them back or not. The result is the probes found.
async fn observe_content(
    connection: &Connection,
    desk: &Desk,
    queue: &str,
    said: u64,
    look: Look,
) -> lapin::Result<Vec<u32>> {
    let channel = connection.create_channel().await?;
    let mut view = View::default();
    let said_here = usize::try_from(said).unwrap_or(usize::MAX);
    let wanted = match look {
        Look::Count => return Ok(Vec::new()),
        Look::Front(count) => (count.min(said_here), Then::Ack, Beyond::IsNotWanted),
        Look::Whole => (said_here, Then::Keep, Beyond::IsLookedFor),
        Look::Emptied => (said_here, Then::Ack, Beyond::IsLookedFor),
    };
    view.take(&channel, queue, wanted).await?;
    let said = said.saturating_sub(view.probes.len() as u64);
    match look {
        Look::Whole | Look::Emptied if !view.is_stuck => {
            desk.ledger().observe_queue(queue, said, &view.arrivals);
        }
        _ => desk.ledger().observe_front(queue, &view.arrivals),
    }
    if view.is_stuck {
        let (queue, found) = (queue.to_owned(), view.arrivals.len() as u64);
        desk.ledger().violations.push(Violation::Stuck { queue, said, found });
        return Ok(view.probes);
    }
    let length = view.arrivals.len();
    let bytes: usize = view.arrivals.iter().map(|arrival| arrival.content.length).sum();
    let acked = match look {
        Look::Front(_) | Look::Emptied => length,
        _ if length > BACKLOG_MAX || bytes > BACKLOG_BYTES_MAX => length / 2,
        Look::Count | Look::Whole => 0,
    };
    view.ack(&channel, desk, queue, acked).await?;
    close(&channel).await?;
    Ok(view.probes)
}

/// What becomes at once of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Ack,
    Keep,
}

/// Whether more than the queue says to hold is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    IsLookedFor,
    IsNotWanted,
}

/// What was taken from one queue.
#[derive(Debug, Default)]
struct View {
    arrivals: Vec<Arrival>,
    /// The delivery tags of the arrivals.
    tags: Vec<u64>,
    probes: Vec<u32>,
    /// Arrivals that are acked, from the first on.
    acked: usize,
    /// Nothing came for long, though there should be more.
    is_stuck: bool,
    /// Dropped too early, it would send a cancel behind the close of its channel.
    consumer: Option<Consumer>,
}

impl View {
    async fn take(
        &mut self,
        channel: &Channel,
        queue: &str,
        (count, then, beyond): (usize, Then, Beyond),
    ) -> lapin::Result<()> {
        // No more than are wanted, so that the others remain as they are.
        let prefetch = match beyond {
            Beyond::IsLookedFor => 0,
            Beyond::IsNotWanted => u16::try_from(count).unwrap_or(u16::MAX),
        };
        let consumer = consume(channel, queue, "observer", prefetch).await?;
        let mut deliveries = consumer.clone();
        self.consumer = Some(consumer);
        let mut asked_for_more = false;
        loop {
            if self.arrivals.len() + self.probes.len() >= count && !asked_for_more {
                if beyond == Beyond::IsNotWanted {
                    break;
                }
                // Whatever is there beyond the count would have been sent before this answer.
                let more = channel.basic_get(queue.into(), BasicGetOptions::default()).await?;
                if let Some(more) = more {
                    self.arrived(channel, &more.delivery).await?;
                }
                asked_for_more = true;
            }
            let patience = if asked_for_more { Duration::from_millis(5) } else { IDLE_LONGEST };
            let Ok(Some(delivery)) = timeout(patience, deliveries.next()).await else {
                self.is_stuck = !asked_for_more;
                break;
            };
            self.arrived(channel, &delivery?).await?;
            let unacked = &self.tags[self.acked..];
            if then == Then::Ack && unacked.len() >= ACKED_TOGETHER {
                let last = unacked[unacked.len() - 1];
                channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
                self.acked = self.tags.len();
            }
        }
        Ok(())
    }

    async fn arrived(&mut self, channel: &Channel, delivery: &Delivery) -> lapin::Result<()> {
        let (arrival, tag) = (read(delivery), delivery.delivery_tag);
        if let Some(id) = arrival.id
            && id.publisher == PROBE
        {
            self.probes.push(id.number);
            return channel.basic_ack(tag, BasicAckOptions::default()).await;
        }
        self.tags.push(tag);
        self.arrivals.push(arrival);
        Ok(())
    }

    /// Acks the first `count` arrivals, as far as that is not done, and waits until the broker has
    /// applied it.
    async fn ack(
        &mut self,
        channel: &Channel,
        desk: &Desk,
        queue: &str,
        count: usize,
    ) -> lapin::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let ids: Vec<MessageId> =
            self.arrivals[..count].iter().filter_map(|arrival| arrival.id).collect();
        for id in &ids {
            desk.ledger().settles(queue, *id);
        }
        if count > self.acked {
            let last = self.tags[count - 1];
            channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        }
        channel.basic_qos(0, BasicQosOptions::default()).await?;
        desk.ledger().settled(queue, &ids, Instant::now());
        Ok(())
    }
}
