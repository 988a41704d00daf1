"""What outlives the broker's process, stopped cleanly or killed."""

import itertools
import signal
import subprocess
import threading
import uuid

import pika
import pytest

import wire
from broker import binary
from raw import RawConnection, SocketClosed
from steps import PERSISTENT, catch_up, counts, parameters, publish_and_wait, refused, take


@pytest.fixture
def ending():
    """A clean restart; the tests that take it as a parameter also kill."""
    return "restart"


ENDINGS = pytest.mark.parametrize(
    "ending",
    [
        "restart",
        pytest.param(
            "kill", marks=pytest.mark.postroom_only(reason="only our own broker is killed")
        ),
    ],
)


@pytest.fixture
def broker(restartable):
    """A broker to be ended and started again, with what the test opened on it closed at the end."""
    return Restartable(restartable)


class Restartable:
    def __init__(self, server):
        self.server = server
        self.opened = []

    def channel(self):
        """A channel of a new connection."""
        self.opened.append(pika.BlockingConnection(parameters(self.server.url)))
        return self.opened[-1].channel()

    def raw(self):
        connection = RawConnection.open(self.server.url)
        connection.channel(1)
        return connection

    def end(self, ending):
        """End the broker and start it again; connections of before are of no use any more."""
        if ending == "kill":
            self.server.kill_and_start()
        else:
            self.server.restart()
        self.opened.clear()


@pytest.fixture
def unique():
    """A name nobody else uses, also on a broker that other tests share."""
    return f"durability-{uuid.uuid4().hex[:12]}"


@ENDINGS
def test_durable_queue_survives(broker, unique, ending):
    channel = broker.channel()
    arguments = {"x-overflow": "reject-publish", "x-odd": ["kept"]}
    channel.queue_declare(unique, durable=True, arguments=arguments)
    channel.queue_declare(unique + "-auto", durable=True, auto_delete=True)
    broker.end(ending)
    channel = broker.channel()
    assert counts(channel, unique) == (0, 0)
    channel.queue_declare(unique, durable=True, arguments=arguments)
    channel.queue_declare(unique + "-auto", durable=True, auto_delete=True)
    with refused(406, "x-overflow"):
        broker.channel().queue_declare(unique, durable=True)
    channel.queue_delete(unique)
    channel.queue_delete(unique + "-auto")


@ENDINGS
def test_durable_exchange_survives(broker, unique, ending):
    channel = broker.channel()
    kinds = ["direct", "fanout", "topic", "headers"]
    for kind in kinds:
        channel.exchange_declare(
            unique + kind,
            kind,
            durable=True,
            internal=kind == "topic",
            auto_delete=kind == "fanout",
            arguments={"alternate-exchange": "elsewhere"},
        )
    broker.end(ending)
    channel = broker.channel()
    for kind in kinds:
        channel.exchange_declare(
            unique + kind,
            kind,
            durable=True,
            internal=kind == "topic",
            auto_delete=kind == "fanout",
            arguments={"alternate-exchange": "elsewhere"},
        )
    for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
        channel.exchange_declare(name, passive=True)
    with refused(406, "type"):
        broker.channel().exchange_declare(unique + "direct", "fanout", durable=True)
    for kind in kinds:
        channel.exchange_delete(unique + kind)


@ENDINGS
def test_bindings_survive(broker, unique, ending):
    channel = broker.channel()
    channel.exchange_declare(unique + "-source", "topic", durable=True)
    channel.exchange_declare(unique + "-headers", "headers", durable=True)
    channel.exchange_bind(unique + "-headers", unique + "-source", "a.#")
    channel.queue_declare(unique, durable=True)
    channel.queue_bind(
        unique, unique + "-headers", "", arguments={"x-match": "any", "colour": "red"}
    )
    channel.queue_bind(unique, "amq.direct", unique)
    broker.end(ending)
    channel = broker.channel()
    red = pika.BasicProperties(headers={"colour": "red"})
    publish_and_wait(channel, unique + "-source", "a.b", b"through two exchanges", properties=red)
    publish_and_wait(channel, unique + "-source", "a.b", b"wrong header")
    publish_and_wait(channel, unique + "-source", "b.a", b"wrong key", properties=red)
    publish_and_wait(channel, "amq.direct", unique, b"predeclared")
    assert take(channel, unique, 2) == [b"through two exchanges", b"predeclared"]
    channel.queue_delete(unique)
    channel.exchange_delete(unique + "-source")
    channel.exchange_delete(unique + "-headers")


