//! The example of the manual's page on lapin, as it stands there.

use conformance_lapin::Outcome;
use conformance_lapin::broker::Broker;
use conformance_lapin::client::soon;
use futures_lite::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};

async fn orders(url: &str) -> lapin::Result<String> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("orders".into(), durable, FieldTable::default()).await?;

    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let confirm = channel
        .basic_publish("".into(), "orders".into(), mandatory, b"one book", persistent)
        .await?
        .await?; // it is on disk, or it came back
    assert!(confirm.is_ack());

    channel.basic_qos(50, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume("orders".into(), "".into(), options, FieldTable::default()).await?;
    let mut body = String::new();
    if let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        body = String::from_utf8_lossy(&delivery.data).into_owned();
        delivery.ack(BasicAckOptions::default()).await?;
    }
    connection.close(200, "bye".into()).await?;
    Ok(body)
}

#[tokio::test]
async fn the_example_of_the_manual() -> Outcome {
    let broker = Broker::start()?;
    assert_eq!(soon("the example's end", orders(broker.url())).await??, "one book");
    broker.stop()?;
    Ok(())
}
