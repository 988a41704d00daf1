"""How long messages live: the queue's TTL, their own expiration, and what their end leaves."""

import time

import pika
import pytest

from steps import (
    Collector,
    counts,
    eventually,
    parameters,
    publish_and_wait,
    refused,
    take,
)

TYPES = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}
HOUR = "3600000"


def expiring(milliseconds, **given):
    return pika.BasicProperties(expiration=str(milliseconds), **given)


@pytest.fixture(params=TYPES)
def kind(request):
    """Arguments of either type of queue."""
    return TYPES[request.param]


def declare(channel, names, arguments=None, **given):
    queue = names.queue()
    channel.queue_declare(queue, durable=True, arguments=(arguments or {}) | given)
    return queue


def ttl(milliseconds):
    return {"x-message-ttl": milliseconds}


def gone(channel, queue):
    eventually(lambda: counts(channel, queue)[0] == 0)


def test_queue_ttl(channel, names, kind):
    queue = declare(channel, names, kind | ttl(150))
    started = time.monotonic()
    publish_and_wait(channel, "", queue, b"1", b"2")
    eventually(lambda: counts(channel, queue)[0] == 2)
    gone(channel, queue)
    assert time.monotonic() - started >= 0.14, "not before its time"
    assert channel.basic_get(queue)[0] is None
    publish_and_wait(channel, "", queue, b"3")
    assert take(channel, queue, 1) == [b"3"]


def test_expiration(channel, names, kind):
    queue = declare(channel, names, kind)
    publish_and_wait(channel, "", queue, b"short", properties=expiring(150))
    publish_and_wait(channel, "", queue, b"long", properties=expiring(HOUR))
    eventually(lambda: counts(channel, queue)[0] == 2)
    eventually(lambda: counts(channel, queue)[0] == 1)
    assert take(channel, queue) == [b"long"]


@pytest.mark.parametrize("of_queue, of_message", [(60, HOUR), (3_600_000, 60)])
def test_the_lower_wins(channel, names, kind, of_queue, of_message):
    queue = declare(channel, names, kind | ttl(of_queue))
    publish_and_wait(channel, "", queue, b"m", properties=expiring(of_message))
    gone(channel, queue)


def test_expiration_is_delivered_as_it_was_sent(channel, names, kind):
    queue = declare(channel, names, kind)
    publish_and_wait(channel, "", queue, b"m", properties=expiring("0060000"))
    assert channel.basic_get(queue, auto_ack=True)[1].expiration == "0060000"


@pytest.mark.parametrize("given", ["-1", "abc", "", "1.5", "60000 ", "1x", str(2**63)])
def test_an_invalid_expiration_is_refused(connection, names, given):
    channel = connection.channel()
    queue = declare(channel, names)
    with refused(406, "invalid expiration"):
        publish_and_wait(channel, "", queue, b"m", properties=expiring(given))
    assert counts(connection.channel(), queue)[0] == 0


def test_an_invalid_expiration_is_refused_without_a_route(connection, names):
    channel = connection.channel()
    with refused(406, "invalid expiration"):
        publish_and_wait(channel, "", names.stem, b"m", properties=expiring("x"))


# --- zero ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["queue", "message"])
def test_zero_without_a_consumer(channel, names, kind, how):
    queue = declare(channel, names, kind | (ttl(0) if how == "queue" else {}))
    properties = expiring(0) if how == "message" else None
    publish_and_wait(channel, "", queue, b"m", properties=properties)
    gone(channel, queue)
    assert channel.basic_get(queue)[0] is None


@pytest.mark.parametrize("how", ["queue", "message"])
def test_zero_with_a_waiting_consumer(connection, names, kind, how):
    channel = connection.channel()
    queue = declare(channel, names, kind | (ttl(0) if how == "queue" else {}))
    collector = Collector()
    channel.basic_consume(queue, collector, auto_ack=True)
    properties = expiring(0) if how == "message" else None
    publish_and_wait(channel, "", queue, b"1", b"2", b"3", properties=properties)
    collector.wait(connection, 3)
    assert collector.bodies == [b"1", b"2", b"3"]


