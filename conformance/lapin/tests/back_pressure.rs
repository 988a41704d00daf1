//! Peers that don't read their sockets: each hurts only itself.

use std::time::{Duration, Instant};

use conformance_lapin::broker::Broker;
use conformance_lapin::client::{Client, next, soon};
use conformance_lapin::link::Link;
use conformance_lapin::{Missing, Outcome};
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicPublishOptions, QueuePurgeOptions};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const BODY_BYTES: usize = 100_000;
/// More than any sum of socket buffers and a broker's bounds takes in.
const FLOOD_MESSAGES: usize = 3_000;
/// What a broker may hold for one peer that doesn't read, with everything else it needs.
const RESIDENT_BYTES_MAX: u64 = 160 * 1024 * 1024;
const ROUND_TRIPS: u32 = 100;
const ROUND_TRIP_MEDIAN_MAX: Duration = Duration::from_millis(250);

/// Sends one message at a time through a queue of its own, and fails if that takes long.
async fn others_are_served(url: &str) -> Outcome {
    let client = Client::open(url).await?;
    let queue = client.queue("bystander").await?;
    let mut consumer = client.consume(&queue, 1).await?;
    let mut waits = Vec::new();
    for number in 0..ROUND_TRIPS {
        let began = Instant::now();
        client.send_numbers(&queue, number..number + 1).await?;
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.data, number.to_string().as_bytes());
        delivery.acker.ack(BasicAckOptions::default()).await?;
        waits.push(began.elapsed());
    }
    waits.sort_unstable();
    let median = waits[waits.len() / 2];
    assert!(median < ROUND_TRIP_MEDIAN_MAX, "half of the round trips took more than {median:?}");
    client.delete(&queue).await?;
    client.close().await?;
    Ok(())
}

fn memory_is_bounded(broker: &Broker) {
    if let Some(resident) = broker.resident_bytes() {
        assert!(resident < RESIDENT_BYTES_MAX, "the broker holds {} MiB", resident >> 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_never_reads_hurts_only_itself() -> Outcome {
    let broker = Broker::start()?;
    let link = Link::to(broker.url()).await?;
    let deaf = Client::open(link.url()).await?;
    link.stall();
    // Each comes back as unroutable, to a peer that doesn't take it: 300 MB in all.
    let flood: JoinHandle<lapin::Result<()>> = tokio::spawn(async move {
        let body = vec![b'x'; BODY_BYTES];
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        for _ in 0..FLOOD_MESSAGES {
            let properties = BasicProperties::default();
            let confirm = deaf
                .channel
                .basic_publish("".into(), "nowhere".into(), options, &body, properties)
                .await?;
            drop(confirm);
        }
        std::future::pending().await
    });
    others_are_served(broker.url()).await?;
    let taken = settled(&link).await?;
    eprintln!("the broker took {} MB from a publisher that reads nothing", taken / 1_000_000);
    memory_is_bounded(&broker);
    flood.abort();
    link.cut();
    others_are_served(broker.url()).await?;
    broker.stop()?;
    Ok(())
}

/// Waits until the broker takes nothing more, and tells what it took.
async fn settled(link: &Link) -> Outcome<u64> {
    let settling = async {
        let mut taken = link.bytes_up();
        loop {
            sleep(Duration::from_millis(500)).await;
            let now = link.bytes_up();
            if now == taken {
                return taken;
            }
            taken = now;
        }
    };
    Ok(soon("the end of the flood", settling).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_never_reads_hurts_only_itself() -> Outcome {
    const MESSAGES: usize = 500;
    let broker = Broker::start()?;
    let publisher = Client::open(broker.url()).await?;
    let queue = publisher.queue("deaf").await?;
    let link = Link::to(broker.url()).await?;
    let deaf = Client::open(link.url()).await?;
    let deaf_consumer = deaf.consume(&queue, 0).await?;
    link.stall();
    let body = vec![b'x'; BODY_BYTES];
    for number in 0..MESSAGES {
        let properties = BasicProperties::default().with_message_id(number.to_string().into());
        let options = BasicPublishOptions::default();
        let confirm = publisher
            .channel
            .basic_publish("".into(), queue.as_str().into(), options, &body, properties)
            .await?;
        assert!(soon("a confirm", confirm).await??.is_ack());
    }
    others_are_served(broker.url()).await?;
    memory_is_bounded(&broker);

    // Another consumer of the same queue gets its share, and all of it once the deaf one is gone.
    let client = Client::open(broker.url()).await?;
    let mut consumer = client.consume(&queue, 20).await?;
    link.cut();
    let mut seen = vec![false; MESSAGES];
    for _ in 0..MESSAGES {
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.data.len(), BODY_BYTES);
        let id = delivery.properties.message_id().as_ref().ok_or(Missing("no message id"))?;
        let number: usize = id.as_str().parse()?;
        assert!(!std::mem::replace(&mut seen[number], true), "message {number} came twice");
        delivery.acker.ack(BasicAckOptions::default()).await?;
    }
    drop(deaf_consumer);
    assert_eq!(client.delete(&queue).await?, 0);
    broker.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooding_publisher_starves_nobody() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("flooded").await?;
    let url = broker.url().to_owned();
    let flooded = queue.clone();
    let flood: JoinHandle<Outcome> = tokio::spawn(async move {
        let publisher = Client::open(&url).await?;
        let body = vec![b'x'; 1_000];
        loop {
            for _ in 0..1_000 {
                let properties = BasicProperties::default();
                let options = BasicPublishOptions::default();
                drop(
                    publisher
                        .channel
                        .basic_publish(
                            "".into(),
                            flooded.as_str().into(),
                            options,
                            &body,
                            properties,
                        )
                        .await?,
                );
            }
            publisher
                .channel
                .queue_purge(flooded.as_str().into(), QueuePurgeOptions::default())
                .await?;
        }
    });
    others_are_served(broker.url()).await?;
    assert!(!flood.is_finished(), "the flood ended by itself");
    flood.abort();
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}
