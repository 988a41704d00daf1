//! What is there again after `kill -9` and after a clean stop. These need a broker of their own.

use std::collections::HashSet;
use std::time::Duration;

use conformance_lapin::broker::Broker;
use conformance_lapin::client::{
    Client, PERSISTENT, ack_up_to, bodies, body, channel_error, next_many, numbers, soon,
};
use conformance_lapin::{Missing, Outcome};
use futures_lite::StreamExt;
use lapin::options::{
    BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use tokio::task::JoinSet;
use tokio::time::sleep;

const DURABLE: QueueDeclareOptions = QueueDeclareOptions {
    passive: false,
    durable: true,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};
const DURABLE_EXCHANGE: ExchangeDeclareOptions = ExchangeDeclareOptions {
    passive: false,
    durable: true,
    auto_delete: false,
    internal: false,
    nowait: false,
};

/// How the broker goes down before it comes up again.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Stop,
}

fn start_again(broker: &mut Broker, end: End) -> Outcome {
    match end {
        End::Kill => Ok(broker.kill_and_start_again()?),
        End::Stop => broker.stop_and_start_again(),
    }
}

async fn missing(url: &str, queue: &str) -> Outcome<bool> {
    let client = Client::open(url).await?;
    Ok(channel_error(&client.ready(queue).await) == Some(AMQPSoftError::NOTFOUND))
}

#[tokio::test]
async fn topology_survives() -> Outcome {
    for end in [End::Kill, End::Stop] {
        let Some(mut broker) = Broker::start_own()? else { return Ok(()) };
        let client = Client::open(broker.url()).await?;
        declare_shop(&client).await?;
        client.declare("transient", QueueDeclareOptions::default()).await?;
        let exclusive = QueueDeclareOptions { exclusive: true, ..DURABLE };
        client.declare("exclusive", exclusive).await?;
        let kind = ExchangeKind::Fanout;
        let (options, table) = (ExchangeDeclareOptions::default(), FieldTable::default());
        client.channel.exchange_declare("passing".into(), kind, options, table).await?;
        client.bind("orders", "passing", "").await?;

        start_again(&mut broker, end)?;
        let client = Client::open(broker.url()).await?;
        // Declaring as before is a check of every setting: another one would be refused with 406.
        declare_shop(&client).await?;
        assert_eq!(routed(&client, "shop", "order.new", "region", "north").await?, ["orders"]);
        assert_eq!(
            routed(&client, "shop", "order.new", "region", "south").await?,
            ["orders", "south"]
        );
        assert_eq!(routed(&client, "shop", "unknown", "region", "south").await?, ["rest"]);
        for gone in ["transient", "exclusive"] {
            assert!(missing(broker.url(), gone).await?, "{gone} is there again after {end:?}");
        }
        let passing = client.channel.exchange_declare(
            "passing".into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions { passive: true, ..Default::default() },
            FieldTable::default(),
        );
        assert_eq!(channel_error(&passing.await), Some(AMQPSoftError::NOTFOUND));
        broker.stop()?;
    }
    Ok(())
}

/// A durable topology with all that is to be remembered: kinds, alternates, arguments, bindings.
async fn declare_shop(client: &Client) -> lapin::Result<()> {
    let channel = &client.channel;
    for queue in ["orders", "south", "rest"] {
        client.declare(queue, DURABLE).await?;
    }
    let mut alternate = FieldTable::default();
    alternate.insert("alternate-exchange".into(), AMQPValue::LongString("leftover".into()));
    let internal = ExchangeDeclareOptions { internal: true, ..DURABLE_EXCHANGE };
    let none = FieldTable::default();
    let (topic, fanout, headers) =
        (ExchangeKind::Topic, ExchangeKind::Fanout, ExchangeKind::Headers);
    channel.exchange_declare("shop".into(), topic, DURABLE_EXCHANGE, alternate).await?;
    channel.exchange_declare("leftover".into(), fanout, DURABLE_EXCHANGE, none.clone()).await?;
    channel.exchange_declare("regions".into(), headers, internal, none.clone()).await?;

    client.bind("orders", "shop", "order.#").await?;
    client.bind("rest", "leftover", "").await?;
    let options = ExchangeBindOptions::default();
    channel.exchange_bind("regions".into(), "shop".into(), "*.new".into(), options, none).await?;
    let mut south = FieldTable::default();
    south.insert("x-match".into(), AMQPValue::LongString("any".into()));
    south.insert("region".into(), AMQPValue::LongString("south".into()));
    let options = QueueBindOptions::default();
    channel.queue_bind("south".into(), "regions".into(), "".into(), options, south).await
}

