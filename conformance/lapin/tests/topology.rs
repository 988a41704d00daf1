//! Exchanges, queues and bindings, changed by many at once while messages flow.

use conformance_lapin::Outcome;
use conformance_lapin::broker::Broker;
use conformance_lapin::client::{Client, channel_error, connection_error, numbers, unique};
use lapin::ExchangeKind;
use lapin::options::{
    BasicCancelOptions, BasicPublishOptions, BasicRecoverOptions, ConfirmSelectOptions,
    ExchangeBindOptions, ExchangeUnbindOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::protocol::{AMQPHardError, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Binds the exchange `to` to what comes through `from`.
async fn pass_on(client: &Client, from: &str, to: &str, key: &str) -> lapin::Result<()> {
    let (options, table) = (ExchangeBindOptions::default(), FieldTable::default());
    client.channel.exchange_bind(to.into(), from.into(), key.into(), options, table).await
}

async fn unbind(client: &Client, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    client
        .channel
        .queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default())
        .await
}

/// A life of a queue on a busy exchange, checked at every step.
async fn come_and_go(url: String, exchange: String, tenant: usize) -> Outcome {
    let client = Client::open(&url).await?;
    for round in 0..40 {
        let queue = unique("tenant");
        let options = QueueDeclareOptions { auto_delete: round % 2 == 0, ..Default::default() };
        client.declare(&queue, options).await?;
        let pattern = format!("tenant.{tenant}.*");
        client.bind(&queue, &exchange, &pattern).await?;
        client.bind(&queue, &exchange, &format!("#.{tenant}.round")).await?;

        let key = format!("tenant.{tenant}.round");
        let body = format!("{tenant}:{round}");
        let returned = client.publish_mandatory(&exchange, &key, body.as_bytes()).await?;
        assert!(returned.is_none(), "{key} came back although {pattern} is bound");
        assert_eq!(client.get_all(&queue).await?, [body], "one copy, and nothing of others");

        unbind(&client, &queue, &exchange, &pattern).await?;
        unbind(&client, &queue, &exchange, &format!("#.{tenant}.round")).await?;
        let returned = client.publish_mandatory(&exchange, &key, b"nobody").await?;
        assert!(returned.is_some(), "{key} was routed after all its bindings were gone");
        assert_eq!(client.delete(&queue).await?, 0);
    }
    client.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_tenants_come_and_go_while_messages_flow() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let exchange = client.exchange(ExchangeKind::Topic).await?;
    let steady = client.queue("steady").await?;
    client.bind(&steady, &exchange, "steady.#").await?;

    let (stop, stopped) = watch::channel(false);
    let flow = tokio::spawn(flow(broker.url().to_owned(), exchange.clone(), stopped));
    let mut tenants: JoinSet<Outcome> = (0..8)
        .map(|tenant| come_and_go(broker.url().to_owned(), exchange.clone(), tenant))
        .collect();
    while let Some(tenant) = tenants.join_next().await {
        tenant??;
    }
    stop.send(true)?;
    let sent = flow.await??;
    assert_eq!(
        client.get_all(&steady).await?,
        numbers(0..sent),
        "the flow lost or mixed something"
    );
    client.delete(&steady).await?;
    client.delete_exchange(&exchange).await?;
    broker.stop()?;
    Ok(())
}

/// Publishes numbers with confirms until it is told to stop, and tells how many.
async fn flow(url: String, exchange: String, stopped: watch::Receiver<bool>) -> Outcome<u32> {
    let client = Client::open(&url).await?;
    let mut number: u32 = 0;
    while !*stopped.borrow() {
        let body = number.to_string();
        let returned = client.publish_mandatory(&exchange, "steady.flow", body.as_bytes()).await?;
        assert!(returned.is_none(), "message {number} found no queue");
        number += 1;
    }
    client.close().await?;
    Ok(number)
}

#[tokio::test]
async fn exchanges_bound_to_exchanges_pass_on_one_copy() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let entrance = client.exchange(ExchangeKind::Topic).await?;
    let left = client.exchange(ExchangeKind::Fanout).await?;
    let right = client.exchange(ExchangeKind::Topic).await?;
    pass_on(&client, &entrance, &left, "order.#").await?;
    pass_on(&client, &entrance, &right, "#").await?;
    pass_on(&client, &right, &entrance, "#").await?;
    let everything = client.queue("everything").await?;
    for exchange in [&entrance, &left, &right] {
        client.bind(&everything, exchange, "#").await?;
    }
    let paid = client.queue("paid").await?;
    client.bind(&paid, &right, "*.paid").await?;

    for key in ["order.placed", "order.paid", "invoice.paid"] {
        let returned = client.publish_mandatory(&entrance, key, key.as_bytes()).await?;
        assert!(returned.is_none());
    }
    assert_eq!(
        client.get_all(&everything).await?,
        ["order.placed", "order.paid", "invoice.paid"],
        "one copy each, although three ways lead there"
    );
    assert_eq!(client.get_all(&paid).await?, ["order.paid", "invoice.paid"]);

    let options = ExchangeUnbindOptions::default();
    let (to, from) = (right.as_str().into(), entrance.as_str().into());
    client.channel.exchange_unbind(to, from, "#".into(), options, FieldTable::default()).await?;
    client.publish_mandatory(&entrance, "order.paid", b"unbound").await?;
    assert_eq!(client.get_all(&paid).await?, Vec::<String>::new());

    for queue in [&everything, &paid] {
        client.delete(queue).await?;
    }
    for exchange in [&entrance, &left, &right] {
        client.delete_exchange(exchange).await?;
    }
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_headers_exchange_compares_values_of_all_kinds() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let exchange = client.exchange(ExchangeKind::Headers).await?;
    let queue = client.queue("headers").await?;
    let mut wanted = FieldTable::default();
    wanted.insert("x-match".into(), AMQPValue::LongString("all".into()));
    wanted.insert("urgent".into(), AMQPValue::Boolean(true));
    wanted.insert("size".into(), AMQPValue::LongInt(7));
    wanted.insert("name".into(), AMQPValue::LongString("order".into()));
    let options = QueueBindOptions::default();
    let (name, source) = (queue.as_str().into(), exchange.as_str().into());
    client.channel.queue_bind(name, source, "".into(), options, wanted.clone()).await?;

    let mut other = wanted.clone();
    other.insert("size".into(), AMQPValue::LongInt(8));
    let mut more = wanted.clone();
    more.insert("more".into(), AMQPValue::Void);
    for (body, headers) in [("same", wanted), ("other", other), ("more", more)] {
        let properties = lapin::BasicProperties::default().with_headers(headers);
        let options = BasicPublishOptions::default();
        let to = exchange.as_str().into();
        let confirm = client
            .channel
            .basic_publish(to, "".into(), options, body.as_bytes(), properties)
            .await?;
        confirm.await?;
    }
    assert_eq!(client.get_all(&queue).await?, ["same", "more"]);
    client.delete(&queue).await?;
    client.delete_exchange(&exchange).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_channel_error_leaves_the_connection_alone() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    for _ in 0..20 {
        let channel = client.connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let missing = unique("missing");
        let refused =
            channel.queue_declare(missing.as_str().into(), options, FieldTable::default()).await;
        assert_eq!(channel_error(&refused), Some(AMQPSoftError::NOTFOUND));
        assert!(channel.confirm_select(ConfirmSelectOptions::default()).await.is_err());
    }
    let queue = client.queue("unharmed").await?;
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn a_connection_error_is_told_with_its_code() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("immediate").await?;
    let options = BasicPublishOptions { immediate: true, ..Default::default() };
    let properties = lapin::BasicProperties::default();
    let confirm = client
        .channel
        .basic_publish("".into(), queue.as_str().into(), options, b"now", properties)
        .await?;
    let refused = confirm.await;
    assert_eq!(connection_error(&refused), Some(AMQPHardError::NOTIMPLEMENTED));

    let client = Client::open(broker.url()).await?;
    client.delete(&queue).await?;
    broker.stop()?;
    Ok(())
}

#[tokio::test]
async fn delete_keeps_what_is_in_use() -> Outcome {
    let broker = Broker::start()?;
    let client = Client::open(broker.url()).await?;
    let queue = client.queue("in-use").await?;
    client.send_numbers(&queue, 0..3).await?;
    for (if_unused, if_empty) in [(true, false), (false, true)] {
        let other = Client::open(broker.url()).await?;
        let mut consumer = None;
        if if_unused {
            consumer = Some(client.consume(&queue, 1).await?);
        }
        let options = QueueDeleteOptions { if_unused, if_empty, ..Default::default() };
        let refused = other.channel.queue_delete(queue.as_str().into(), options).await;
        assert_eq!(channel_error(&refused), Some(AMQPSoftError::PRECONDITIONFAILED));
        if let Some(consumer) = consumer {
            client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
            client.channel.basic_recover(BasicRecoverOptions { requeue: true }).await?;
        }
    }
    assert_eq!(client.delete(&queue).await?, 3);
    broker.stop()?;
    Ok(())
}
