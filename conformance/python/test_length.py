"""Length limits: what counts, what is dropped, and what a publisher hears of it."""

import time

import pika
import pytest

from steps import Collector, counts, eventually, parameters, publish_and_wait, take

TYPES = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}


@pytest.fixture(params=TYPES)
def kind(request):
    """Arguments of either type of queue."""
    return TYPES[request.param]


def declare(channel, names, arguments=None, **given):
    queue = names.queue()
    given = {f"x-{name.replace('_', '-')}": value for name, value in given.items()}
    channel.queue_declare(queue, durable=True, arguments=(arguments or {}) | given)
    return queue


def numbered(*numbers):
    return [b"%d" % n for n in numbers]


def left(connection, queue, count):
    """What a consumer gets out of the queue, which takes part in no race of RabbitMQ's."""
    channel, collector = connection.channel(), Collector()
    channel.basic_consume(queue, collector, auto_ack=True)
    return collector.wait(connection, count).settle_down(connection, 0.1).bodies


def outcomes(channel, queue, *bodies, exchange="", mandatory=False):
    """What a publisher in confirm mode is told of each: ack, nack or returned."""
    told = []
    channel.confirm_delivery()
    for body in bodies:
        try:
            channel.basic_publish(exchange, queue, body, mandatory=mandatory)
            told.append("ack")
        except pika.exceptions.NackError:
            told.append("nack")
        except pika.exceptions.UnroutableError:
            told.append("returned")
    return told


# --- drop-head -----------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", [{}, {"overflow": "drop-head"}], ids=["default", "named"])
def test_the_oldest_go_first(connection, names, kind, overflow):
    channel = connection.channel()
    queue = declare(channel, names, kind, max_length=3, **overflow)
    publish_and_wait(channel, "", queue, *numbered(*range(10)))
    eventually(lambda: counts(channel, queue)[0] == 3)
    assert left(connection, queue, 3) == numbered(7, 8, 9)


def test_bytes(connection, names, kind):
    channel = connection.channel()
    queue = declare(channel, names, kind, max_length_bytes=10)
    publish_and_wait(channel, "", queue, b"a" * 4, b"b" * 4, b"c" * 2)
    eventually(lambda: counts(channel, queue)[0] == 3)
    publish_and_wait(channel, "", queue, b"d")
    eventually(lambda: counts(channel, queue)[0] == 3)
    assert left(connection, queue, 3) == [b"b" * 4, b"c" * 2, b"d"]


def test_bytes_count_bodies_alone(channel, names):
    queue = declare(channel, names, max_length_bytes=2)
    given = pika.BasicProperties(headers={"x": "y" * 500}, content_type="z" * 100)
    publish_and_wait(channel, "", queue, b"1", b"2", properties=given)
    assert take(channel, queue) == [b"1", b"2"]


def test_bytes_of_an_empty_body_are_none(channel, names):
    queue = declare(channel, names, max_length_bytes=0)
    publish_and_wait(channel, "", queue, b"", b"x", b"")
    eventually(lambda: counts(channel, queue)[0] == 1)
    assert take(channel, queue) == [b""]


def test_a_body_larger_than_the_limit_drops_everything(channel, names):
    queue = declare(channel, names, max_length_bytes=10)
    publish_and_wait(channel, "", queue, b"a" * 5, b"b" * 11)
    assert counts(channel, queue)[0] == 0
    publish_and_wait(channel, "", queue, b"c" * 10)
    assert take(channel, queue) == [b"c" * 10]


@pytest.mark.parametrize(
    "bodies, kept",
    [
        ([b"a", b"b", b"c", b"d"], [b"b", b"c", b"d"]),
        ([b"a" * 5, b"b" * 5, b"c" * 5], [b"b" * 5, b"c" * 5]),
    ],
    ids=["length", "bytes"],
)
def test_both_limits_whichever_comes_first(channel, names, bodies, kept):
    queue = declare(channel, names, max_length=3, max_length_bytes=10)
    publish_and_wait(channel, "", queue, *bodies)
    assert take(channel, queue) == kept


def test_a_limit_of_nothing(channel, names):
    queue = declare(channel, names, max_length=0)
    assert outcomes(channel, queue, b"1", b"2") == ["ack", "ack"]
    assert counts(channel, queue)[0] == 0


