"""Quorum queues where they differ from classic ones: what they keep, refuse and count."""

import time

import pika
import pytest

from steps import (
    Collector,
    counts,
    disconnected,
    eventually,
    parameters,
    publish_and_wait,
    refused,
    take,
)

QUORUM = {"x-queue-type": "quorum"}
AS_OF_43 = "RabbitMQ before 4.3 counts every return"


def declare(channel, names, **given):
    queue = names.queue()
    given = {f"x-{name.replace('_', '-')}": value for name, value in given.items()}
    channel.queue_declare(queue, durable=True, arguments=QUORUM | given)
    return queue


def get(channel, queue, seconds=5):
    """The next message, waited for: delivery tag, redelivered, the counts in its headers, body."""
    deadline = time.monotonic() + seconds
    while True:
        method, properties, body = channel.basic_get(queue)
        if method:
            return method.delivery_tag, method.redelivered, properties.headers or {}, body
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.01)


def test_publish_consume_ack(connection, names):
    channel = connection.channel()
    queue = declare(channel, names)
    collector = Collector()
    channel.basic_qos(prefetch_count=10)
    channel.basic_consume(queue, collector)
    publish_and_wait(connection.channel(), "", queue, *[b"%d" % n for n in range(50)])
    while len(collector.bodies) < 50:
        seen = len(collector.bodies)
        collector.wait(connection, seen + 1)
        channel.basic_ack(collector.deliveries[-1].delivery_tag, multiple=True)
    assert collector.bodies == [b"%d" % n for n in range(50)]
    channel.close()
    eventually(lambda: counts(connection.channel(), queue) == (0, 0))


def test_the_server_names_no_quorum_queue(channel):
    with refused(406, "Cannot declare a server-named queue for type rabbit_quorum_queue"):
        channel.queue_declare("", durable=True, arguments=QUORUM)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_global_prefetch_is_refused(connect, names, when):
    connection = connect()
    queue = declare(connection.channel(), names)
    channel = connection.channel()
    if when == "after":
        channel.basic_consume(queue, Collector())
        channel.basic_qos(prefetch_count=1, global_qos=True)
        publish_and_wait(channel, "", queue, b"m")
        return  # nobody minds until somebody consumes
    channel.basic_qos(prefetch_count=1, global_qos=True)
    with disconnected(540, f"queue '{queue}' in vhost '/' does not support global qos"):
        channel.basic_consume(queue, Collector())


@pytest.mark.postroom_only(reason="quorum queues of RabbitMQ 3.10 let other consumers in")
def test_an_exclusive_consumer_is_alone(connect, names):
    first, second = connect(), connect()
    queue = declare(first.channel(), names)
    first.channel().basic_consume(queue, Collector(), exclusive=True)
    with refused(403, f"queue '{queue}' in vhost '/' in exclusive use"):
        second.channel().basic_consume(queue, Collector())


# --- counting ------------------------------------------------------------------------------------


def test_the_first_delivery_counts_none_before_it(channel, names):
    queue = declare(channel, names)
    properties = pika.BasicProperties(headers={"a": 1})
    publish_and_wait(channel, "", queue, b"m", properties=properties)
    _, redelivered, headers, _ = get(channel, queue)
    assert not redelivered
    assert headers.get("x-delivery-count", 0) == 0  # RabbitMQ 3 writes 0, 4 writes none
    assert headers["a"] == 1


def test_a_reject_counts(channel, names):
    queue = declare(channel, names)
    publish_and_wait(channel, "", queue, b"m")
    for n in range(4):
        tag, redelivered, headers, _ = get(channel, queue)
        assert redelivered == (n > 0)
        assert headers.get("x-delivery-count", 0) == n
        channel.basic_reject(tag, requeue=True)


@pytest.mark.postroom_only(reason=AS_OF_43)
def test_a_nack_counts_as_acquired_alone(channel, names):
    queue = declare(channel, names)
    publish_and_wait(channel, "", queue, b"m")
    for n in range(4):
        tag, redelivered, headers, _ = get(channel, queue)
        assert redelivered == (n > 0)
        assert "x-delivery-count" not in headers or headers["x-delivery-count"] == 0
        assert headers.get("x-acquired-count", 0) == n
        channel.basic_nack(tag, requeue=True)


