//! What RabbitMQ added to the protocol, as a Rust program sees it: arguments of queues, dead letters
//! with their history, transactions, direct replies.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conformance_lapin::broker::Broker;
use conformance_lapin::client::{
    Client, PERSISTENT, bodies, body, channel_error, next, next_many, soon, surplus, unique,
};
use conformance_lapin::{Missing, Outcome};
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
    BasicQosOptions, BasicRejectOptions, QueueDeclareOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Consumer};

const REJECT: BasicRejectOptions = BasicRejectOptions { requeue: false };
const RETURN: BasicRejectOptions = BasicRejectOptions { requeue: true };
const NO_ACK: BasicConsumeOptions =
    BasicConsumeOptions { no_local: false, no_ack: true, exclusive: false, nowait: false };
const DURABLE: QueueDeclareOptions = QueueDeclareOptions {
    passive: false,
    durable: true,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

async fn declare_with<const N: usize>(
    client: &Client,
    options: QueueDeclareOptions,
    arguments: [(&str, AMQPValue); N],
) -> lapin::Result<String> {
    let name = unique("extension");
    client.channel.queue_declare(name.as_str().into(), options, table(arguments)).await?;
    Ok(name)
}

/// Publishes and tells what the broker said to it.
async fn publish(
    client: &Client,
    queue: &str,
    body: &str,
    properties: BasicProperties,
) -> Outcome<Confirmation> {
    let options = BasicPublishOptions::default();
    let confirm = client
        .channel
        .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties)
        .await?;
    Ok(soon("a confirm", confirm).await??)
}

/// The only message of a queue, to be settled.
async fn get(client: &Client, queue: &str) -> Outcome<Delivery> {
    client.ready_becomes(queue, 1).await?;
    let got = client.channel.basic_get(queue.into(), BasicGetOptions::default()).await?;
    Ok(got.ok_or(Missing("no message"))?.delivery)
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}

/// The deaths in `x-death`, the newest first.
fn deaths(delivery: &Delivery) -> Outcome<Vec<FieldTable>> {
    let Some(AMQPValue::FieldArray(deaths)) = header(delivery, "x-death") else {
        return Err(Missing("x-death is an array").into());
    };
    let mut tables = Vec::new();
    for death in deaths.as_slice() {
        let AMQPValue::FieldTable(death) = death else {
            return Err(Missing("a death is a table").into());
        };
        tables.push(death.clone());
    }
    Ok(tables)
}