def test_a_limit_of_nothing_with_a_waiting_consumer(connection, names):
    channel = connection.channel()
    queue = declare(channel, names, max_length=0)
    collector = Collector()
    channel.basic_consume(queue, collector, auto_ack=True)
    publish_and_wait(connection.channel(), "", queue, b"1", b"2")
    collector.wait(connection, 2)
    assert collector.bodies == [b"1", b"2"]


def test_what_is_held_does_not_count(channel, names):
    queue = declare(channel, names, max_length=2)
    publish_and_wait(channel, "", queue, *numbered(1, 2))
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(2)]
    publish_and_wait(channel, "", queue, *numbered(3, 4, 5))
    assert counts(channel, queue)[0] == 2
    channel.basic_ack(tags[-1], multiple=True)
    assert take(channel, queue) == numbered(4, 5)


def test_a_return_over_the_limit_drops_the_oldest(channel, names):
    queue = declare(channel, names, max_length=2)
    publish_and_wait(channel, "", queue, *numbered(1, 2))
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(2)]
    publish_and_wait(channel, "", queue, *numbered(3, 4))
    channel.basic_nack(tags[-1], multiple=True, requeue=True)
    eventually(lambda: counts(channel, queue)[0] == 2)
    assert take(channel, queue) == numbered(3, 4)


def test_a_lost_consumer_returns_over_the_limit_too(connect, names):
    other = connect()
    channel = connect().channel()
    queue = declare(channel, names, max_length=2)
    publish_and_wait(channel, "", queue, *numbered(1, 2))
    other.channel().basic_get(queue)
    publish_and_wait(channel, "", queue, *numbered(3))
    other.close()
    time.sleep(0.1)
    assert take(channel, queue) == numbered(2, 3)


def test_dropping_goes_on_under_load(connection, names):
    channel = connection.channel()
    queue = declare(channel, names, max_length=10)
    for n in range(2000):
        channel.basic_publish("", queue, b"%d" % n)
    eventually(lambda: counts(channel, queue)[0] == 10)
    assert take(channel, queue) == numbered(*range(1990, 2000))


# --- reject-publish ------------------------------------------------------------------------------


def test_reject_publish_keeps_the_oldest(channel, names):
    queue = declare(channel, names, max_length=2, overflow="reject-publish")
    assert outcomes(channel, queue, *numbered(1, 2, 3, 4)) == ["ack", "ack", "nack", "nack"]
    assert take(channel, queue, 1) == numbered(1)
    assert outcomes(channel, queue, *numbered(5, 6)) == ["ack", "nack"]
    assert take(channel, queue) == numbered(2, 5)


def test_reject_publish_of_a_quorum_queue(connection, names):
    """It may let a few pass before it stops, as RabbitMQ's do."""
    channel = connection.channel()
    arguments = TYPES["quorum"]
    queue = declare(channel, names, arguments, max_length=3, overflow="reject-publish")
    told = outcomes(channel, queue, *numbered(*range(40)))
    kept = [b"%d" % n for n, word in enumerate(told) if word == "ack"]
    assert "nack" in told and 3 <= len(kept) < 40
    assert left(connection, queue, len(kept)) == kept


def test_reject_publish_by_bytes(channel, names):
    queue = declare(channel, names, max_length_bytes=10, overflow="reject-publish")
    assert outcomes(channel, queue, b"a" * 6, b"b" * 6, b"c" * 4) == ["ack", "nack", "ack"]
    assert outcomes(channel, queue, b"d", b"") == ["nack", "ack"]
    assert take(channel, queue) == [b"a" * 6, b"c" * 4, b""]
    assert outcomes(channel, queue, b"e" * 11, b"f" * 10) == ["nack", "ack"]


def test_reject_publish_at_a_limit_of_nothing(channel, names):
    queue = declare(channel, names, max_length=0, overflow="reject-publish")
    assert outcomes(channel, queue, b"1") == ["nack"]


def test_reject_publish_at_a_limit_of_nothing_with_a_waiting_consumer(connection, names):
    channel = connection.channel()
    queue = declare(channel, names, max_length=0, overflow="reject-publish")
    collector = Collector()
    channel.basic_consume(queue, collector, auto_ack=True)
    assert outcomes(connection.channel(), queue, b"1") == ["nack"]
    assert collector.settle_down(connection).bodies == []