@ENDINGS
def test_persistent_messages_survive(broker, unique, ending):
    connection = broker.raw()
    connection.call("queue.declare", 1, queue=unique, durable=True)
    connection.call("confirm.select", 1)
    fields = {"text": "✓", "number": -5, "flag": True, "bytes": b"\0\xff", "list": [1, {"a": None}]}
    sent = []
    for number in range(200):
        properties = wire.properties(
            delivery_mode=2,
            headers=fields | {"n": number},
            message_id=f"m-{number}",
            priority=number,
            timestamp=1_700_000_000 + number,
            content_type="application/octet-stream",
        )
        body = b"%d " % number + bytes(range(256)) * (number * 13 % 40)
        sent.append((properties, body))
        connection.publish(1, unique, body, properties=properties)
    big = bytes(range(256)) * 4096 * 3
    connection.publish(1, unique, big, properties=wire.properties(delivery_mode=2))
    sent.append((wire.properties(delivery_mode=2), big))
    confirmed = 0
    while confirmed < len(sent):
        confirmed = connection.expect("basic.ack", 1).delivery_tag
    broker.end(ending)
    connection = broker.raw()
    got = []
    for _ in sent:
        connection.send("basic.get", 1, queue=unique, no_ack=True)
        message = connection.expect("basic.get-ok", 1)
        assert (message.exchange, message.routing_key) == ("", unique)
        got.append((message.properties, message.body))
    assert got == sent
    connection.call("queue.delete", 1, queue=unique)


@ENDINGS
def test_a_message_in_several_queues_survives_in_each(broker, unique, ending):
    channel = broker.channel()
    queues = [f"{unique}-{number}" for number in range(4)]
    for queue in queues:
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, "amq.fanout")
    channel.confirm_delivery()
    channel.basic_publish("amq.fanout", "", b"everywhere", PERSISTENT)
    assert take(channel, queues[0], 1) == [b"everywhere"]
    channel.basic_publish("amq.fanout", "", b"again", PERSISTENT)
    broker.end(ending)
    channel = broker.channel()
    if ending == "restart":
        assert take(channel, queues[0]) == [b"again"]
    for queue in queues[1:]:
        assert take(channel, queue) == [b"everywhere", b"again"]
    for queue in queues:
        channel.queue_delete(queue)


@ENDINGS
def test_transient_queue_is_gone(broker, unique, ending):
    channel = broker.channel()
    channel.queue_declare(unique, durable=False)
    channel.queue_bind(unique, "amq.direct", unique)
    channel.confirm_delivery()
    channel.basic_publish("", unique, b"m", PERSISTENT)
    broker.end(ending)
    with refused(404):
        broker.channel().queue_declare(unique, passive=True)
    channel = broker.channel()
    channel.queue_declare(unique, durable=True)
    publish_and_wait(channel, "amq.direct", unique, b"not bound")
    assert counts(channel, unique) == (0, 0)
    channel.queue_delete(unique)


@ENDINGS
def test_transient_exchange_is_gone(broker, unique, ending):
    channel = broker.channel()
    channel.exchange_declare(unique, "fanout", durable=False)
    channel.queue_declare(unique, durable=True)
    channel.queue_bind(unique, unique)
    broker.end(ending)
    with refused(404):
        broker.channel().exchange_declare(unique, passive=True)
    channel = broker.channel()
    channel.exchange_declare(unique, "fanout", durable=True)
    publish_and_wait(channel, unique, "", b"not bound")
    assert counts(channel, unique) == (0, 0)
    channel.queue_delete(unique)
    channel.exchange_delete(unique)


@ENDINGS
def test_transient_messages_are_gone(broker, unique, ending):
    channel = broker.channel()
    channel.queue_declare(unique, durable=True)
    channel.confirm_delivery()
    for number in range(20):
        mode = pika.BasicProperties(delivery_mode=2 if number % 2 else 1)
        channel.basic_publish("", unique, b"%d" % number, mode)
    channel.basic_publish("", unique, b"no mode")
    broker.end(ending)
    channel = broker.channel()
    assert take(channel, unique) == [b"%d" % number for number in range(1, 20, 2)]
    channel.queue_delete(unique)


@ENDINGS
def test_exclusive_queue_is_gone(broker, unique, ending):
    channel = broker.channel()
    channel.queue_declare(unique, durable=True, exclusive=True)
    channel.confirm_delivery()
    channel.basic_publish("", unique, b"m", PERSISTENT)
    broker.end(ending)
    with refused(404):
        broker.channel().queue_declare(unique, passive=True)


