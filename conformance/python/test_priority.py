"""Queues with x-max-priority: what is delivered before what."""

import time

import pika
import pytest

from steps import Collector, catch_up, counts, eventually, parameters, take


def declare(channel, names, highest=5, **given):
    queue = names.queue()
    arguments = {"x-max-priority": highest}
    arguments |= {f"x-{name.replace('_', '-')}": value for name, value in given.items()}
    channel.queue_declare(queue, durable=True, arguments=arguments)
    return queue


def publish(channel, queue, *messages, **given):
    """Each a pair of priority and body; None for no priority."""
    for priority, body in messages:
        properties = pika.BasicProperties(priority=priority, **given)
        channel.basic_publish("", queue, body, properties)
    catch_up(channel)


def test_highest_first_and_in_order_within_a_level(channel, names):
    queue = declare(channel, names)
    publish(channel, queue, (1, b"a"), (5, b"b"), (3, b"c"), (5, b"d"), (1, b"e"), (3, b"f"))
    assert take(channel, queue) == [b"b", b"d", b"c", b"f", b"a", b"e"]


def test_beyond_the_highest_is_the_highest(channel, names):
    queue = declare(channel, names)
    publish(channel, queue, (6, b"a"), (5, b"b"), (255, b"c"), (4, b"d"))
    assert take(channel, queue) == [b"a", b"b", b"c", b"d"]


def test_none_is_zero(channel, names):
    queue = declare(channel, names)
    publish(channel, queue, (None, b"a"), (0, b"b"), (1, b"c"), (None, b"d"))
    assert take(channel, queue) == [b"c", b"a", b"b", b"d"]


@pytest.mark.parametrize("highest", [0, None])
def test_without_levels_the_order_is_that_of_arrival(channel, names, highest):
    queue = names.queue()
    arguments = {} if highest is None else {"x-max-priority": highest}
    channel.queue_declare(queue, durable=True, arguments=arguments)
    publish(channel, queue, (1, b"a"), (9, b"b"), (0, b"c"))
    assert take(channel, queue) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("highest", [1, 2, 10, 255])
def test_every_level_up_to_the_highest(channel, names, highest):
    queue = declare(channel, names, highest=highest)
    levels = range(highest + 1)
    publish(channel, queue, *[(level, b"%d" % level) for level in levels])
    assert take(channel, queue) == [b"%d" % level for level in reversed(levels)]


def test_the_property_is_delivered_as_it_was_sent(channel, names):
    queue = declare(channel, names)
    publish(channel, queue, (200, b"a"), (None, b"b"))
    assert channel.basic_get(queue, auto_ack=True)[1].priority == 200
    assert channel.basic_get(queue, auto_ack=True)[1].priority is None


@pytest.mark.parametrize("how", ["nack", "recover", "close"])
def test_a_return_keeps_level_and_place(connection, names, how):
    channel = connection.channel()
    queue = declare(channel, names)
    publish(channel, queue, (5, b"a"), (5, b"b"), (0, b"c"), (0, b"d"))
    holder = connection.channel()
    tags = [holder.basic_get(queue)[0].delivery_tag for _ in range(4)]
    publish(channel, queue, (5, b"e"), (0, b"f"), (3, b"g"))
    if how == "nack":
        for place in (3, 1, 0, 2):
            holder.basic_nack(tags[place], requeue=True)
        holder.close()
    elif how == "recover":
        holder.basic_recover(requeue=True)
        holder.close()
    else:
        holder.close()
    assert take(channel, queue, 7) == [b"a", b"b", b"e", b"g", b"c", b"d", b"f"]


def test_a_consumer_with_prefetch_one_gets_the_highest_each_time(connection, names):
    channel = connection.channel()
    queue = declare(channel, names)
    publish(channel, queue, (0, b"low"))
    got = []

    def on_message(channel, method, _properties, body):
        got.append(body)
        if body == b"low":
            publish(channel, queue, (1, b"one"), (2, b"two"))
        channel.basic_ack(method.delivery_tag)

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, on_message)
    deadline = time.monotonic() + 5
    while len(got) < 3:
        assert time.monotonic() < deadline, got
        connection.process_data_events(time_limit=0.05)
    assert got == [b"low", b"two", b"one"]


def test_what_was_prefetched_is_not_overtaken(connection, names):
    channel = connection.channel()
    queue = declare(channel, names)
    publish(channel, queue, (0, b"a"), (0, b"b"))
    take_first = Collector()
    channel.basic_qos(prefetch_count=2)
    channel.basic_consume(queue, take_first)
    take_first.wait(connection, 2)
    publish(connection.channel(), queue, (5, b"c"))
    for method in take_first.deliveries[:2]:
        channel.basic_ack(method.delivery_tag)
    take_first.wait(connection, 3)
    assert take_first.bodies[:3] == [b"a", b"b", b"c"]


