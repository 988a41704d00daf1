//! Several consumers of one queue: who gets what.

use std::time::Duration;

use conformance_lapin::Outcome;
use conformance_lapin::broker::Broker;
use conformance_lapin::client::{
    Client, ack_up_to, bodies, channel_error, next, next_many, numbers, soon, surplus,
};
use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, QueueDeclareOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use tokio::time::timeout;

#[tokio::test]
async fn consumers_on_several_connections_are_served_in_turn() -> Outcome {
    const CONSUMERS: usize = 5;
    const EACH: u32 = 200;
    let broker = Broker::start()?;
    let publisher = Client::open(broker.url()).await?;
    let queue = publisher.queue("turns").await?;
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        let client = Client::open(broker.url()).await?;
        let consumer = client.consume(&queue, 0).await?;
        consumers.push((client, consumer));
    }
    let total = EACH * u32::try_from(CONSUMERS)?;
    publisher.send_numbers(&queue, 0..total).await?;

    let mut firsts = Vec::new();
    for (_, consumer) in &mut consumers {
        let deliveries = next_many(consumer, EACH as usize).await?;
        let received: Vec<u32> =
            bodies(&deliveries).iter().map(|body| body.parse()).collect::<Result<_, _>>()?;
        assert!(surplus(consumer).await?.is_none(), "a consumer got more than its share");
        let turns = received.windows(2).filter(|pair| pair[1] - pair[0] != 5).count();
        assert_eq!(turns, 0, "not every fifth message: {received:?}");
        firsts.push(received[0]);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1, 2, 3, 4]);
    publisher.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_consumer_without_credit_is_passed_over() -> Outcome {
    let broker = Broker::start()?;
    let publisher = Client::open(broker.url()).await?;
    let queue = publisher.queue("credit").await?;
    let stuck = Client::open(broker.url()).await?;
    let mut stuck_consumer = stuck.consume(&queue, 3).await?;
    let busy = Client::open(broker.url()).await?;
    let mut busy_consumer = busy.consume(&queue, 10).await?;
    publisher.send_numbers(&queue, 0..100).await?;

    let held = next_many(&mut stuck_consumer, 3).await?;
    for _ in 3..100 {
        let delivery = next(&mut busy_consumer).await?;
        delivery.acker.ack(BasicAckOptions::default()).await?;
    }
    assert!(surplus(&mut stuck_consumer).await?.is_none());
    assert!(surplus(&mut busy_consumer).await?.is_none());

    // Its credit comes back with the acknowledgement, and so do its turns.
    ack_up_to(&held[2]).await?;
    publisher.send_numbers(&queue, 100..106).await?;
    next_many(&mut stuck_consumer, 3).await?;
    publisher.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn prefetch_holds_under_every_pattern_of_acks() -> Outcome {
    const PREFETCH: usize = 10;
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("window").await?;
    client.send_numbers(&queue, 0..500).await?;
    let mut consumer = client.consume(&queue, 10).await?;

    let mut held = next_many(&mut consumer, PREFETCH).await?;
    for step in [1, 3, 10, 7, 2, 10, 5] {
        assert!(surplus(&mut consumer).await?.is_none(), "more than {PREFETCH} outstanding");
        let settled: Vec<_> = held.drain(..step).collect();
        ack_up_to(&settled[step - 1]).await?;
        held.extend(next_many(&mut consumer, step).await?);
    }
    assert_eq!(bodies(&held), numbers(38..48));
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_cancelled_consumer_ends_and_leaves_the_rest() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("cancelled").await?;
    client.send_numbers(&queue, 0..10).await?;
    let mut consumer = client.consume(&queue, 4).await?;
    let held = next_many(&mut consumer, 4).await?;
    client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    assert!(soon("the end", consumer.next()).await?.is_none());
    ack_up_to(&held[3]).await?;
    assert_eq!(client.get_all(&queue).await?, numbers(4..10));
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_queue_ends_its_consumers() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("deleted").await?;
    let other = Client::open(broker.url()).await?;
    let mut here = client.consume(&queue, 0).await?;
    let mut there = other.consume(&queue, 0).await?;
    client.delete(&queue).await?;
    assert!(soon("the end here", here.next()).await?.is_none());
    assert!(soon("the end there", there.next()).await?.is_none());
    // The channels live on.
    let again = other.queue("alive").await?;
    other.delete(&again).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn an_exclusive_consumer_keeps_others_out() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("exclusive-consumer").await?;
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let table = FieldTable::default();
    let exclusive =
        client.channel.basic_consume(queue.as_str().into(), "".into(), options, table).await?;
    let other = Client::open(broker.url()).await?;
    let refused = other.consume(&queue, 0).await;
    assert_eq!(channel_error(&refused), Some(AMQPSoftError::ACCESSREFUSED));

    client.channel.basic_cancel(exclusive.tag(), BasicCancelOptions::default()).await?;
    let late = Client::open(broker.url()).await?;
    late.consume(&queue, 0).await?;
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn an_exclusive_queue_belongs_to_its_connection() -> Outcome {
    let broker = Broker::start()?;
    let owner = Client::open(broker.url()).await?;
    let queue = conformance_lapin::client::unique("exclusive-queue");
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    owner.declare(&queue, options).await?;
    let second_channel = owner.connection.create_channel().await?;
    let table = FieldTable::default();
    second_channel.queue_declare(queue.as_str().into(), options, table).await?;

    let other = Client::open(broker.url()).await?;
    let refused = other.consume(&queue, 0).await;
    assert_eq!(channel_error(&refused), Some(AMQPSoftError::RESOURCELOCKED));

    owner.close().await?;
    let later = Client::open(broker.url()).await?;
    assert_eq!(channel_error(&later.ready(&queue).await), Some(AMQPSoftError::NOTFOUND));
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_consumer_comes_before_its_first_message() -> Outcome {
    let broker = Broker::start()?;
    let publisher = Client::open(broker.url()).await?;
    let queue = publisher.queue("waiting").await?;
    let client = Client::open(broker.url()).await?;
    let mut consumer = client.consume(&queue, 1).await?;
    for number in 0..200_u32 {
        publisher.send_numbers(&queue, number..number + 1).await?;
        let delivery = timeout(Duration::from_secs(5), next(&mut consumer)).await??;
        assert_eq!(bodies(std::slice::from_ref(&delivery)), numbers(number..number + 1));
        delivery.acker.ack(BasicAckOptions::default()).await?;
    }
    publisher.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}
