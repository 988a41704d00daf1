"""Clients that break off, babble or lie hurt only themselves."""

import os
import random
import struct
import time

import pytest

import wire
from raw import PROTOCOL_HEADER, Nothing, RawConnection, SocketClosed
from steps import eventually


@pytest.fixture
def witness(raw, names):
    """A well-behaved client that must notice nothing."""
    connection = raw()
    connection.channel(1)
    queue = names.queue("witness")
    connection.call("queue.declare", 1, queue=queue)

    def check():
        connection.publish(1, queue, b"still here")
        connection.send("basic.get", 1, queue=queue, no_ack=True)
        assert connection.expect("basic.get-ok", 1).body == b"still here"

    return check


def drop(connection):
    """Read until the server closes or falls silent, then leave."""
    try:
        for _ in range(50):
            connection.read_bytes(1, seconds=0.05)
    except (SocketClosed, Nothing):
        pass
    connection.abort()


def send_and_drop(connection, data):
    try:
        connection.send_bytes(data)
    except OSError:
        pass
    drop(connection)


@pytest.mark.parametrize("stage", ["greeting", "handshake", "open"])
def test_random_bytes(server, witness, stage):
    chance = random.Random(20240911)
    for _ in range(20):
        connection = RawConnection.connect(server.url)
        if stage == "handshake":
            connection.start()
        elif stage == "open":
            connection.handshake()
            connection.channel(1)
        send_and_drop(connection, chance.randbytes(chance.randrange(1, 3000)))
    witness()


def test_random_payloads_in_well_formed_frames(server, witness):
    chance = random.Random(7)
    for _ in range(60):
        connection = RawConnection.open(server.url)
        connection.channel(1)
        kind = chance.choice([wire.METHOD, wire.HEADER, wire.BODY])
        payload = chance.randbytes(chance.randrange(0, 60))
        if kind == wire.METHOD:
            ids = chance.choice(list(wire.NAMES))
            payload = struct.pack(">HH", *ids) + payload
        send_and_drop(connection, wire.frame(kind, chance.choice([0, 1]), payload))
    witness()


def test_a_valid_session_with_one_byte_changed(server, names, witness):
    queue = names.queue()
    session = wire.method_frame(1, "channel.open")
    session += wire.method_frame(
        1, "queue.declare", queue=queue, arguments={"x-a": [1, {"b": "c"}]}
    )
    session += wire.method_frame(1, "basic.publish", routing_key=queue)
    session += wire.header_frame(1, 4, wire.properties(headers={"a": 1}, message_id="m"))
    session += wire.frame(wire.BODY, 1, b"body")
    session += wire.method_frame(1, "basic.consume", queue=queue, consumer_tag="c")
    for place in range(0, len(session), 3):
        changed = bytearray(session)
        changed[place] ^= 1 << (place % 8)
        connection = RawConnection.open(server.url)
        try:
            connection.send_bytes(bytes(changed))
            connection.read_bytes(1, seconds=0.02)
        except (OSError, SocketClosed, Nothing):
            pass
        connection.abort()
    witness()


@pytest.mark.parametrize("where", ["frame header", "method", "content header", "body"])
def test_breaking_off_in_the_middle(server, names, witness, where):
    queue = names.queue()
    start = wire.method_frame(1, "basic.publish", routing_key=queue)
    header = wire.header_frame(1, 1000)
    piece = {
        "frame header": start[:4],
        "method": start[:20],
        "content header": start + header[:15],
        "body": start
        + header
        + wire.frame(wire.BODY, 1, bytes(500))
        + b"\x03\x00\x01\x00\x00\x01\xf4abc",
    }[where]
    watcher = RawConnection.open(server.url)
    watcher.channel(1)
    watcher.call("queue.declare", 1, queue=queue)
    for ending in ("close", "abort") * 5:
        connection = RawConnection.open(server.url)
        connection.channel(1)
        connection.send_bytes(piece)
        getattr(connection, ending)()
    assert watcher.call("queue.declare", 1, queue=queue, passive=True).message_count == 0
    watcher.close()
    witness()


