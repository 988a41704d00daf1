//! What comes back, where it goes, and how it is marked.

use conformance_lapin::broker::Broker;
use conformance_lapin::client::{
    Client, ack_up_to, bodies, channel_error, next, next_many, numbers,
};
use conformance_lapin::link::Link;
use conformance_lapin::{Missing, Outcome};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicGetOptions, BasicNackOptions, BasicRejectOptions,
};
use lapin::protocol::AMQPSoftError;

const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

#[tokio::test]
async fn returned_messages_go_back_to_their_places() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("places").await?;
    client.send_numbers(&queue, 0..100).await?;
    let mut consumer = client.consume(&queue, 0).await?;
    let held = next_many(&mut consumer, 100).await?;
    client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    client.send_numbers(&queue, 100..120).await?;

    // In an order of no meaning; 37 and 100 have no common divisor, so every one comes once.
    for step in 0..100 {
        held[step * 37 % 100].acker.nack(REQUEUE).await?;
    }
    client.ready_becomes(&queue, 120).await?;
    assert_eq!(client.get_all(&queue).await?, numbers(0..120));
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn returned_messages_are_marked_redelivered() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("marked").await?;
    client.send_numbers(&queue, 0..4).await?;
    let mut consumer = client.consume(&queue, 3).await?;
    let held = next_many(&mut consumer, 3).await?;
    assert!(held.iter().all(|delivery| !delivery.redelivered));
    client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    held[0].acker.nack(REQUEUE).await?;
    held[1].acker.reject(BasicRejectOptions { requeue: true }).await?;
    held[2].acker.ack(BasicAckOptions::default()).await?;
    client.ready_becomes(&queue, 3).await?;

    for (body, redelivered) in [("0", true), ("1", true), ("3", false)] {
        let delivery = client.get(&queue).await?.ok_or(Missing("a message is missing"))?;
        assert_eq!(
            (delivery.data.as_slice(), delivery.redelivered),
            (body.as_bytes(), redelivered)
        );
    }
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn multiple_settles_up_to_the_tag_and_no_further() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("multiple").await?;
    client.send_numbers(&queue, 0..30).await?;
    let mut consumer = client.consume(&queue, 0).await?;
    let held = next_many(&mut consumer, 30).await?;
    client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    held[4].acker.ack(BasicAckOptions::default()).await?;
    ack_up_to(&held[9]).await?;
    held[14].acker.nack(BasicNackOptions { multiple: true, requeue: true }).await?;
    held[19].acker.nack(BasicNackOptions { multiple: true, requeue: false }).await?;
    client.ready_becomes(&queue, 5).await?;
    assert_eq!(client.get_all(&queue).await?, numbers(10..15));

    client.close().await?;
    let client = Client::open(broker.url()).await?;
    client.ready_becomes(&queue, 10).await?;
    assert_eq!(client.get_all(&queue).await?, numbers(20..30));
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_broken_connection_returns_its_messages_to_the_front() -> Outcome {
    let broker = Broker::start()?;
    let publisher = Client::open(broker.url()).await?;
    let queue = publisher.queue("broken").await?;
    publisher.send_numbers(&queue, 0..30).await?;

    let link = Link::to(broker.url()).await?;
    let lost = Client::open(link.url()).await?;
    let mut lost_consumer = lost.consume(&queue, 10).await?;
    assert_eq!(bodies(&next_many(&mut lost_consumer, 10).await?), numbers(0..10));
    let other = Client::open(broker.url()).await?;
    let mut other_consumer = other.consume(&queue, 10).await?;
    let held = next_many(&mut other_consumer, 10).await?;
    assert_eq!(bodies(&held), numbers(10..20));

    link.cut();
    publisher.ready_becomes(&queue, 20).await?;
    ack_up_to(&held[9]).await?;
    let back = next_many(&mut other_consumer, 10).await?;
    assert_eq!(bodies(&back), numbers(0..10));
    assert!(back.iter().all(|delivery| delivery.redelivered));
    ack_up_to(&back[9]).await?;
    let rest = next_many(&mut other_consumer, 10).await?;
    assert_eq!(bodies(&rest), numbers(20..30));
    assert!(rest.iter().all(|delivery| !delivery.redelivered));
    publisher.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn what_was_acknowledged_before_the_break_stays_gone() -> Outcome {
    let broker = Broker::start()?;
    let publisher = Client::open(broker.url()).await?;
    let queue = publisher.queue("settled").await?;
    publisher.send_numbers(&queue, 0..20).await?;
    let link = Link::to(broker.url()).await?;
    let lost = Client::open(link.url()).await?;
    let mut consumer = lost.consume(&queue, 0).await?;
    let held = next_many(&mut consumer, 20).await?;
    ack_up_to(&held[11]).await?;
    // An answer to a later request tells that the acknowledgement has arrived.
    lost.ready(&queue).await?;
    link.cut();
    publisher.ready_becomes(&queue, 8).await?;
    assert_eq!(publisher.get_all(&queue).await?, numbers(12..20));
    publisher.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_message_returned_again_and_again_holds_its_place() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("stubborn").await?;
    client.send_numbers(&queue, 0..5).await?;
    let mut consumer = client.consume(&queue, 1).await?;
    for round in 0..50 {
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.data, b"0");
        assert_eq!(delivery.redelivered, round > 0);
        delivery.acker.nack(REQUEUE).await?;
    }
    for number in numbers(0..5) {
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.data, number.as_bytes());
        delivery.acker.ack(BasicAckOptions::default()).await?;
    }
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn settling_twice_closes_the_channel_and_returns_the_rest() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("twice").await?;
    client.send_numbers(&queue, 0..2).await?;
    let channel = client.connection.create_channel().await?;
    let options = BasicGetOptions::default();
    let first =
        channel.basic_get(queue.as_str().into(), options).await?.ok_or(Missing("no message"))?;
    channel.basic_get(queue.as_str().into(), options).await?.ok_or(Missing("no message"))?;
    channel.basic_ack(first.delivery_tag, BasicAckOptions::default()).await?;
    channel.basic_ack(first.delivery_tag, BasicAckOptions::default()).await?;
    let refused = channel.basic_get(queue.as_str().into(), options).await;
    assert_eq!(channel_error(&refused), Some(AMQPSoftError::PRECONDITIONFAILED));

    client.ready_becomes(&queue, 1).await?;
    let back = client.get(&queue).await?.ok_or(Missing("the message did not come back"))?;
    assert_eq!((back.data.as_slice(), back.redelivered), (b"1".as_slice(), true));
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}