/// Publishes one message with one header, and tells which of the shop's queues got it.
async fn routed(
    client: &Client,
    exchange: &str,
    key: &str,
    header: &str,
    value: &str,
) -> Outcome<Vec<&'static str>> {
    let mut headers = FieldTable::default();
    headers.insert(header.into(), AMQPValue::LongString(value.into()));
    let properties = BasicProperties::default().with_headers(headers);
    let options = BasicPublishOptions::default();
    let confirm = client
        .channel
        .basic_publish(exchange.into(), key.into(), options, b"probe", properties)
        .await?;
    soon("a confirm", confirm).await??;
    let mut got = Vec::new();
    for queue in ["orders", "south", "rest"] {
        if client.get(queue).await?.is_some() {
            got.push(queue);
        }
    }
    Ok(got)
}

fn all_properties() -> BasicProperties {
    let mut inner = FieldTable::default();
    inner.insert("timestamp".into(), AMQPValue::Timestamp(1_700_000_000));
    inner.insert("void".into(), AMQPValue::Void);
    let mut headers = FieldTable::default();
    headers.insert("table".into(), AMQPValue::FieldTable(inner));
    headers.insert("bytes".into(), AMQPValue::ByteArray(vec![0, 1, 255].into()));
    headers.insert("double".into(), AMQPValue::Double(-0.25));
    headers.insert(
        "array".into(),
        AMQPValue::FieldArray(FieldArray::from(vec![
            AMQPValue::LongLongInt(i64::MIN),
            AMQPValue::Boolean(true),
        ])),
    );
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("identity".into())
        .with_headers(headers)
        .with_delivery_mode(PERSISTENT)
        .with_priority(5)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply".into())
        .with_message_id("id".into())
        .with_timestamp(1_700_000_001)
        .with_type("type".into())
        .with_user_id("guest".into())
        .with_app_id("app".into())
}

#[tokio::test]
async fn persistent_messages_survive_whole_and_in_order() -> Outcome {
    for end in [End::Kill, End::Stop] {
        let Some(mut broker) = Broker::start_own()? else { return Ok(()) };
        let client = Client::open(broker.url()).await?;
        client.declare("kept", DURABLE).await?;
        for number in 0..300 {
            let body = format!("persistent {number}");
            let options = BasicPublishOptions::default();
            for (body, properties) in [
                (body.as_str(), all_properties()),
                ("transient", BasicProperties::default().with_delivery_mode(1)),
            ] {
                drop(
                    client
                        .channel
                        .basic_publish(
                            "".into(),
                            "kept".into(),
                            options,
                            body.as_bytes(),
                            properties,
                        )
                        .await?,
                );
            }
        }
        let large = "x".repeat(3_000_000);
        drop(client.send("kept", &large).await?);
        client.channel.wait_for_confirms().await?;

        start_again(&mut broker, end)?;
        let client = Client::open(broker.url()).await?;
        assert_eq!(client.ready("kept").await?, 301, "after {end:?}");
        for number in 0..300 {
            let delivery = client.get("kept").await?.ok_or(Missing("a message is missing"))?;
            assert_eq!(body(&delivery), format!("persistent {number}"));
            assert_eq!(delivery.properties, all_properties());
            assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("", "kept"));
            // RabbitMQ marks everything after a kill, as it does not know; the journal does.
            assert!(!delivery.redelivered, "it was never delivered before");
        }
        assert_eq!(client.get_all("kept").await?, [large]);
        broker.stop()?;
    }
    Ok(())
}