@ENDINGS
def test_unacknowledged_messages_come_back_redelivered(broker, unique, ending):
    channel = broker.channel()
    channel.queue_declare(unique, durable=True)
    channel.confirm_delivery()
    for number in range(6):
        channel.basic_publish("", unique, b"%d" % number, PERSISTENT)
    for _ in range(3):
        channel.basic_get(unique)
    # What happened before a confirm is on disk with it, how far the queue was delivered too.
    channel.basic_publish("", unique, b"6", PERSISTENT)
    broker.end(ending)
    channel = broker.channel()
    got = [channel.basic_get(unique, auto_ack=True) for _ in range(7)]
    assert [body for _, _, body in got] == [b"%d" % number for number in range(7)]
    redelivered = [method.redelivered for method, _, _ in got]
    assert all(redelivered[:3]), "what was delivered before says so"
    if ending == "restart":
        assert not any(redelivered[3:]), "what was not delivered before says so too"
    channel.queue_delete(unique)


def test_acknowledged_messages_stay_gone(broker, unique, ending):
    channel = broker.channel()
    channel.queue_declare(unique, durable=True)
    channel.confirm_delivery()
    for number in range(100):
        channel.basic_publish("", unique, b"%d" % number, PERSISTENT)
    for number in range(50):
        method, _, _ = channel.basic_get(unique)
        if number % 3 == 0:
            channel.basic_nack(method.delivery_tag, requeue=False)
        else:
            channel.basic_ack(method.delivery_tag)
    catch_up(channel)
    broker.end(ending)
    channel = broker.channel()
    assert take(channel, unique) == [b"%d" % number for number in range(50, 100)]
    channel.queue_delete(unique)


@ENDINGS
def test_what_was_deleted_stays_gone(broker, unique, ending):
    channel = broker.channel()
    channel.confirm_delivery()
    for suffix in ("-deleted", "-purged", "-unbound"):
        channel.queue_declare(unique + suffix, durable=True)
    channel.exchange_declare(unique, "fanout", durable=True)
    channel.queue_bind(unique + "-unbound", "amq.direct", unique)
    channel.basic_publish("", unique + "-purged", b"purged", PERSISTENT)
    channel.basic_publish("", unique + "-deleted", b"deleted", PERSISTENT)
    channel.queue_delete(unique + "-deleted")
    channel.exchange_delete(unique)
    channel.queue_unbind(unique + "-unbound", "amq.direct", unique)
    channel.queue_purge(unique + "-purged")
    channel.basic_publish("", unique + "-purged", b"kept", PERSISTENT)
    broker.end(ending)
    channel = broker.channel()
    publish_and_wait(channel, "amq.direct", unique, b"not bound any more", properties=PERSISTENT)
    assert counts(channel, unique + "-unbound") == (0, 0)
    assert take(channel, unique + "-purged") == [b"kept"]
    with refused(404):
        broker.channel().queue_declare(unique + "-deleted", passive=True)
    with refused(404):
        broker.channel().exchange_declare(unique, passive=True)
    channel.queue_delete(unique + "-purged")
    channel.queue_delete(unique + "-unbound")


@ENDINGS
def test_a_queue_declared_again_does_not_inherit(broker, unique, ending):
    channel = broker.channel()
    channel.confirm_delivery()
    channel.queue_declare(unique, durable=True)
    channel.queue_bind(unique, "amq.direct", unique)
    channel.basic_publish("", unique, b"of the first life", PERSISTENT)
    channel.queue_delete(unique)
    channel.queue_declare(unique, durable=True)
    channel.basic_publish("", unique, b"of the second life", PERSISTENT)
    broker.end(ending)
    channel = broker.channel()
    publish_and_wait(channel, "amq.direct", unique, b"not bound any more")
    assert take(channel, unique) == [b"of the second life"]
    channel.queue_delete(unique)


@ENDINGS
def test_returned_messages_keep_their_place(broker, unique, ending):
    channel = broker.channel()
    channel.confirm_delivery()
    channel.queue_declare(unique, durable=True)
    for number in range(10):
        channel.basic_publish("", unique, b"%d" % number, PERSISTENT)
    tags = [channel.basic_get(unique)[0].delivery_tag for _ in range(5)]
    for tag in reversed(tags):
        channel.basic_nack(tag, requeue=True)
    catch_up(channel)
    broker.end(ending)
    channel = broker.channel()
    assert take(channel, unique) == [b"%d" % number for number in range(10)]
    channel.queue_delete(unique)