@pytest.mark.postroom_only(reason=AS_OF_43)
def test_both_counts(channel, names):
    queue = declare(channel, names)
    publish_and_wait(channel, "", queue, b"m")
    seen = []
    for settle in [channel.basic_nack, channel.basic_reject, channel.basic_nack] * 2:
        tag, _, headers, _ = get(channel, queue)
        seen.append((headers.get("x-acquired-count", 0), headers.get("x-delivery-count", 0)))
        settle(tag, requeue=True)
    assert seen == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 2)]


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_a_lost_connection_counts(raw, channel, names, ending):
    queue = declare(channel, names)
    publish_and_wait(channel, "", queue, b"m")
    for n in range(3):
        connection = raw()
        connection.channel(1)
        connection.call("basic.consume", 1, queue=queue)
        delivery = connection.expect("basic.deliver", 1)
        assert delivery.redelivered == (n > 0)
        getattr(connection, ending)()
    assert get(channel, queue)[2]["x-delivery-count"] == 3


def test_a_closed_channel_counts(channel, names):
    queue = declare(channel, names)
    publish_and_wait(channel, "", queue, b"m")
    for n in range(3):
        other = channel.connection.channel()
        assert get(other, queue)[2].get("x-delivery-count", 0) == n
        other.close()


@pytest.mark.parametrize("settle", ["reject", "nack"])
def test_each_message_is_counted_by_itself(channel, names, settle):
    queue = declare(channel, names)
    publish_and_wait(channel, "", queue, b"1", b"2")
    tag, _, _, body = get(channel, queue)
    assert body == b"1"
    channel.basic_ack(tag)
    getattr(channel, f"basic_{settle}")(get(channel, queue)[0], requeue=True)
    publish_and_wait(channel, "", queue, b"3")
    assert [get(channel, queue)[3] for _ in range(2)] == [b"2", b"3"]


def test_what_is_returned_comes_before_what_was_not_out(channel, names):
    queue = declare(channel, names, delivery_limit=10)
    publish_and_wait(channel, "", queue, *[b"%d" % n for n in range(5)])
    tags = [get(channel, queue)[0] for _ in range(3)]
    channel.basic_nack(tags[1], requeue=True)
    assert get(channel, queue)[3] == b"1"
    assert [get(channel, queue)[3] for _ in range(2)] == [b"3", b"4"]


@pytest.mark.postroom_only(reason="RabbitMQ keeps the order of the returns")
@pytest.mark.parametrize("limit", [{}, {"delivery_limit": 10}], ids=["default", "limit"])
def test_what_is_returned_goes_to_its_original_place(channel, names, limit):
    queue = declare(channel, names, **limit)
    publish_and_wait(channel, "", queue, *[b"%d" % n for n in range(5)])
    tags = [get(channel, queue)[0] for _ in range(3)]
    for place in (1, 0):
        channel.basic_nack(tags[place], requeue=True)
    assert [get(channel, queue)[3] for _ in range(4)] == [b"0", b"1", b"3", b"4"]


