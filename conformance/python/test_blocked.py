"""Alarms: publishers are blocked while the broker is low on disk or memory, and nobody else."""

import os
import time

import pika
import pytest

from raw import CAPABILITIES, Nothing, RawConnection
from steps import parameters

# More than any disk has: the disk is always low.
HUGE = 1 << 60


class Alarmed:
    """A Postroom whose alarms are raised and cleared by what its file of settings says."""

    def __init__(self, start, folder):
        self.file = folder / "postroom.toml"
        self.say()
        self.server = start("--config", self.file)
        self.url = self.server.url

    def say(self, **settings):
        lines = [f"{name.replace('_', '-')} = {value}\n" for name, value in settings.items()]
        self.file.write_text("".join(lines))

    def alarms(self, **settings):
        self.say(**settings)
        self.server.reload("read again")
        # The watch is told of the change at once; give it its turn.
        time.sleep(0.3)


LOW_DISK = {"disk_free_min_bytes": HUGE}
LOW_MEMORY = {"memory_high_watermark": "0.0"}


@pytest.fixture
def alarmed(start_own, tmp_path):
    return Alarmed(start_own, tmp_path)


@pytest.fixture
def client(alarmed):
    opened = []

    def open_connection(**settings):
        connection = RawConnection.open(alarmed.url, **settings)
        opened.append(connection)
        connection.channel(1)
        return connection

    yield open_connection
    for connection in opened:
        connection.close()


def silent(connection, seconds=0.5):
    with pytest.raises(Nothing):
        connection.next_method(seconds)


@pytest.mark.parametrize(
    ("low", "reason"),
    [
        (LOW_DISK, b"low on disk"),
        (LOW_MEMORY, b"low on memory"),
        (LOW_DISK | LOW_MEMORY, b"low on memory & disk"),
    ],
)
def test_a_publisher_is_told_and_not_read_until_all_is_well(alarmed, client, low, reason):
    publisher = client()
    publisher.call("queue.declare", 1, queue="q")
    alarmed.alarms(**low)
    silent(publisher)
    # What blocks is still taken; what comes after it waits.
    publisher.publish(1, "q", b"the last")
    blocked = publisher.expect("connection.blocked", 0)
    assert blocked.reason.encode() == reason
    publisher.publish(1, "q", b"waits")
    publisher.send("queue.declare", 1, queue="q", passive=True)
    silent(publisher)
    other = client()
    assert other.call("queue.declare", 1, queue="q").message_count == 1
    alarmed.alarms()
    publisher.expect("connection.unblocked", 0)
    publisher.expect("queue.declare-ok", 1)
    assert other.call("queue.declare", 1, queue="q").message_count == 2


def test_the_last_alarm_to_clear_unblocks(alarmed, client):
    publisher = client()
    alarmed.alarms(**LOW_DISK)
    publisher.publish(1, "nowhere", b"m")
    assert publisher.expect("connection.blocked", 0).reason == "low on disk"
    alarmed.alarms(**LOW_DISK | LOW_MEMORY)
    alarmed.alarms(**LOW_MEMORY)
    silent(publisher)
    alarmed.alarms()
    publisher.expect("connection.unblocked", 0)
    publisher.call("queue.declare", 1, queue="q")


def test_consumers_go_on_and_acknowledge(alarmed, client):
    publisher, consumer = client(), client()
    publisher.call("queue.declare", 1, queue="q")
    for number in range(5):
        publisher.publish(1, "q", b"%d" % number)
    publisher.call("queue.declare", 1, queue="q", passive=True)
    alarmed.alarms(**LOW_DISK)
    # Whoever has published before and does not any more is read, too.
    assert publisher.call("queue.declare", 1, queue="q", passive=True).message_count == 5
    consumer.call("basic.qos", 1, prefetch_count=1)
    consumer.call("basic.consume", 1, queue="q", consumer_tag="c")
    for number in range(5):
        delivery = consumer.expect("basic.deliver", 1)
        assert delivery.body == b"%d" % number
        consumer.send("basic.ack", 1, delivery_tag=delivery.delivery_tag)
    consumer.call("queue.declare", 1, queue="q", passive=True)


def test_who_comes_during_an_alarm_is_let_in(alarmed, client):
    alarmed.alarms(**LOW_MEMORY)
    late = client()
    assert late.call("queue.declare", 1, queue="q").message_count == 0
    late.publish(1, "q", b"m")
    late.expect("connection.blocked", 0)
    alarmed.alarms()
    late.expect("connection.unblocked", 0)


def test_who_did_not_announce_it_is_not_told_but_not_read_either(alarmed, client):
    publisher = client(capabilities=CAPABILITIES | {"connection.blocked": False})
    alarmed.alarms(**LOW_DISK)
    publisher.publish(1, "nowhere", b"m")
    # What lies behind it in the same read would still be taken.
    silent(publisher, 0.2)
    publisher.send("queue.declare", 1, queue="q")
    silent(publisher)
    alarmed.alarms()
    publisher.expect("queue.declare-ok", 1)


def test_heartbeats_go_on_and_silence_is_forgiven(alarmed, client):
    publisher = client(heartbeat=1)
    alarmed.alarms(**LOW_DISK)
    publisher.publish(1, "nowhere", b"m")
    publisher.expect("connection.blocked", 0)
    # Much longer than a silent client has; nothing of what it sends is read meanwhile.
    silent(publisher, 4)
    assert len(publisher.heartbeats) >= 3
    alarmed.alarms()
    publisher.expect("connection.unblocked", 0)
    publisher.call("queue.declare", 1, queue="q")


def test_a_blocked_connection_says_goodbye_when_the_broker_stops(alarmed, client):
    publisher = client()
    alarmed.alarms(**LOW_DISK)
    publisher.publish(1, "nowhere", b"m")
    publisher.expect("connection.blocked", 0)
    begun = time.monotonic()
    assert alarmed.server.process.poll() is None
    os.kill(alarmed.server.process.pid, 15)
    publisher.expect_connection_close(320)
    assert alarmed.server.wait() == 0
    assert time.monotonic() - begun < 5


def test_pika_is_told(alarmed):
    connection = pika.BlockingConnection(parameters(alarmed.url))
    told = []
    connection.add_on_connection_blocked_callback(lambda *_: told.append("blocked"))
    connection.add_on_connection_unblocked_callback(lambda *_: told.append("unblocked"))
    # Without confirms: a block that comes between the frames of a message delays its confirm.
    channel = connection.channel()
    channel.queue_declare("q")
    alarmed.alarms(**LOW_DISK)
    channel.basic_publish("", "q", b"the last")

    def hear(expected):
        deadline = time.monotonic() + 10
        while told != expected and time.monotonic() < deadline:
            connection.process_data_events(0.1)
        assert told == expected

    hear(["blocked"])
    alarmed.alarms()
    hear(["blocked", "unblocked"])
    channel.basic_publish("", "q", b"again")
    connection.close()