def test_breaking_off_in_the_handshake(server, witness):
    for count in range(1, 8):
        connection = RawConnection.connect(server.url)
        connection.send_bytes(PROTOCOL_HEADER[:count])
        connection.abort()
    for _ in range(5):
        connection = RawConnection.connect(server.url)
        connection.start()
        connection.abort()
        connection = RawConnection.connect(server.url)
        connection.start()
        connection.log_in()
        connection.expect("connection.tune", 0)
        connection.abort()
    witness()


@pytest.mark.parametrize("size", [1 << 20, 1 << 31, (1 << 32) - 1])
def test_a_frame_that_announces_an_enormous_size(raw, witness, size):
    connection = raw()
    connection.channel(1)
    connection.send_bytes(struct.pack(">BHI", wire.METHOD, 1, size))
    assert connection.expect("connection.close", 0).reply_code == 501
    witness()


@pytest.mark.parametrize("size", [1 << 20, (1 << 32) - 1])
def test_an_enormous_frame_before_login(server, witness, size):
    connection = RawConnection.connect(server.url)
    connection.start()
    connection.send_bytes(struct.pack(">BHI", wire.METHOD, 0, size))
    connection.expect_refusal(501, or_drop=True)
    connection.close()
    witness()


def test_deeply_nested_tables(server, raw, witness):
    # As deep as a frame allows.
    inner = b"V"
    while len(inner) < 60_000:
        inner = b"A" + wire.long_string(inner)
    connection = raw()
    connection.channel(1)
    connection.send(
        "queue.bind",
        1,
        queue="no-such-queue",
        exchange="amq.direct",
        arguments=wire.Raw(wire.short_string("deep") + inner),
    )
    try:
        answer = connection.next_method(20)
        assert answer.name in ("channel.close", "connection.close")
    except SocketClosed:
        assert not server.is_postroom
    witness()


def test_idle_connections_do_not_wear_others_out(server, witness):
    idle = [RawConnection.connect(server.url) for _ in range(200)]
    half = [RawConnection.connect(server.url) for _ in range(100)]
    for connection in half:
        connection.send_bytes(PROTOCOL_HEADER)
    begin = time.monotonic()
    witness()
    assert time.monotonic() - begin < 2
    for connection in idle + half:
        connection.close()


def test_channels_opened_and_left(server, witness):
    # Hundreds of channels, consumers and unacknowledged messages vanish with their socket.
    connection = RawConnection.open(server.url)
    queues = {}
    for number in range(1, 301):
        connection.channel(number)
        queues[number] = connection.call("queue.declare", number, exclusive=True).queue
        connection.call("basic.consume", number, queue=queues[number])
    for number, queue in queues.items():
        connection.publish(number, queue, b"m")
    for _ in queues:
        assert connection.next_method().name == "basic.deliver"
    connection.abort()
    witness()


def test_a_client_that_never_reads(server, names, witness):
    # Tens of thousands of questions, and none of the answers read.
    connection = RawConnection.open(server.url)
    connection.channel(1)
    question = wire.method_frame(1, "queue.declare", queue=names.stem * 4, exclusive=True)
    connection.socket.settimeout(2)
    try:
        for _ in range(400):
            connection.send_bytes(question * 100)
    except OSError:
        pass
    witness()
    connection.abort()


def test_confirms_nobody_reads(server, witness):
    connection = RawConnection.open(server.url)
    connection.channel(1)
    connection.call("confirm.select", 1)
    burst = (
        wire.method_frame(1, "basic.publish", routing_key="nowhere") + connection.content(1, b"m")
    ) * 500
    connection.socket.settimeout(2)
    try:
        for _ in range(40):
            connection.send_bytes(burst)
    except OSError:
        pass
    witness()
    connection.abort()


@pytest.mark.postroom_only(reason="looks at the process")
def test_what_broke_off_leaves_no_file_open(server, witness):
    def open_files():
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    witness()
    before = open_files()
    for _ in range(100):
        connection = RawConnection.open(server.url)
        connection.channel(1)
        connection.abort()
    eventually(lambda: open_files() <= before)
