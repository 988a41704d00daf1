"""Fetching single messages."""

from steps import publish_and_wait, refused, take


def test_get_ok(raw, names):
    connection = raw()
    connection.channel(1)
    exchange, queue = names.exchange(), names.queue()
    connection.call("exchange.declare", 1, exchange=exchange, type="fanout")
    connection.call("queue.declare", 1, queue=queue)
    connection.call("queue.bind", 1, queue=queue, exchange=exchange)
    for number in range(3):
        connection.publish(1, "key", b"%d" % number, exchange)
    for number in range(3):
        connection.send("basic.get", 1, queue=queue)
        got = connection.expect("basic.get-ok", 1)
        assert (got.delivery_tag, got.redelivered, got.message_count) == (
            number + 1,
            False,
            2 - number,
        )
        assert (got.exchange, got.routing_key, got.body) == (exchange, "key", b"%d" % number)


def test_get_empty(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    assert channel.basic_get(queue) == (None, None, None)


def test_get_no_ack(connection, names):
    queue = names.queue()
    channel = connection.channel()
    channel.queue_declare(queue)
    publish_and_wait(channel, "", queue, b"1", b"2")
    channel.basic_get(queue, auto_ack=True)
    channel.close()
    assert take(connection.channel(), queue) == [b"2"]


def test_get_and_consume_share_the_delivery_tags(pair):
    connection, queue = pair
    for number in range(3):
        connection.publish(1, queue, b"%d" % number)
    connection.send("basic.get", 1, queue=queue)
    assert connection.expect("basic.get-ok", 1).delivery_tag == 1
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    assert connection.expect("basic.get-ok", 1).delivery_tag == 2
    connection.call("basic.consume", 1, queue=queue)
    assert connection.expect("basic.deliver", 1).delivery_tag == 3


def test_get_from_missing(channel, names):
    queue = names.queue()
    with refused(404, f"no queue '{queue}' in vhost '/'"):
        channel.basic_get(queue)