#[tokio::test]
async fn unacknowledged_comes_back_redelivered_and_acknowledged_stays_gone() -> Outcome {
    for end in [End::Kill, End::Stop] {
        let Some(mut broker) = Broker::start_own()? else { return Ok(()) };
        let client = Client::open(broker.url()).await?;
        client.declare("half", DURABLE).await?;
        client.send_numbers("half", 0..200).await?;
        let mut consumer = client.consume("half", 150).await?;
        let held = next_many(&mut consumer, 150).await?;
        ack_up_to(&held[99]).await?;
        next_many(&mut consumer, 50).await?;
        // A confirm answers for all that came before it in the journal, acknowledgements too.
        // (RabbitMQ writes those behind, and gives them again after a kill.)
        client.declare("marker", DURABLE).await?;
        client.send_numbers("marker", 0..1).await?;

        start_again(&mut broker, end)?;
        let client = Client::open(broker.url()).await?;
        let mut consumer = client.consume("half", 0).await?;
        let back = next_many(&mut consumer, 100).await?;
        assert_eq!(bodies(&back), numbers(100..200), "after {end:?}");
        assert!(back.iter().all(|delivery| delivery.redelivered));
        broker.stop()?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_deleted_stays_gone() -> Outcome {
    for end in [End::Kill, End::Stop] {
        let Some(mut broker) = Broker::start_own()? else { return Ok(()) };
        let client = Client::open(broker.url()).await?;
        declare_shop(&client).await?;
        client.declare("purged", DURABLE).await?;
        client.send_numbers("purged", 0..50).await?;
        client.send_numbers("south", 0..50).await?;
        client.channel.queue_purge("purged".into(), QueuePurgeOptions::default()).await?;
        client.delete("south").await?;
        let none = FieldTable::default();
        client.channel.queue_unbind("orders".into(), "shop".into(), "order.#".into(), none).await?;
        client.channel.exchange_delete("leftover".into(), ExchangeDeleteOptions::default()).await?;

        start_again(&mut broker, end)?;
        assert!(missing(broker.url(), "south").await?, "the queue is back after {end:?}");
        let client = Client::open(broker.url()).await?;
        assert_eq!(client.ready("purged").await?, 0, "purged messages are back after {end:?}");
        let returned = client.publish_mandatory("shop", "order.old", b"unbound").await?;
        assert!(returned.is_some(), "the binding is back after {end:?}");
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let kind = ExchangeKind::Fanout;
        let refused = client
            .channel
            .exchange_declare("leftover".into(), kind, passive, FieldTable::default())
            .await;
        assert_eq!(channel_error(&refused), Some(AMQPSoftError::NOTFOUND));
        broker.stop()?;
    }
    Ok(())
}

/// Publishes `publisher:0`, `publisher:1` … until the broker is gone, and tells which were confirmed.
async fn publish_until_the_end(url: String, publisher: usize) -> Outcome<Vec<String>> {
    const WINDOW: usize = 100;
    let client = Client::open(&url).await?;
    let mut confirmed = Vec::new();
    for batch in 0.. {
        let mut unconfirmed = Vec::with_capacity(WINDOW);
        for number in batch * WINDOW..(batch + 1) * WINDOW {
            let body = format!("{publisher}:{number}");
            let Ok(confirm) = client.send("stream", &body).await else { return Ok(confirmed) };
            unconfirmed.push((body, confirm));
        }
        for (body, confirm) in unconfirmed {
            match soon("a confirm, or the end of the connection", confirm).await? {
                Ok(confirmation) if confirmation.is_ack() => confirmed.push(body),
                Ok(_) | Err(_) => return Ok(confirmed),
            }
        }
    }
    Ok(confirmed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_confirmed_message_survives_a_kill_in_the_middle() -> Outcome {
    const PUBLISHERS: usize = 4;
    let Some(mut broker) = Broker::start_own()? else { return Ok(()) };
    Client::open(broker.url()).await?.declare("stream", DURABLE).await?;
    let mut everything: HashSet<String> = HashSet::new();
    for round in 0..3 {
        let mut publishers: JoinSet<Outcome<Vec<String>>> = (0..PUBLISHERS)
            .map(|publisher| {
                publish_until_the_end(broker.url().to_owned(), round * PUBLISHERS + publisher)
            })
            .collect();
        sleep(Duration::from_millis(700)).await;
        broker.kill_and_start_again()?;
        let before = everything.len();
        while let Some(confirmed) = publishers.join_next().await {
            everything.extend(confirmed??);
        }
        assert!(everything.len() > before + 100, "round {round} confirmed hardly anything");
    }

    let client = Client::open(broker.url()).await?;
    let ready = client.ready("stream").await?;
    let mut consumer = client.consume("stream", 0).await?;
    let mut newest = [None; 3 * PUBLISHERS];
    let mut seen = HashSet::new();
    for _ in 0..ready {
        let delivery =
            soon("a message", consumer.next()).await?.ok_or(Missing("the consumer ended"))??;
        let text = body(&delivery);
        let (publisher, number) = text.split_once(':').ok_or(Missing("a body without a colon"))?;
        let (publisher, number): (usize, u64) = (publisher.parse()?, number.parse()?);
        assert!(newest[publisher] < Some(number), "{text} is out of order");
        newest[publisher] = Some(number);
        assert!(seen.insert(text), "a message came twice");
    }
    let lost: Vec<_> = everything.difference(&seen).take(10).collect();
    assert!(lost.is_empty(), "confirmed and lost: {lost:?} …");
    broker.stop()?;
    Ok(())
}