def test_reject_publish_without_confirms_drops_silently(channel, names):
    queue = declare(channel, names, max_length=1, overflow="reject-publish")
    publish_and_wait(channel, "", queue, *numbered(1, 2, 3))
    assert take(channel, queue) == numbered(1)


def test_what_is_held_leaves_room(channel, names):
    queue = declare(channel, names, max_length=1, overflow="reject-publish")
    assert outcomes(channel, queue, b"1") == ["ack"]
    channel.basic_get(queue)
    assert outcomes(channel, queue, b"2", b"3") == ["ack", "nack"]


def test_a_return_is_never_rejected(channel, names):
    queue = declare(channel, names, max_length=1, overflow="reject-publish")
    assert outcomes(channel, queue, b"1") == ["ack"]
    tag = channel.basic_get(queue)[0].delivery_tag
    assert outcomes(channel, queue, b"2") == ["ack"]
    channel.basic_nack(tag, requeue=True)
    eventually(lambda: counts(channel, queue)[0] == 2)
    assert take(channel, queue) == numbered(1, 2)


def test_mandatory_is_routed_even_if_rejected(channel, names):
    queue = declare(channel, names, max_length=0, overflow="reject-publish")
    assert outcomes(channel, queue, b"1", mandatory=True) == ["nack"]
    assert outcomes(channel, names.stem, b"1", mandatory=True) == ["returned"]


def test_one_rejecting_queue_of_several_nacks(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "fanout")
    full = declare(channel, names, max_length=1, overflow="reject-publish")
    roomy = declare(channel, names)
    for queue in (full, roomy):
        channel.queue_bind(queue, exchange)
    assert outcomes(channel, "", b"1", b"2", exchange=exchange, mandatory=True) == ["ack", "nack"]
    assert take(channel, full) == numbered(1)
    assert take(channel, roomy) == numbered(1, 2), "the others have it all the same"


def test_nacks_and_acks_name_their_messages(raw, names):
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    arguments = {"x-max-length": 3, "x-overflow": "reject-publish"}
    connection.call("queue.declare", 1, queue=queue, arguments=arguments)
    connection.call("confirm.select", 1)
    for n in range(6):
        connection.publish(1, queue, b"%d" % n)
    told = {}
    while len(told) < 6:
        answer = connection.next_method()
        first = max(told, default=0) + 1 if answer.multiple else answer.delivery_tag
        if answer.multiple:
            first = min(n for n in range(1, 7) if n not in told)
        for tag in range(first, answer.delivery_tag + 1):
            told.setdefault(tag, answer.name)
    assert told == {n: "basic.ack" if n <= 3 else "basic.nack" for n in range(1, 7)}
    connection.expect_nothing()


@pytest.mark.parametrize("how", ["nack", "ack"])
def test_reject_publish_dlx(channel, names, how):
    """Rejected for the publisher, and a dead letter for its queue."""
    grave = declare(channel, names)
    given = {"dead_letter_exchange": "", "dead_letter_routing_key": grave}
    overflow = {"nack": "reject-publish-dlx", "ack": "drop-head"}[how]
    queue = declare(channel, names, max_length=1, overflow=overflow, **given)
    assert outcomes(channel, queue, b"1", b"2") == ["ack", how]
    died, stayed = ([b"2"], [b"1"]) if how == "nack" else ([b"1"], [b"2"])
    assert take(channel, grave, 1) == died
    assert take(channel, queue) == stayed


# --- restarts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
def test_limits_hold_across_a_restart(own_server, how):
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    arguments = {"x-max-length": 3}
    channel.queue_declare("dropping", durable=True, arguments=arguments)
    arguments = {"x-max-length-bytes": 3, "x-overflow": "reject-publish"}
    channel.queue_declare("rejecting", durable=True, arguments=arguments)
    channel.confirm_delivery()
    persistent = pika.BasicProperties(delivery_mode=2)
    for n in range(5):
        channel.basic_publish("", "dropping", b"%d" % n, persistent)
    for n in range(3):
        channel.basic_publish("", "rejecting", b"%d" % n, persistent)
    getattr(own_server, how)()
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    assert counts(channel, "dropping")[0] == 3
    assert outcomes(channel, "rejecting", b"3") == ["nack"]
    assert take(channel, "rejecting") == numbered(0, 1, 2)
    publish_and_wait(channel, "", "dropping", b"5")
    assert take(channel, "dropping") == numbered(3, 4, 5)
