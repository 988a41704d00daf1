"""x-expires: a queue nobody uses goes; what counts as using it."""

import time

import pika
import pytest

from steps import Collector, counts, eventually, parameters, publish_and_wait, refused

TYPES = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}


@pytest.fixture(params=TYPES)
def kind(request):
    """Arguments of either type of queue."""
    return TYPES[request.param]


def declare(channel, queue, milliseconds=300, kind=None):
    arguments = (kind or {}) | {"x-expires": milliseconds}
    return channel.queue_declare(queue, durable=True, arguments=arguments)


def exists(connection, queue):
    """Asked by publishing, since any declaration of the queue would count as using it."""
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("", queue, b"are you there?", mandatory=True)
    except pika.exceptions.UnroutableError:
        return False
    finally:
        channel.close()
    return True


def test_an_unused_queue_goes_with_its_messages(connection, names, kind):
    queue = names.queue()
    channel = connection.channel()
    started = time.monotonic()
    declare(channel, queue, kind=kind)
    publish_and_wait(channel, "", queue, b"m")
    time.sleep(0.15)
    assert exists(connection, queue), "not before its time"
    eventually(lambda: not exists(connection, queue))
    assert time.monotonic() - started >= 0.29
    channel.queue_declare(queue, durable=True)
    assert counts(channel, queue)[0] == 0, "a new one"


def test_publishing_does_not_keep_it(connection, names):
    queue = names.queue()
    channel = connection.channel()
    declare(channel, queue)
    eventually(lambda: not exists(connection, queue))


def test_its_bindings_go_too(connection, names):
    queue = names.queue()
    channel = connection.channel()
    declare(channel, queue)
    channel.queue_bind(queue, "amq.direct", queue)
    eventually(lambda: not exists(connection, queue))
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("amq.direct", queue, b"m", mandatory=True)


def test_an_auto_delete_exchange_goes_with_its_last_binding(connection, names):
    queue, exchange = names.queue(), names.exchange()
    channel = connection.channel()
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    declare(channel, queue)
    channel.queue_bind(queue, exchange)
    eventually(lambda: not exists(connection, queue))
    with refused(404):
        channel.exchange_declare(exchange, passive=True)


def test_a_consumer_keeps_it(connection, names, kind):
    queue = names.queue()
    channel = connection.channel()
    declare(channel, queue, kind=kind)
    collector = Collector()
    tag = channel.basic_consume(queue, collector, auto_ack=True)
    time.sleep(0.6)
    publish_and_wait(channel, "", queue, b"m")
    collector.wait(connection, 1)
    assert collector.bodies == [b"m"]
    cancelled = time.monotonic()
    channel.basic_cancel(tag)
    time.sleep(0.1)
    assert exists(connection, queue), "its time begins anew"
    eventually(lambda: not exists(connection, queue))
    assert time.monotonic() - cancelled >= 0.28


@pytest.mark.parametrize("ending", ["channel", "connection"])
def test_time_runs_from_the_end_of_the_last_consumer(connect, connection, names, ending):
    queue = names.queue()
    consumer = connect()
    channel = consumer.channel()
    declare(channel, queue, milliseconds=200)
    for _ in range(2):
        channel.basic_consume(queue, Collector())
    time.sleep(0.4)
    assert exists(connection, queue)
    (channel if ending == "channel" else consumer).close()
    eventually(lambda: not exists(connection, queue))


def test_get_keeps_it(connection, names):
    queue = names.queue()
    channel = connection.channel()
    declare(channel, queue)
    for _ in range(8):
        time.sleep(0.1)
        assert channel.basic_get(queue)[0] is None
    assert exists(connection, queue)
    eventually(lambda: not exists(connection, queue))


def test_declaring_again_keeps_it(connection, names):
    queue = names.queue()
    channel = connection.channel()
    for _ in range(8):
        declare(channel, queue)
        time.sleep(0.1)
    assert exists(connection, queue)
    eventually(lambda: not exists(connection, queue))


def test_a_passive_declaration_keeps_it(connection, names):
    queue = names.queue()
    channel = connection.channel()
    declare(channel, queue)
    for _ in range(8):
        time.sleep(0.1)
        channel.queue_declare(queue, passive=True)
    eventually(lambda: not exists(connection, queue))


def test_declarations_do_not_keep_a_quorum_queue(connection, names):
    queue = names.queue()
    channel = connection.channel()
    deadline = time.monotonic() + 8
    declare(channel, queue, milliseconds=400, kind=TYPES["quorum"])
    publish_and_wait(channel, "", queue, b"the first one")
    while channel.queue_declare(queue, passive=True).method.message_count == 0:
        time.sleep(0.02)
    with refused(404):
        while time.monotonic() < deadline:
            channel.queue_declare(queue, passive=True)
            time.sleep(0.1)


def test_get_keeps_a_quorum_queue(connection, names):
    queue = names.queue()
    channel = connection.channel()
    declare(channel, queue, kind=TYPES["quorum"])
    for _ in range(8):
        time.sleep(0.1)
        assert channel.basic_get(queue)[0] is None
    assert exists(connection, queue)


def test_a_purge_does_not_keep_it(connection, names):
    queue = names.queue()
    channel = connection.channel()
    declare(channel, queue)
    with refused(404, queue):
        for _ in range(30):
            channel.queue_purge(queue)
            time.sleep(0.05)


def test_what_is_held_does_not_keep_it(connection, names):
    queue = names.queue()
    channel = connection.channel()
    declare(channel, queue)
    publish_and_wait(channel, "", queue, b"m")
    tag = channel.basic_get(queue)[0].delivery_tag
    eventually(lambda: not exists(connection, queue))
    channel.basic_ack(tag)
    publish_and_wait(channel, "amq.direct", "nowhere", b"")


def test_an_exclusive_queue_may_expire(connection, names):
    queue = names.stem
    channel = connection.channel()
    channel.queue_declare(queue, exclusive=True, arguments={"x-expires": 100})
    eventually(lambda: not exists(connection, queue))


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
def test_time_begins_anew_after_a_restart(own_server, how):
    connection = pika.BlockingConnection(parameters(own_server.url))
    channel = connection.channel()
    declare(channel, "q", milliseconds=1000)
    channel.confirm_delivery()
    channel.basic_publish("", "q", b"m", pika.BasicProperties(delivery_mode=2))
    connection.close()
    time.sleep(0.5)
    getattr(own_server, how)()
    up = time.monotonic()
    connection = pika.BlockingConnection(parameters(own_server.url))
    time.sleep(max(0.0, up + 0.7 - time.monotonic()))
    assert exists(connection, "q")
    eventually(lambda: not exists(connection, "q"))
    connection.channel().queue_declare("later", durable=True)
    own_server.kill_and_start()
    assert not exists(pika.BlockingConnection(parameters(own_server.url)), "q")
