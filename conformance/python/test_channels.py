"""Opening and closing channels, and what a channel error leaves untouched."""

import pika
import pytest

import wire


def test_open(raw):
    raw().call("channel.open", 1)


def test_open_twice_closes_with_504(raw):
    connection = raw()
    connection.channel(1)
    connection.send("channel.open", 1)
    close = connection.expect_connection_close(504, "channel.open")
    assert close.reply_text.startswith("CHANNEL_ERROR")


@pytest.mark.parametrize("method", ["queue.delete", "basic.qos", "basic.get", "confirm.select"])
def test_method_on_a_channel_not_open_closes_with_504(raw, method):
    connection = raw()
    connection.channel(1)
    fields = {"queue": "any"} if method in ("queue.delete", "basic.get") else {}
    connection.send(method, 2, **fields)
    connection.expect_connection_close(504)


def test_content_on_a_channel_not_open_closes(raw):
    connection = raw()
    connection.publish(5, "nowhere", b"body")
    connection.expect_connection_close(504)


def test_number_can_be_reused_after_close(raw):
    connection = raw()
    for _ in range(20):
        connection.channel(1)
        connection.call("channel.close", 1, reply_code=200)
    connection.channel(1)
    connection.works(1)


def test_closed_channel_is_not_open(raw):
    connection = raw()
    connection.channel(1)
    connection.call("channel.close", 1, reply_code=200)
    connection.send("basic.qos", 1)
    connection.expect_connection_close(504)


def test_many_channels(connection, names):
    channels = [connection.channel() for _ in range(200)]
    queues = [names.queue() for _ in channels]
    for channel, queue in zip(channels, queues, strict=True):
        channel.queue_declare(queue)
        channel.basic_publish("", queue, queue.encode())
    for channel, queue in reversed(list(zip(channels, queues, strict=True))):
        assert channel.basic_get(queue, auto_ack=True)[2] == queue.encode()


def test_highest_channel_number(raw):
    connection = raw()
    connection.channel(connection.tune.channel_max)
    connection.works(connection.tune.channel_max)


def test_error_closes_only_its_channel(connection, names):
    queue = names.queue()
    healthy, failing = connection.channel(), connection.channel()
    healthy.queue_declare(queue)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        failing.queue_declare("no-such-queue", passive=True)
    assert error.value.reply_code == 404
    assert failing.is_closed and connection.is_open
    healthy.basic_publish("", queue, b"alive")
    assert healthy.basic_get(queue, auto_ack=True)[2] == b"alive"
    assert connection.channel().is_open


@pytest.mark.parametrize(
    "method, fields, code, name",
    [
        ("queue.declare", {"queue": "no-such-queue", "passive": True}, 404, "NOT_FOUND"),
        (
            "exchange.declare",
            {"exchange": "no-such", "type": "direct", "passive": True},
            404,
            "NOT_FOUND",
        ),
        ("queue.bind", {"queue": "no-such-queue", "exchange": "amq.direct"}, 404, "NOT_FOUND"),
        ("queue.purge", {"queue": "no-such-queue"}, 404, "NOT_FOUND"),
        ("basic.get", {"queue": "no-such-queue"}, 404, "NOT_FOUND"),
        ("basic.consume", {"queue": "no-such-queue"}, 404, "NOT_FOUND"),
        ("exchange.declare", {"exchange": "amq.mine", "type": "direct"}, 403, "ACCESS_REFUSED"),
        ("exchange.delete", {"exchange": "amq.direct"}, 403, "ACCESS_REFUSED"),
        ("basic.ack", {"delivery_tag": 1}, 406, "PRECONDITION_FAILED"),
        (
            "exchange.declare",
            {"exchange": "amq.direct", "type": "fanout"},
            406,
            "PRECONDITION_FAILED",
        ),
    ],
)
def test_error_names_code_and_method(raw, method, fields, code, name):
    connection = raw()
    connection.channel(3)
    connection.send(method, 3, **fields)
    close = connection.expect_channel_close(3, code, method)
    assert close.reply_text.startswith(f"{name} - ")


def test_what_is_in_flight_after_an_error_is_discarded(raw, names):
    connection, other = raw(), raw()
    connection.channel(1)
    other.channel(1)
    queue, unwanted = names.queue(), names.queue()
    other.call("queue.declare", 1, queue=queue)
    connection.publish(1, queue, b"before")
    connection.send("queue.declare", 1, queue="no-such-queue", passive=True)
    connection.publish(1, queue, b"after")
    connection.send("queue.declare", 1, queue=unwanted)
    connection.send("basic.get", 1, queue=queue)
    connection.expect("channel.close", 1)
    connection.publish(1, queue, b"later still")
    connection.send("channel.close-ok", 1)
    connection.channel(1)
    other.send("basic.get", 1, queue=queue, no_ack=True)
    got = other.expect("basic.get-ok", 1)
    assert (got.body, got.message_count) == (b"before", 0)
    other.send("queue.declare", 1, queue=unwanted, passive=True)
    other.expect_channel_close(1, 404)