#[tokio::test]
async fn a_dead_letter_tells_its_history() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let letters = client.queue("letters").await?;
    let work = declare_with(
        &client,
        QueueDeclareOptions::default(),
        [
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(&letters)),
            ("x-message-ttl", AMQPValue::LongInt(60_000)),
        ],
    )
    .await?;
    let properties = BasicProperties::default().with_message_id("7".into());
    publish(&client, &work, "bad", properties.with_expiration("50000".into())).await?;
    get(&client, &work).await?.acker.reject(REJECT).await?;

    let letter = get(&client, &letters).await?;
    assert_eq!((body(&letter).as_str(), letter.redelivered), ("bad", false));
    assert_eq!(letter.properties.message_id(), &Some("7".into()));
    assert_eq!(letter.properties.expiration(), &None, "a dead letter does not die of the same");
    let deaths = deaths(&letter)?;
    assert_eq!(deaths.len(), 1);
    let death = deaths[0].inner();
    assert_eq!(death.get("reason"), Some(&text("rejected")));
    assert_eq!(death.get("queue"), Some(&text(&work)));
    assert_eq!(death.get("exchange"), Some(&text("")));
    assert_eq!(death.get("count"), Some(&AMQPValue::LongLongInt(1)));
    assert_eq!(death.get("original-expiration"), Some(&text("50000")));
    let Some(AMQPValue::FieldArray(keys)) = death.get("routing-keys") else {
        return Err(Missing("routing-keys is an array").into());
    };
    assert_eq!(keys.as_slice(), [text(&work)]);
    let Some(AMQPValue::Timestamp(time)) = death.get("time") else {
        return Err(Missing("time is a timestamp").into());
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    assert!(now.abs_diff(*time) <= 2, "died at {time}, it is {now}");
    assert_eq!(header(&letter, "x-first-death-reason"), Some(&text("rejected")));
    assert_eq!(header(&letter, "x-first-death-queue"), Some(&text(&work)));
    for queue in [work, letters] {
        client.delete(&queue).await?;
    }
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn time_to_live_expires_messages() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let ttl = [("x-message-ttl", AMQPValue::LongInt(80))];
    let brief = declare_with(&client, QueueDeclareOptions::default(), ttl).await?;
    let queue = client.queue("own").await?;
    publish(&client, &brief, "1", BasicProperties::default()).await?;
    let own = BasicProperties::default().with_expiration("80".into());
    publish(&client, &queue, "2", own).await?;
    publish(&client, &queue, "3", BasicProperties::default()).await?;
    client.ready_becomes(&brief, 0).await?;
    client.ready_becomes(&queue, 1).await?;
    assert_eq!(client.get_all(&queue).await?, ["3"]);
    for queue in [brief, queue] {
        client.delete(&queue).await?;
    }
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_full_queue_refuses_with_nack() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = declare_with(
        &client,
        QueueDeclareOptions::default(),
        [("x-max-length", AMQPValue::LongInt(2)), ("x-overflow", text("reject-publish"))],
    )
    .await?;
    let mut answers = Vec::new();
    for body in ["1", "2", "3"] {
        answers.push(publish(&client, &queue, body, BasicProperties::default()).await?.is_ack());
    }
    assert_eq!(answers, [true, true, false]);
    assert_eq!(client.get_all(&queue).await?, ["1", "2"]);
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn urgent_messages_come_first() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let levels = [("x-max-priority", AMQPValue::ShortShortUInt(3))];
    let queue = declare_with(&client, QueueDeclareOptions::default(), levels).await?;
    for (body, priority) in [("c", 0), ("b", 2), ("a", 3), ("a too", 9), ("c too", 0)] {
        let properties = BasicProperties::default().with_priority(priority);
        publish(&client, &queue, body, properties).await?;
    }
    assert_eq!(client.get_all(&queue).await?, ["a", "a too", "b", "c", "c too"]);
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

async fn consume_with(client: &Client, queue: &str, arguments: FieldTable) -> Outcome<Consumer> {
    client.channel.basic_qos(1, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    Ok(client.channel.basic_consume(queue.into(), "".into(), options, arguments).await?)
}

#[tokio::test]
async fn consumers_have_priorities() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("ranks").await?;
    let low = [("x-priority", AMQPValue::LongInt(-5))];
    let mut low = consume_with(&client, &queue, table(low)).await?;
    let high = [("x-priority", AMQPValue::LongInt(5))];
    let mut high = consume_with(&client, &queue, table(high)).await?;
    client.send_numbers(&queue, 0..2).await?;
    let first = next(&mut high).await?;
    let second = next(&mut low).await?;
    assert_eq!((body(&first).as_str(), body(&second).as_str()), ("0", "1"));
    first.acker.ack(BasicAckOptions::default()).await?;
    second.acker.ack(BasicAckOptions::default()).await?;
    client.send_numbers(&queue, 2..3).await?;
    assert_eq!(body(&next(&mut high).await?), "2");
    assert!(surplus(&mut low).await?.is_none());
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn one_consumer_is_active_and_the_next_takes_over() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let single = [("x-single-active-consumer", AMQPValue::Boolean(true))];
    let queue = declare_with(&client, QueueDeclareOptions::default(), single).await?;
    let other = Client::open(broker.url()).await?;
    let mut active = other.consume(&queue, 10).await?;
    let mut waiting = client.consume(&queue, 10).await?;
    client.send_numbers(&queue, 0..3).await?;
    let held = next_many(&mut active, 3).await?;
    assert!(surplus(&mut waiting).await?.is_none());
    held[0].acker.ack(BasicAckOptions::default()).await?;
    soon("the end of the active one's acknowledgement", other.ready(&queue)).await??;
    other.close().await?;
    let rest = next_many(&mut waiting, 2).await?;
    assert_eq!(bodies(&rest), ["1", "2"]);
    assert!(rest.iter().all(|delivery| delivery.redelivered));
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_consumer_ends_with_its_queue() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("gone").await?;
    let mut consumer = client.consume(&queue, 0).await?;
    Client::open(broker.url()).await?.delete(&queue).await?;
    let end = soon("the end of the consumer", consumer.next()).await?;
    assert!(end.is_none(), "a delivery from a queue that is gone");
    assert_eq!(client.ready(&client.queue("still").await?).await?, 0, "the channel goes on");
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_quorum_queue_gives_up_after_its_limit() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let letters = client.queue("letters").await?;
    let quorum = declare_with(
        &client,
        DURABLE,
        [
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", AMQPValue::LongInt(2)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(&letters)),
        ],
    )
    .await?;
    client.send_numbers(&quorum, 0..1).await?;
    for returned in 0..3 {
        let delivery = get(&client, &quorum).await?;
        assert_eq!(delivery.redelivered, returned > 0);
        let counted = header(&delivery, "x-delivery-count").and_then(AMQPValue::as_long_long_int);
        assert!(returned == 0 || counted == Some(returned), "{counted:?} after {returned} returns");
        delivery.acker.reject(RETURN).await?;
    }
    let letter = get(&client, &letters).await?;
    assert_eq!(deaths(&letter)?[0].inner().get("reason"), Some(&text("delivery_limit")));
    for queue in [quorum, letters] {
        client.delete(&queue).await?;
    }
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn arguments_are_checked_and_compared() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let options = QueueDeclareOptions::default();
    let length = |count| table([("x-max-length", AMQPValue::LongInt(count))]);
    let queue = unique("compared");
    client.channel.queue_declare(queue.as_str().into(), options, length(5)).await?;
    client.channel.queue_declare(queue.as_str().into(), options, length(5)).await?;
    for (name, arguments) in [
        (queue.clone(), length(6)),
        (queue.clone(), FieldTable::default()),
        (unique("bad"), length(-1)),
        (unique("bad"), table([("x-max-length", text("five"))])),
        (unique("bad"), table([("x-queue-mode", text("eager"))])),
        (unique("bad"), table([("x-dead-letter-routing-key", text("no exchange"))])),
    ] {
        let channel = client.connection.create_channel().await?;
        let refused = channel.queue_declare(name.as_str().into(), options, arguments).await;
        let code = channel_error(&refused);
        assert_eq!(code, Some(AMQPSoftError::PRECONDITIONFAILED), "{name}: {refused:?}");
    }
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

/// Publishes inside a transaction.
async fn put(channel: &Channel, queue: &str, body: &str) -> lapin::Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions::default();
    let sent = channel
        .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties)
        .await?;
    drop(sent);
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let (from, to) = (client.queue("from").await?, client.queue("to").await?);
    client.send_numbers(&from, 0..2).await?;
    let channel = client.connection.create_channel().await?;
    channel.tx_select().await?;

    let options = BasicGetOptions::default();
    let taken = channel.basic_get(from.as_str().into(), options).await?;
    let tag = taken.ok_or(Missing("no message"))?.delivery_tag;
    put(&channel, &to, "moved").await?;
    channel.basic_ack(tag, BasicAckOptions::default()).await?;
    assert_eq!(client.ready(&to).await?, 0, "not before the commit");
    channel.tx_rollback().await?;
    assert_eq!(client.ready(&to).await?, 0);

    // The acknowledgement was taken back with the rest: the message is still to be settled.
    put(&channel, &to, "moved").await?;
    put(&channel, &to, "and more").await?;
    channel.basic_ack(tag, BasicAckOptions::default()).await?;
    channel.tx_commit().await?;
    channel.close(200, "done".into()).await?;
    assert_eq!(client.get_all(&from).await?, ["1"], "settled for good");
    assert_eq!(client.get_all(&to).await?, ["moved", "and more"]);
    for queue in [from, to] {
        client.delete(&queue).await?;
    }
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn requests_are_answered_without_a_queue() -> Outcome {
    const REPLY_TO: &str = "amq.rabbitmq.reply-to";
    let broker = Broker::start()?;
    let (client, server) = (Client::open(broker.url()).await?, Client::open(broker.url()).await?);
    let queue = client.queue("requests").await?;
    let none = FieldTable::default();
    let mut replies =
        client.channel.basic_consume(REPLY_TO.into(), "".into(), NO_ACK, none).await?;
    let properties =
        BasicProperties::default().with_reply_to(REPLY_TO.into()).with_correlation_id("one".into());
    publish(&client, &queue, "question", properties).await?;

    let request = get(&server, &queue).await?;
    let properties = &request.properties;
    let (Some(reply_to), Some(correlation)) = (properties.reply_to(), properties.correlation_id())
    else {
        return Err(Missing("reply_to and correlation_id").into());
    };
    assert!(reply_to.as_str().starts_with("amq.rabbitmq.reply-to."), "{reply_to}");
    let answer = BasicProperties::default().with_correlation_id(correlation.clone());
    publish(&server, reply_to.as_str(), "answer", answer).await?;
    let reply = next(&mut replies).await?;
    assert_eq!(body(&reply), "answer");
    assert_eq!(reply.properties.correlation_id(), &Some("one".into()));
    client.channel.basic_cancel(replies.tag(), BasicCancelOptions::default()).await?;
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn an_unused_queue_expires() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let expires = [("x-expires", AMQPValue::LongInt(100))];
    let queue = declare_with(&client, QueueDeclareOptions::default(), expires).await?;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let missing = client.ready(&queue).await;
    assert_eq!(channel_error(&missing), Some(AMQPSoftError::NOTFOUND));
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn what_queues_are_told_survives_a_kill() -> Outcome {
    let Some(mut broker) = Broker::start_own()? else { return Ok(()) };
    let client = Client::open(broker.url()).await?;
    let letters = declare_with(&client, DURABLE, []).await?;
    let arguments = [
        ("x-max-length", AMQPValue::LongInt(3)),
        ("x-max-priority", AMQPValue::LongInt(5)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&letters)),
    ];
    let queue = declare_with(&client, DURABLE, arguments).await?;
    for (body, priority) in [("d", 0), ("b", 1), ("a", 5), ("c", 1)] {
        let properties =
            BasicProperties::default().with_priority(priority).with_delivery_mode(PERSISTENT);
        publish(&client, &queue, body, properties).await?;
    }
    client.ready_becomes(&letters, 1).await?;
    broker.kill_and_start_again()?;
    let client = Client::open(broker.url()).await?;
    // The head, which a full queue drops, is the most urgent.
    assert_eq!(client.get_all(&queue).await?, ["b", "c", "d"]);
    let letter = get(&client, &letters).await?;
    assert_eq!(body(&letter), "a");
    assert_eq!(deaths(&letter)?[0].inner().get("reason"), Some(&text("maxlen")));
    broker.stop()?;
    Ok(())
}