def test_zero_with_a_consumer_that_has_its_fill(connection, names):
    channel, other = connection.channel(), connection.channel()
    queue = declare(channel, names, ttl(0))
    collector = Collector()
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, collector)
    publish_and_wait(other, "", queue, b"1", b"2")
    collector.wait(connection, 1)
    gone(other, queue)
    channel.basic_ack(collector.deliveries[0].delivery_tag)
    publish_and_wait(other, "", queue, b"3")
    collector.wait(connection, 2)
    assert collector.bodies == [b"1", b"3"]


# --- behind others, and held ---------------------------------------------------------------------


def test_one_ttl_expires_in_order(channel, names, kind):
    queue = declare(channel, names, kind | ttl(400))
    publish_and_wait(channel, "", queue, b"1")
    time.sleep(0.2)
    publish_and_wait(channel, "", queue, b"2")
    eventually(lambda: counts(channel, queue)[0] == 2)
    eventually(lambda: counts(channel, queue)[0] == 1)
    assert take(channel, queue) == [b"2"]


def test_none_that_is_due_is_delivered_however_deep_it_stands(channel, names):
    """RabbitMQ looks at the head alone, but never delivers what is due."""
    queue = declare(channel, names)
    publish_and_wait(channel, "", queue, b"first")
    publish_and_wait(channel, "", queue, b"due", properties=expiring(40))
    publish_and_wait(channel, "", queue, b"last", properties=expiring(HOUR))
    time.sleep(0.15)
    assert take(channel, queue) == [b"first", b"last"]


@pytest.mark.postroom_only(reason="RabbitMQ expires messages only when they reach the head")
def test_what_is_due_leaves_wherever_it_stands(channel, names, kind):
    queue, grave = declare(channel, names), declare(channel, names)
    queue = declare(
        channel,
        names,
        kind | {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave},
    )
    publish_and_wait(channel, "", queue, b"first")
    publish_and_wait(channel, "", queue, b"due", properties=expiring(60))
    publish_and_wait(channel, "", queue, b"last", properties=expiring(HOUR))
    assert take(channel, grave, 1) == [b"due"]
    assert take(channel, queue) == [b"first", b"last"]


def test_what_is_held_does_not_expire(channel, names, kind):
    queue = declare(channel, names, kind | ttl(60))
    publish_and_wait(channel, "", queue, b"m")
    tag = channel.basic_get(queue)[0].delivery_tag
    time.sleep(0.2)
    channel.basic_ack(tag)
    publish_and_wait(channel, "", queue)
    channel.basic_publish("", queue, b"n")
    assert take(channel, queue, 1) == [b"n"]


@pytest.mark.parametrize("how", ["queue", "message"])
def test_a_return_after_its_time_is_the_end(channel, names, kind, how):
    queue = declare(channel, names, kind | (ttl(80) if how == "queue" else {}))
    properties = expiring(80) if how == "message" else None
    publish_and_wait(channel, "", queue, b"m", properties=properties)
    tag = channel.basic_get(queue)[0].delivery_tag
    time.sleep(0.2)
    channel.basic_nack(tag, requeue=True)
    gone(channel, queue)
    assert channel.basic_get(queue)[0] is None


def test_a_return_keeps_the_deadline(channel, names):
    queue = declare(channel, names, ttl(500))
    publish_and_wait(channel, "", queue, b"m")
    started = time.monotonic()
    while time.monotonic() - started < 0.35:
        tag = channel.basic_get(queue)[0].delivery_tag
        channel.basic_nack(tag, requeue=True)
        time.sleep(0.05)
    gone(channel, queue)
    assert time.monotonic() - started < 0.75