def test_number_can_be_reused_after_an_error(raw):
    connection = raw()
    for _ in range(10):
        connection.channel(1)
        connection.send("queue.purge", 1, queue="no-such-queue")
        connection.expect_channel_close(1, 404, "queue.purge")
    connection.channel(1)
    connection.works(1)


def test_client_close_crossing_a_server_close(raw):
    connection = raw()
    connection.channel(1)
    connection.send("queue.purge", 1, queue="no-such-queue")
    connection.send("channel.close", 1, reply_code=200)
    connection.expect("channel.close", 1)
    connection.expect("channel.close-ok", 1)
    connection.send("channel.close-ok", 1)
    connection.channel(1)
    connection.works(1)


def test_error_of_a_publish_does_not_confuse_later_frames(raw, names):
    connection = raw()
    connection.channel(1)
    connection.channel(2)
    queue = names.queue()
    connection.call("queue.declare", 2, queue=queue)
    connection.publish(1, "key", bytes(300_000), exchange="no-such-exchange")
    connection.publish(1, "key", bytes(300_000), exchange="no-such-exchange")
    connection.publish(2, queue, b"fine")
    connection.expect_channel_close(1, 404, "basic.publish")
    connection.send("basic.get", 2, queue=queue, no_ack=True)
    assert connection.expect("basic.get-ok", 2).body == b"fine"
    connection.channel(1)
    connection.works(1)


def test_flow_active(raw):
    connection = raw()
    connection.channel(1)
    assert connection.call("channel.flow", 1, active=True).active is True


def test_flow_inactive_is_refused_with_540(raw):
    connection = raw()
    connection.channel(1)
    connection.send("channel.flow", 1, active=False)
    close = connection.expect_connection_close(540, "channel.flow")
    assert "active=false" in close.reply_text


def test_tags_belong_to_a_channel(raw, names):
    connection = raw()
    queue = names.queue()
    for number in (1, 2):
        connection.channel(number)
    connection.call("queue.declare", 1, queue=queue)
    for number in (1, 2):
        connection.call("basic.qos", number, prefetch_count=1)
        connection.call("basic.consume", number, queue=queue, consumer_tag="same")
    connection.publish(1, queue, b"a")
    connection.publish(1, queue, b"b")
    got = [connection.next_method() for _ in range(2)]
    assert {each.channel for each in got} == {1, 2}
    assert [each.delivery_tag for each in got] == [1, 1]
    assert {each.consumer_tag for each in got} == {"same"}


def test_close_returns_messages_to_the_queue(connection, names):
    queue = names.queue()
    first, second = connection.channel(), connection.channel()
    first.queue_declare(queue)
    for body in (b"1", b"2", b"3"):
        first.basic_publish("", queue, body)
    for _ in range(3):
        first.basic_get(queue)
    first.close()
    got = [second.basic_get(queue, auto_ack=True) for _ in range(3)]
    assert [body for _, _, body in got] == [b"1", b"2", b"3"]
    assert all(method.redelivered for method, _, _ in got)


def test_error_returns_messages_to_the_queue(connection, names):
    queue = names.queue()
    first, second = connection.channel(), connection.channel()
    first.queue_declare(queue)
    first.basic_publish("", queue, b"held")
    first.basic_get(queue)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        first.queue_declare("no-such-queue", passive=True)
    method, _, body = second.basic_get(queue, auto_ack=True)
    assert body == b"held" and method.redelivered


def test_close_cancels_consumers(connection, names):
    queue = names.queue()
    first, second = connection.channel(), connection.channel()
    first.queue_declare(queue)
    for _ in range(3):
        first.basic_consume(queue, lambda *_: None)
    assert second.queue_declare(queue, passive=True).method.consumer_count == 3
    first.close()
    assert second.queue_declare(queue, passive=True).method.consumer_count == 0


def test_methods_take_effect_in_order(raw, names):
    connection = raw()
    queue, exchange = names.queue(), names.exchange()
    burst = wire.method_frame(1, "channel.open")
    burst += wire.method_frame(1, "exchange.declare", exchange=exchange, type="fanout")
    burst += wire.method_frame(1, "queue.declare", queue=queue)
    burst += wire.method_frame(1, "queue.bind", queue=queue, exchange=exchange)
    for body in (b"first", b"second"):
        burst += wire.method_frame(1, "basic.publish", exchange=exchange)
        burst += connection.content(1, body)
    burst += wire.method_frame(1, "basic.get", queue=queue)
    burst += wire.method_frame(1, "queue.purge", queue=queue)
    burst += wire.method_frame(1, "queue.delete", queue=queue)
    connection.send_bytes(burst)
    answers = [connection.next_method() for _ in range(7)]
    assert [answer.name for answer in answers] == [
        "channel.open-ok",
        "exchange.declare-ok",
        "queue.declare-ok",
        "queue.bind-ok",
        "basic.get-ok",
        "queue.purge-ok",
        "queue.delete-ok",
    ]
    assert answers[4].body == b"first"
    assert (answers[5].message_count, answers[6].message_count) == (1, 0)
