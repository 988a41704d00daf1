//! Many publishers at once: every message confirmed, delivered exactly once, each publisher's in
//! the order it sent them.

use std::collections::{HashSet, VecDeque};

use conformance_lapin::broker::Broker;
use conformance_lapin::client::{Client, ack_up_to, body, next, soon};
use conformance_lapin::{Missing, Outcome};
use lapin::options::QueueDeclareOptions;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const PUBLISHERS: usize = 8;
const MESSAGES_EACH: usize = 6_250;
const MESSAGES: usize = PUBLISHERS * MESSAGES_EACH;
const UNCONFIRMED_MAX: usize = 500;
const PREFETCH: u16 = 1_000;
const ACK_EVERY: usize = 100;

/// Publishes `publisher:0`, `publisher:1` … and sees each confirmed.
async fn publish(url: String, queue: String, publisher: usize) -> Outcome {
    let client = Client::open(&url).await?;
    let mut unconfirmed = VecDeque::with_capacity(UNCONFIRMED_MAX);
    for number in 0..MESSAGES_EACH {
        if unconfirmed.len() == UNCONFIRMED_MAX
            && let Some(oldest) = unconfirmed.pop_front()
        {
            let confirmation: lapin::Confirmation = soon("a confirm", oldest).await??;
            assert!(confirmation.is_ack(), "message {publisher}:{number} was not taken");
        }
        unconfirmed.push_back(client.send(&queue, &format!("{publisher}:{number}")).await?);
    }
    for confirm in unconfirmed {
        assert!(soon("a confirm", confirm).await??.is_ack());
    }
    client.close().await?;
    Ok(())
}

fn start_publishers(url: &str, queue: &str) -> JoinSet<Outcome> {
    (0..PUBLISHERS).map(|publisher| publish(url.to_owned(), queue.to_owned(), publisher)).collect()
}

async fn all_succeed(mut tasks: JoinSet<Outcome>) -> Outcome {
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

/// Publisher and number of a body.
fn origin(body: &str) -> Outcome<(usize, usize)> {
    let (publisher, number) = body.split_once(':').ok_or(Missing("a body without a colon"))?;
    Ok((publisher.parse()?, number.parse()?))
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_consumer_gets_each_once_in_order() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = conformance_lapin::client::unique("load");
    client.declare(&queue, durable()).await?;
    let mut consumer = client.consume(&queue, PREFETCH).await?;
    let publishers = start_publishers(broker.url(), &queue);

    let mut expected = [0; PUBLISHERS];
    for received in 1..=MESSAGES {
        let delivery = next(&mut consumer).await?;
        let (publisher, number) = origin(&body(&delivery))?;
        assert_eq!(number, expected[publisher], "the next message of publisher {publisher}");
        assert!(!delivery.redelivered);
        expected[publisher] += 1;
        if received % ACK_EVERY == 0 {
            ack_up_to(&delivery).await?;
        }
    }
    assert_eq!(expected, [MESSAGES_EACH; PUBLISHERS]);
    all_succeed(publishers).await?;

    client.close().await?;
    let client = Client::open(broker.url()).await?;
    assert_eq!(client.delete(&queue).await?, 0, "messages left after all were acknowledged");
    client.close().await?;
    broker.stop()?;
    Ok(())
}

/// Takes messages until `taken` is dropped at the other end, acknowledging in between.
async fn take(url: String, queue: String, taken: mpsc::Sender<(usize, usize)>) -> Outcome {
    let client = Client::open(&url).await?;
    let mut consumer = client.consume(&queue, PREFETCH).await?;
    let mut last = [None; PUBLISHERS];
    loop {
        let delivery = tokio::select! {
            delivery = next(&mut consumer) => delivery?,
            () = taken.closed() => break,
        };
        delivery.acker.ack(lapin::options::BasicAckOptions::default()).await?;
        let (publisher, number) = origin(&body(&delivery))?;
        assert!(last[publisher] < Some(number), "publisher {publisher} out of order");
        last[publisher] = Some(number);
        if taken.send((publisher, number)).await.is_err() {
            break;
        }
    }
    client.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_consumers_share_each_once() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = conformance_lapin::client::unique("shared");
    client.declare(&queue, durable()).await?;
    let (sender, mut taken) = mpsc::channel(MESSAGES);
    let consumers: JoinSet<Outcome> =
        (0..4).map(|_| take(broker.url().to_owned(), queue.clone(), sender.clone())).collect();
    drop(sender);
    let publishers = start_publishers(broker.url(), &queue);

    let mut seen = HashSet::with_capacity(MESSAGES);
    while seen.len() < MESSAGES {
        let message =
            soon("a message", taken.recv()).await?.ok_or(Missing("all consumers ended"))?;
        assert!(seen.insert(message), "message {message:?} came twice");
    }
    all_succeed(publishers).await?;
    drop(taken);
    all_succeed(consumers).await?;
    assert_eq!(client.delete(&queue).await?, 0, "messages left after all were acknowledged");
    client.close().await?;
    broker.stop()?;
    Ok(())
}