def test_a_lost_connection_keeps_the_deadline(connect, names):
    channel = connect().channel()
    queue = declare(channel, names, ttl(200))
    publish_and_wait(channel, "", queue, b"m")
    other = connect()
    assert other.channel().basic_get(queue)[2] == b"m"
    time.sleep(0.3)
    other.close()
    time.sleep(0.1)
    assert counts(channel, queue)[0] == 0


def test_a_consumer_that_comes_late_gets_only_what_lives(connection, names):
    channel = connection.channel()
    queue = declare(channel, names)
    for n in range(50):
        properties = expiring(HOUR if n % 5 == 0 else 60)
        channel.basic_publish("", queue, b"%d" % n, properties)
    time.sleep(0.2)
    collector = Collector()
    channel.basic_consume(queue, collector, auto_ack=True)
    collector.wait(connection, 10).settle_down(connection, 0.1)
    assert collector.bodies == [b"%d" % n for n in range(0, 50, 5)]


def test_delete_if_empty_after_expiry(channel, names):
    queue = declare(channel, names, ttl(40))
    publish_and_wait(channel, "", queue, b"m")
    gone(channel, queue)
    channel.queue_delete(queue, if_empty=True)


def test_purge_tells_only_what_lives(channel, names):
    queue = declare(channel, names, ttl(60))
    publish_and_wait(channel, "", queue, b"1", b"2")
    gone(channel, queue)
    assert channel.queue_purge(queue).method.message_count == 0


def test_get_tells_how_many_remain_alive(channel, names):
    queue = declare(channel, names, ttl(300))
    publish_and_wait(channel, "", queue, *[b"old"] * 3)
    time.sleep(0.15)
    publish_and_wait(channel, "", queue, *[b"new"] * 3)
    eventually(lambda: counts(channel, queue)[0] == 3)
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert (body, method.message_count) == (b"new", 2)


def test_each_copy_has_the_ttl_of_its_queue(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "fanout")
    queues = [declare(channel, names, given) for given in (ttl(60), ttl(3_600_000), {})]
    for queue in queues:
        channel.queue_bind(queue, exchange)
    publish_and_wait(channel, exchange, "", b"m")
    gone(channel, queues[0])
    assert [counts(channel, queue)[0] for queue in queues] == [0, 1, 1]


def test_expired_messages_were_confirmed(channel, names):
    queue = declare(channel, names, ttl(0))
    channel.confirm_delivery()
    for _ in range(5):
        channel.basic_publish("", queue, b"m", mandatory=True)
    gone(channel, queue)


def test_a_ttl_far_away_is_no_ttl(channel, names):
    queue = declare(channel, names, ttl(10 * 365 * 86_400 * 1000))
    publish_and_wait(channel, "", queue, b"m")
    time.sleep(0.1)
    assert take(channel, queue) == [b"m"]


# --- restarts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
def test_deadlines_survive(own_server, how):
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.queue_declare("plain", durable=True)
    channel.queue_declare("ttl", durable=True, arguments=ttl(2000))
    channel.queue_declare("grave", durable=True)
    to_grave = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "grave"}
    channel.queue_declare("dying", durable=True, arguments=ttl(100) | to_grave)
    channel.confirm_delivery()
    channel.basic_publish("", "plain", b"short", expiring(300, delivery_mode=2))
    channel.basic_publish("", "plain", b"long", expiring(HOUR, delivery_mode=2))
    channel.basic_publish("", "ttl", b"m", pika.BasicProperties(delivery_mode=2))
    channel.basic_publish("", "dying", b"m", pika.BasicProperties(delivery_mode=2))
    started = time.monotonic()
    getattr(own_server, how)()
    time.sleep(max(0.0, started + 0.5 - time.monotonic()))
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    assert take(channel, "plain") == [b"long"]
    assert take(channel, "grave", 1) == [b"m"], "due while the broker was away"
    gone(channel, "ttl")
    passed = time.monotonic() - started
    assert 1.9 <= passed < 4, "the deadline is the one it had before"