@pytest.mark.postroom_only(reason="RabbitMQ 3.10 lets low messages starve")
def test_a_low_message_does_not_starve(connection, names):
    """While higher ones keep arriving, it comes within 200 deliveries."""
    channel = connection.channel()
    queue = declare(channel, names)
    publish(channel, queue, (0, b"low"), *[(5, b"high")] * 20)
    got = []

    def on_message(channel, method, _properties, body):
        got.append(body)
        channel.basic_publish("", queue, b"high", pika.BasicProperties(priority=5))
        channel.basic_ack(method.delivery_tag)

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, on_message)
    deadline = time.monotonic() + 10
    while b"low" not in got and len(got) < 200:
        assert time.monotonic() < deadline, len(got)
        connection.process_data_events(time_limit=0.05)
    assert b"low" in got


def test_what_stands_ready_is_strictly_ordered(channel, names):
    queue = declare(channel, names)
    messages = [(n % 6, b"%d" % (n % 6)) for n in range(600)]
    publish(channel, queue, *messages)
    bodies = take(channel, queue, 600)
    assert bodies == sorted(bodies, reverse=True)


def test_each_level_expires_by_itself(channel, names):
    queue = declare(channel, names)
    publish(channel, queue, (5, b"high"))
    publish(channel, queue, (5, b"high due"), (0, b"low due"), expiration="50")
    publish(channel, queue, (0, b"low"))
    time.sleep(0.15)
    assert take(channel, queue) == [b"high", b"low"]


def test_a_queue_ttl_takes_every_level(channel, names):
    queue = declare(channel, names, message_ttl=100)
    publish(channel, queue, (0, b"a"), (5, b"b"), (3, b"c"))
    eventually(lambda: counts(channel, queue)[0] == 0)


def test_over_the_limit_the_head_goes_which_is_the_highest(channel, names):
    queue = declare(channel, names, max_length=2)
    for message in [(0, b"l0"), (5, b"h5"), (3, b"m3"), (0, b"l1")]:
        channel.basic_publish("", queue, message[1], pika.BasicProperties(priority=message[0]))
    eventually(lambda: counts(channel, queue)[0] == 2)
    assert take(channel, queue) == [b"l0", b"l1"]


def test_over_the_limit_with_reject_publish_the_newest_is_refused(channel, names):
    queue = declare(channel, names, max_length=2, overflow="reject-publish")
    for message in [(0, b"l0"), (3, b"h3"), (5, b"h5")]:
        channel.basic_publish("", queue, message[1], pika.BasicProperties(priority=message[0]))
    catch_up(channel)
    assert take(channel, queue) == [b"h3", b"l0"]


def test_purge_takes_every_level(channel, names):
    queue = declare(channel, names)
    publish(channel, queue, (0, b"a"), (5, b"b"), (3, b"c"))
    assert channel.queue_purge(queue).method.message_count == 3
    assert counts(channel, queue)[0] == 0


def test_a_dead_letter_keeps_its_priority(channel, names):
    grave = declare(channel, names)
    arguments = {"dead_letter_exchange": "", "dead_letter_routing_key": grave}
    queue = declare(channel, names, message_ttl=30, **arguments)
    channel.basic_publish("", queue, b"low", pika.BasicProperties(priority=0))
    channel.basic_publish("", queue, b"high", pika.BasicProperties(priority=4))
    eventually(lambda: counts(channel, grave)[0] == 2)
    method, properties, body = channel.basic_get(grave, auto_ack=True)
    assert (properties.priority, body) == (4, b"high")
    assert take(channel, grave) == [b"low"]


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
def test_levels_survive(own_server, how):
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.queue_declare("q", durable=True, arguments={"x-max-priority": 5})
    channel.confirm_delivery()
    for priority, body in [(0, b"a"), (5, b"b"), (200, b"c"), (2, b"d"), (None, b"e")]:
        properties = pika.BasicProperties(priority=priority, delivery_mode=2)
        channel.basic_publish("", "q", body, properties)
    holder = channel.connection.channel()
    assert holder.basic_get("q")[2] == b"b", "held at the restart, and back in its place"
    getattr(own_server, how)()
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    assert take(channel, "q") == [b"b", b"c", b"d", b"a", b"e"]


# --- quorum queues, which have priorities always -------------------------------------------------

AS_OF_43 = "quorum queues of RabbitMQ before 4.3 have no such priorities"


@pytest.fixture
def quorum(channel, names):
    queue = names.queue()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    return queue


@pytest.mark.postroom_only(reason=AS_OF_43)
def test_quorum_none_is_four(channel, quorum):
    publish(channel, quorum, (3, b"a"), (None, b"b"), (5, b"c"), (4, b"d"), (0, b"e"))
    assert take(channel, quorum) == [b"c", b"b", b"d", b"a", b"e"]


@pytest.mark.postroom_only(reason=AS_OF_43)
def test_quorum_beyond_thirty_one_is_thirty_one(channel, quorum):
    publish(channel, quorum, (30, b"a"), (31, b"b"), (255, b"c"), (31, b"d"))
    assert take(channel, quorum) == [b"b", b"c", b"d", b"a"]


def test_quorum_without_priorities_keeps_the_order(channel, quorum):
    publish(channel, quorum, *[(None, b"%d" % n) for n in range(100)])
    assert take(channel, quorum, 100) == [b"%d" % n for n in range(100)]