@pytest.mark.postroom_only(reason="RabbitMQ has no counts of its classic queues")
def test_classic_queues_write_no_delivery_count(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    publish_and_wait(channel, "", queue, b"m")
    for _ in range(3):
        method, properties, _ = channel.basic_get(queue)
        assert "x-delivery-count" not in (properties.headers or {})
        channel.basic_reject(method.delivery_tag, requeue=True)


def test_a_client_cannot_set_the_count(channel, names):
    queue = declare(channel, names, delivery_limit=5)
    properties = pika.BasicProperties(headers={"x-delivery-count": 77})
    publish_and_wait(channel, "", queue, b"m", properties=properties)
    channel.basic_reject(get(channel, queue)[0], requeue=True)
    assert get(channel, queue)[2]["x-delivery-count"] == 1


# --- the limit -----------------------------------------------------------------------------------


def deliveries_until_gone(channel, queue, settle, most=40):
    """How often it is delivered before it is gone."""
    for n in range(most):
        deadline = time.monotonic() + 0.3
        while True:
            method, _, _ = channel.basic_get(queue)
            if method or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        if not method:
            return n
        settle(method.delivery_tag, requeue=True)
    return most


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_it_dies_on_the_return_after_the_limit(channel, names, limit):
    queue = declare(channel, names, delivery_limit=limit)
    publish_and_wait(channel, "", queue, b"m")
    assert deliveries_until_gone(channel, queue, channel.basic_reject) == limit + 1
    eventually(lambda: counts(channel, queue)[0] == 0)


def test_it_goes_to_the_dead_letter_exchange(channel, names):
    grave = names.queue()
    channel.queue_declare(grave)
    arguments = {"dead_letter_exchange": "", "dead_letter_routing_key": grave}
    queue = declare(channel, names, delivery_limit=2, **arguments)
    publish_and_wait(channel, "", queue, b"m")
    for n in range(3):
        tag, _, headers, _ = get(channel, queue)
        assert headers.get("x-delivery-count", 0) == n
        channel.basic_reject(tag, requeue=True)
    _, redelivered, headers, body = get(channel, grave)
    assert (body, redelivered) == (b"m", False)
    assert headers["x-death"][0]["reason"] == "delivery_limit"
    assert headers["x-first-death-reason"] == "delivery_limit"


def test_the_limit_takes_nothing_from_others(channel, names):
    queue = declare(channel, names, delivery_limit=1)
    publish_and_wait(channel, "", queue, b"1", b"2")
    assert get(channel, queue)[3] == b"1"
    for _ in range(2):
        tag, _, _, body = get(channel, queue)
        assert body == b"2"
        channel.basic_reject(tag, requeue=True)
    time.sleep(0.05)
    assert counts(channel, queue)[0] == 0, "the second one is gone, the first is held"
    channel.basic_recover(requeue=True)
    assert get(channel, queue)[3] == b"1"


@pytest.mark.postroom_only(reason="RabbitMQ before 4.0 has no limit unless told")
def test_the_default_limit_is_twenty(channel, names):
    queue = declare(channel, names)
    publish_and_wait(channel, "", queue, b"m")
    assert deliveries_until_gone(channel, queue, channel.basic_reject) == 21


@pytest.mark.postroom_only(reason="RabbitMQ before 4.0 has no limit unless told")
def test_minus_one_is_no_limit(channel, names):
    queue = declare(channel, names, delivery_limit=-1)
    publish_and_wait(channel, "", queue, b"m")
    assert deliveries_until_gone(channel, queue, channel.basic_reject) == 40


@pytest.mark.postroom_only(reason=AS_OF_43)
def test_nacks_never_reach_the_limit(channel, names):
    queue = declare(channel, names, delivery_limit=2)
    publish_and_wait(channel, "", queue, b"m")
    assert deliveries_until_gone(channel, queue, channel.basic_nack) == 40


def test_a_classic_queue_has_no_limit(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    publish_and_wait(channel, "", queue, b"m")
    assert deliveries_until_gone(channel, queue, channel.basic_reject) == 40


def test_crashing_consumers_reach_the_limit(raw, channel, names):
    queue = declare(channel, names, delivery_limit=2)
    publish_and_wait(channel, "", queue, b"m")
    for _ in range(3):
        connection = raw()
        connection.channel(1)
        connection.call("basic.consume", 1, queue=queue)
        connection.expect("basic.deliver", 1)
        connection.abort()
    time.sleep(0.2)
    assert counts(channel, queue)[0] == 0
    assert channel.basic_get(queue)[0] is None


# --- across a restart ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
def test_transient_messages_survive(own_server, how):
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.queue_declare("q", durable=True, arguments=QUORUM)
    channel.confirm_delivery()
    for n, mode in enumerate([1, 2, None]):
        channel.basic_publish("", "q", b"%d" % n, pika.BasicProperties(delivery_mode=mode))
    getattr(own_server, how)()
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    assert counts(channel, "q")[0] == 3
    modes = [channel.basic_get("q", auto_ack=True)[1].delivery_mode for _ in range(3)]
    assert modes == [1, 2, None], "kept, and delivered as they were sent"


def test_counts_and_limit_survive(own_server):
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.queue_declare("q", durable=True, arguments=QUORUM | {"x-delivery-limit": 2})
    channel.confirm_delivery()
    channel.basic_publish("", "q", b"m")
    for _ in range(2):
        channel.basic_reject(get(channel, "q")[0], requeue=True)
    channel.basic_publish("", "q", b"n")
    own_server.restart()
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.queue_declare("q", durable=True, arguments=QUORUM | {"x-delivery-limit": 2})
    tag, redelivered, headers, body = get(channel, "q")
    assert (body, redelivered, headers["x-delivery-count"]) == (b"m", True, 2)
    channel.basic_reject(tag, requeue=True)
    assert take(channel, "q", 1) == [b"n"], "the third counted return was the last"
    assert counts(channel, "q")[0] == 0


def test_a_restart_counts_as_no_failure(own_server):
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.queue_declare("q", durable=True, arguments=QUORUM | {"x-delivery-limit": 1})
    channel.confirm_delivery()
    channel.basic_publish("", "q", b"m")
    for _ in range(3):
        assert get(channel, "q")[3] == b"m"
        own_server.restart()
        channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    _, redelivered, headers, _ = get(channel, "q")
    assert redelivered and headers.get("x-delivery-count", 0) == 0
