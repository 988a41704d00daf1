"""Bindings of queues and of exchanges: made, told apart and removed."""

import pytest

from routing import bound_queues, routed
from steps import counts, publish_and_wait, refused, take


def test_exchange_to_exchange(channel, names):
    source, middle = names.exchange(), names.exchange()
    channel.exchange_declare(source, "topic")
    channel.exchange_declare(middle, "direct")
    channel.exchange_bind(middle, source, "a.*")
    queues = bound_queues(channel, names, middle, ["a.b", "c.d"])
    assert routed(channel, source, "a.b", queues) == {0}
    assert routed(channel, source, "a.x", queues) == set()
    assert routed(channel, source, "c.d", queues) == set(), "not bound to the middle with that key"


def test_one_copy_however_many_ways(channel, names):
    source, left, right = (names.exchange() for _ in range(3))
    for exchange in (source, left, right):
        channel.exchange_declare(exchange, "fanout")
    channel.exchange_bind(left, source)
    channel.exchange_bind(right, source)
    [queue] = bound_queues(channel, names, left, [""])
    channel.queue_bind(queue, right)
    channel.queue_bind(queue, source)
    publish_and_wait(channel, source, "", b"once")
    assert take(channel, queue) == [b"once"]


def test_one_copy_with_several_matching_bindings(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    [queue] = bound_queues(channel, names, exchange, ["a.*"])
    for pattern in ("#", "a.b", "*.b"):
        channel.queue_bind(queue, exchange, pattern)
    publish_and_wait(channel, exchange, "a.b", b"once")
    assert take(channel, queue) == [b"once"]


def test_a_circle_of_exchanges_ends(channel, names):
    ring = [names.exchange() for _ in range(4)]
    for exchange in ring:
        channel.exchange_declare(exchange, "fanout")
    for source, destination in zip(ring, ring[1:] + ring[:1], strict=True):
        channel.exchange_bind(destination, source)
    channel.exchange_bind(ring[0], ring[0])
    queues = [bound_queues(channel, names, exchange, [""])[0] for exchange in ring]
    for entrance in ring:
        assert routed(channel, entrance, "", queues) == {0, 1, 2, 3}


def test_exchange_unbind(channel, names):
    source, destination = names.exchange(), names.exchange()
    channel.exchange_declare(source, "direct")
    channel.exchange_declare(destination, "fanout")
    for key in "ab":
        channel.exchange_bind(destination, source, key)
    queues = bound_queues(channel, names, destination, [""])
    channel.exchange_unbind(destination, source, "a")
    assert routed(channel, source, "a", queues) == set()
    assert routed(channel, source, "b", queues) == {0}
    channel.exchange_unbind(destination, source, "a")


@pytest.mark.parametrize("missing", ["source", "destination"])
def test_exchange_bind_to_missing(channel, names, missing):
    exchange, absent = names.exchange(), names.exchange()
    channel.exchange_declare(exchange, "fanout")
    ends = {"source": exchange, "destination": exchange} | {missing: absent}
    with refused(404, f"no exchange '{absent}' in vhost '/'"):
        channel.exchange_bind(**ends)


@pytest.mark.parametrize("deleted", [0, 1])
def test_deleting_an_exchange_removes_its_exchange_bindings(channel, names, deleted):
    ends = [names.exchange(), names.exchange()]
    for exchange in ends:
        channel.exchange_declare(exchange, "fanout")
    channel.exchange_bind(ends[1], ends[0])
    channel.exchange_delete(ends[deleted])
    channel.exchange_declare(ends[deleted], "fanout")
    queues = bound_queues(channel, names, ends[1], [""])
    assert routed(channel, ends[0], "", queues) == set()


def test_bind_takes_effect_at_once(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    queues = bound_queues(channel, names, exchange, ["key"])
    assert routed(channel, exchange, "key", queues) == {0}


def test_binding_twice_is_one_binding(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    [queue] = bound_queues(channel, names, exchange, ["key"])
    channel.queue_bind(queue, exchange, "key")
    assert routed(channel, exchange, "key", [queue]) == {0}
    channel.queue_unbind(queue, exchange, "key")
    assert routed(channel, exchange, "key", [queue]) == set()


def test_bind_to_missing(connection, names):
    queue, absent = names.queue(), names.exchange()
    connection.channel().queue_declare(queue)
    with refused(404, f"no exchange '{absent}' in vhost '/'"):
        connection.channel().queue_bind(queue, absent, "key")
    absent = names.queue()
    with refused(404, f"no queue '{absent}' in vhost '/'"):
        connection.channel().queue_bind(absent, "amq.direct", "key")


def test_bindings_differ_by_arguments(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "headers")
    [queue] = bound_queues(channel, names, exchange, [{"a": 1}])
    channel.queue_bind(queue, exchange, "", arguments={"b": 2})
    assert routed(channel, exchange, "", [queue], {"a": 1}) == {0}
    assert routed(channel, exchange, "", [queue], {"b": 2}) == {0}
    channel.queue_unbind(queue, exchange, "", arguments={"a": 1})
    assert routed(channel, exchange, "", [queue], {"a": 1}) == set()
    assert routed(channel, exchange, "", [queue], {"b": 2}) == {0}


def test_arguments_of_direct_bindings_tell_them_apart(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    [queue] = bound_queues(channel, names, exchange, ["key"])
    channel.queue_bind(queue, exchange, "key", arguments={"note": "second"})
    assert routed(channel, exchange, "key", [queue]) == {0}, "two bindings, one copy"
    channel.queue_unbind(queue, exchange, "key")
    assert routed(channel, exchange, "key", [queue]) == {0}
    channel.queue_unbind(queue, exchange, "key", arguments={"note": "second"})
    assert routed(channel, exchange, "key", [queue]) == set()


def test_unbind(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    queues = bound_queues(channel, names, exchange, ["a.*", "a.*"])
    channel.queue_unbind(queues[0], exchange, "a.*")
    assert routed(channel, exchange, "a.b", queues) == {1}


def test_unbinding_what_is_not_bound_succeeds(server, connection, names):
    exchange, queue = names.exchange(), names.queue()
    channel = connection.channel()
    channel.exchange_declare(exchange, "direct")
    channel.queue_declare(queue)
    channel.queue_unbind(queue, exchange, "never bound")
    channel.queue_unbind(queue, names.exchange(), "no such exchange")
    channel.queue_unbind(names.queue(), exchange, "no such queue")
    assert channel.is_open


def test_unbind_removes_only_that_key(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    [queue] = bound_queues(channel, names, exchange, ["a"])
    channel.queue_bind(queue, exchange, "b")
    channel.queue_unbind(queue, exchange, "a")
    assert routed(channel, exchange, "a", [queue]) == set()
    assert routed(channel, exchange, "b", [queue]) == {0}


def test_bind_means_the_last_queue(raw, names):
    connection = raw()
    connection.channel(1)
    queue, exchange = names.queue(), names.exchange()
    connection.call("exchange.declare", 1, exchange=exchange, type="direct")
    connection.call("queue.declare", 1, queue=queue)
    connection.call("queue.bind", 1, queue="", exchange=exchange, routing_key="")
    connection.publish(1, queue, b"by its name", exchange=exchange)
    connection.publish(1, "", b"not by an empty key", exchange=exchange)
    connection.call("queue.bind", 1, queue="", exchange=exchange, routing_key="key")
    connection.publish(1, "key", b"by the key", exchange=exchange)
    bodies = []
    for _ in range(2):
        connection.send("basic.get", 1, no_ack=True)
        bodies.append(connection.expect("basic.get-ok", 1).body)
    assert bodies == [b"by its name", b"by the key"]
    connection.send("basic.get", 1, no_ack=True)
    connection.expect("basic.get-empty", 1)


def test_two_queues_count_separately(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "fanout")
    queues = bound_queues(channel, names, exchange, ["", ""])
    publish_and_wait(channel, exchange, "", b"1", b"2")
    take(channel, queues[0])
    assert [counts(channel, queue) for queue in queues] == [(0, 0), (2, 0)]