def test_several_restarts_in_a_row(broker, unique, ending):
    channel = broker.channel()
    channel.queue_declare(unique, durable=True)
    for life in range(4):
        channel.confirm_delivery()
        for number in range(10):
            channel.basic_publish("", unique, b"%d" % (life * 10 + number), PERSISTENT)
        method, _, body = channel.basic_get(unique)
        assert body == b"%d" % life
        channel.basic_ack(method.delivery_tag)
        catch_up(channel)
        broker.end(ending)
        channel = broker.channel()
    assert take(channel, unique) == [b"%d" % number for number in range(4, 40)]
    channel.queue_delete(unique)


def test_sigterm_closes_connections_with_320(own_server):
    busy, idle = RawConnection.open(own_server.url), RawConnection.open(own_server.url)
    busy.channel(1)
    busy.call("queue.declare", 1, queue="q", durable=True)
    busy.call("basic.consume", 1, queue="q")
    own_server.process.send_signal(signal.SIGTERM)
    for connection in (busy, idle):
        close = connection.expect_connection_close(320)
        assert close.reply_text.startswith("CONNECTION_FORCED")
        assert (close.class_id, close.method_id) == (0, 0)
    assert own_server.wait() == 0


def test_sigterm_with_pika(own_server):
    connection = pika.BlockingConnection(parameters(own_server.url))
    channel = connection.channel()
    own_server.process.send_signal(signal.SIGTERM)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        while True:
            connection.process_data_events(time_limit=1)
            catch_up(channel)
    assert error.value.reply_code == 320
    assert own_server.wait() == 0


def test_sigterm_does_not_wait_for_a_client_that_says_nothing(own_server):
    silent = [RawConnection.open(own_server.url) for _ in range(3)]
    half_open = RawConnection.connect(own_server.url)
    assert own_server.stop() == 0
    for connection in [*silent, half_open]:
        connection.close()


def test_sigterm_refuses_new_connections_afterwards(own_server):
    url = own_server.url
    assert own_server.stop() == 0
    with pytest.raises(OSError):
        RawConnection.connect(url)


@pytest.mark.parametrize("round_", range(3))
def test_every_confirmed_message_survives_a_kill(own_server, round_):
    # Published without pause while the process is killed; what was confirmed must be there.
    connection = RawConnection.open(own_server.url)
    connection.channel(1)
    connection.call("queue.declare", 1, queue="q", durable=True)
    connection.call("confirm.select", 1)
    properties = wire.properties(delivery_mode=2)

    def flood():
        try:
            for number in itertools.count(1):
                connection.publish(1, "q", b"%d" % number, properties=properties)
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    confirmed = 0
    try:
        while confirmed < 2000 * (round_ + 1):
            confirmed = connection.expect("basic.ack", 1).delivery_tag
        own_server.kill()
        while True:
            confirmed = connection.expect("basic.ack", 1).delivery_tag
    except SocketClosed:
        pass
    connection.abort()
    thread.join()
    own_server.start()
    reader = RawConnection.open(own_server.url)
    reader.channel(1)
    count = reader.call("queue.declare", 1, queue="q", durable=True).message_count
    reader.call("basic.consume", 1, queue="q", no_ack=True)
    got = [int(reader.expect("basic.deliver", 1).body) for _ in range(count)]
    assert got == list(range(1, count + 1)), "in order, without gaps"
    assert count >= confirmed, f"{confirmed} were confirmed, {count} are there"


def test_confirmed_settlements_and_topology_survive_a_kill_in_a_row(own_server):
    declared = set()
    for life in range(4):
        channel = pika.BlockingConnection(parameters(own_server.url)).channel()
        for queue in declared:
            assert take(channel, queue) == [queue.encode()]
            channel.basic_publish("", queue, queue.encode(), PERSISTENT)
        channel.confirm_delivery()
        for number in range(5):
            queue = f"q-{life}-{number}"
            channel.queue_declare(queue, durable=True)
            channel.basic_publish("", queue, queue.encode(), PERSISTENT)
            declared.add(queue)
        own_server.kill_and_start()


def test_a_second_process_on_the_same_data_is_refused(own_server):
    second = subprocess.run(
        [
            binary(),
            "serve",
            "--data-dir",
            own_server.data_dir,
            "--bind",
            "127.0.0.1",
            "--amqp-port",
            "0",
            "--http-port",
            "0",
        ],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert second.returncode != 0
    assert str(own_server.data_dir) in second.stderr + second.stdout
    own_server.check_alive()
    RawConnection.open(own_server.url).close()
