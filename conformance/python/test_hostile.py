"""Hostile clients: they stall, flood, lie and hoard, and hurt only themselves.

Every test has a witness, a well-behaved client that is served meanwhile. Where memory is at stake
the process is looked at: what a client makes the broker hold is bounded by what `crates/broker`'s
`limits.rs` promises, with room for buffers of the system and the allocator.
"""

import resource
import socket
import struct
import threading
import time

import pytest

import wire
from raw import PROTOCOL_HEADER, Nothing, RawConnection, SocketClosed
from steps import eventually

MIB = 1 << 20
GIB = 1 << 30


class Witness:
    """A client with manners on a broker, which must notice nothing."""

    def __init__(self, url):
        self.connection = RawConnection.open(url)
        self.connection.channel(1)
        self.queue = self.connection.call("queue.declare", 1, exclusive=True).queue

    def check(self, seconds=10):
        self.connection.publish(1, self.queue, b"still here")
        self.connection.send("basic.get", 1, queue=self.queue, no_ack=True)
        assert self.connection.expect("basic.get-ok", 1, seconds).body == b"still here"


@pytest.fixture
def witness(server):
    watching = Witness(server.url)
    yield watching
    watching.check()
    watching.connection.close()


def resident_bytes(server):
    """Memory the broker's process holds."""
    with open(f"/proc/{server.process.pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def send_until_blocked(connection, data, seconds):
    """Send the same bytes again and again; how many went out before the time was over."""
    sent = 0
    deadline = time.monotonic() + seconds
    connection.socket.settimeout(0.2)
    view = memoryview(data)
    at = 0
    while time.monotonic() < deadline:
        try:
            at += (count := connection.socket.send(view[at:]))
            sent += count
            at %= len(data)
        except TimeoutError:
            continue
    return sent


# --- those that stall ------------------------------------------------------------------------


def test_slow_loris(server, witness):
    # In the handshake a byte now and then is not enough; later, heartbeats are what counts.
    answer = wire.method_frame(
        0,
        "connection.start-ok",
        client_properties={"product": "loris"},
        mechanism="PLAIN",
        response=b"\0guest\0guest",
        locale="en_US",
    )
    greeting = [RawConnection.connect(server.url) for _ in range(20)]
    for connection in greeting:
        connection.start()
    working = RawConnection.open(server.url, heartbeat=0)
    working.channel(1)
    frame = wire.method_frame(1, "queue.declare", queue="x" * 200, passive=True)
    gone = set()
    deadline = time.monotonic() + 20
    at = 0
    while len(gone) < len(greeting):
        assert time.monotonic() < deadline, f"{len(greeting) - len(gone)} still say hello"
        for connection in greeting:
            if connection in gone:
                continue
            try:
                connection.send_bytes(answer[at : at + 1])
                connection.read_bytes(1, seconds=0.001)
            except Nothing:
                continue
            except (SocketClosed, OSError):
                gone.add(connection)
        if at < len(frame):
            working.send_bytes(frame[at : at + 1])
        witness.check()
        at += 1
        assert at < len(answer), "the whole answer went out"
        time.sleep(0.25)
    working.send_bytes(frame[at:])
    assert working.next_method().reply_code == 404, "slow, and nevertheless understood"
    working.close()


def test_half_closed_sockets(server, names, witness):
    queue = names.queue()
    publisher = RawConnection.open(server.url)
    publisher.channel(1)
    publisher.call("queue.declare", 1, queue=queue)
    for n in range(10):
        publisher.publish(1, queue, b"before the end %d" % n)
    publisher.socket.shutdown(socket.SHUT_WR)
    publisher.expect_eof()
    count = lambda: witness.connection.call("queue.declare", 1, queue=queue, passive=True).message_count  # noqa: E731
    eventually(lambda: count() == 10)
    consumer = RawConnection.open(server.url)
    consumer.channel(1)
    consumer.call("basic.consume", 1, queue=queue)
    consumer.next_methods(10)
    assert count() == 0
    consumer.socket.shutdown(socket.SHUT_WR)
    consumer.expect_eof()
    eventually(lambda: count() == 10)


def test_half_closed_in_the_handshake(server, witness):
    for said in (b"", PROTOCOL_HEADER[:3], PROTOCOL_HEADER):
        connection = RawConnection.connect(server.url)
        connection.send_bytes(said)
        connection.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(SocketClosed):
            while True:
                connection.read_bytes(1, seconds=20)


@pytest.mark.postroom_only(reason="looks at the process")
def test_a_consumer_that_never_reads(own_server):
    """100 MB are queued for it; what it is sent and does not read stays below some megabytes."""
    watching = Witness(own_server.url)
    publisher = RawConnection.open(own_server.url)
    publisher.channel(1)
    publisher.call("queue.declare", 1, queue="plenty")
    for _ in range(1000):
        publisher.publish(1, "plenty", bytes(100_000))
    publisher.works(1)
    before = resident_bytes(own_server)
    deaf = [RawConnection.open(own_server.url) for _ in range(5)]
    for connection in deaf:
        connection.channel(1)
        connection.send("basic.consume", 1, queue="plenty", no_ack=True)
    largest = 0
    for _ in range(20):
        watching.check()
        largest = max(largest, resident_bytes(own_server) - before)
        time.sleep(0.1)
    assert largest < 60 * MIB, f"five deaf consumers cost {largest >> 20} MiB"
    left = publisher.call("queue.declare", 1, queue="plenty", passive=True).message_count
    assert left > 500, "what nobody reads stays in the queue"
    for connection in deaf:
        connection.abort()
    watching.check()


# --- those that flood ------------------------------------------------------------------------


@pytest.mark.postroom_only(reason="looks at the process")
def test_a_publisher_that_never_stops(own_server):
    """What is in flight is bounded; the backlog is bounded by the queue, which keeps ten."""
    watching = Witness(own_server.url)
    flooding = RawConnection.open(own_server.url)
    flooding.channel(1)
    flooding.call(
        "queue.declare", 1, queue="ten", durable=True, arguments={"x-max-length": 10}
    )
    persistent = wire.properties(delivery_mode=2)
    message = wire.method_frame(1, "basic.publish", routing_key="ten")
    message += flooding.content(1, bytes(10_000), persistent)
    before = resident_bytes(own_server)
    largest = 0
    sent = []
    thread = threading.Thread(
        target=lambda: sent.append(send_until_blocked(flooding, message * 50, seconds=4))
    )
    thread.start()
    while thread.is_alive():
        watching.check()
        largest = max(largest, resident_bytes(own_server) - before)
        time.sleep(0.05)
    assert sent[0] > 20 * MIB, "it was not much of a flood"
    assert largest < 100 * MIB, f"{sent[0] >> 20} MiB sent, {largest >> 20} MiB held"
    count = watching.connection.call("queue.declare", 1, queue="ten", passive=True).message_count
    assert count == 10
    flooding.close()


def test_channels_opened_and_closed_65535_times(raw, witness):
    connection = raw()
    opened_and_closed = b"".join(
        wire.method_frame(number, "channel.open")
        + wire.method_frame(number, "channel.close", reply_code=200)
        for number in range(1, 258)
    )
    for round_ in range(255):
        connection.send_bytes(opened_and_closed)
        if round_ % 50 == 0:
            witness.check()
        answer = connection.read_bytes(257 * (16 + 12))
        assert answer.count(b"\x00\x14\x00\x0b") == 257 and answer.count(b"\x00\x14\x00\x29") == 257
    connection.channel(1)
    connection.works(1)


def test_all_channels_at_once(raw, witness):
    connection = raw()
    numbers = range(1, connection.tune.channel_max + 1)
    for _ in range(2):
        connection.send_bytes(b"".join(wire.method_frame(n, "channel.open") for n in numbers))
        assert {connection.next_method().channel for _ in numbers} == set(numbers)
        witness.check()
        closing = (wire.method_frame(n, "channel.close", reply_code=200) for n in numbers)
        connection.send_bytes(b"".join(closing))
        assert {connection.next_method().name for _ in numbers} == {"channel.close-ok"}


def test_a_flood_of_declarations(raw, names, witness):
    stem = names.stem
    connection = raw()
    connection.channel(1)
    for first in range(0, 5000, 500):
        connection.send_bytes(
            b"".join(
                wire.method_frame(
                    1, "queue.declare", queue=f"{stem}-{n}", exclusive=True, no_wait=True
                )
                for n in range(first, first + 500)
            )
        )
        witness.check(seconds=20)
    connection.send("queue.declare", 1, queue=f"{stem}-4999", passive=True)
    connection.expect("queue.declare-ok", 1, 20)
    connection.close()

    def gone():
        other = RawConnection.open(raw().url.geturl())
        other.channel(1)
        other.send("queue.declare", 1, queue=f"{stem}-4999", passive=True)
        answer = other.next_method(20)
        other.close()
        return answer.name == "channel.close" and answer.reply_code == 404

    eventually(gone, seconds=30)


def test_one_acknowledgement_for_tens_of_thousands(raw, names, witness):
    queue = names.queue()
    connection = raw()
    connection.channel(1)
    connection.call("queue.declare", 1, queue=queue)
    message = wire.method_frame(1, "basic.publish", routing_key=queue)
    message += connection.content(1, b"m")
    connection.send_bytes(message * 30_000)
    connection.works(1)
    connection.send("basic.consume", 1, queue=queue)
    connection.expect("basic.consume-ok", 1, 20)
    for _ in range(30_000):
        last = connection.next_method(20)
    assert last.delivery_tag == 30_000
    witness.check()
    # Every second one by itself, then all that is left at once.
    connection.send_bytes(
        b"".join(
            wire.method_frame(1, "basic.ack", delivery_tag=tag) for tag in range(2, 30_000, 2)
        )
    )
    connection.send("basic.ack", 1, delivery_tag=30_000, multiple=True)
    connection.send("channel.close", 1, reply_code=200)
    connection.expect("channel.close-ok", 1, 20)
    connection.close()
    other = raw()
    other.channel(1)
    assert other.call("queue.declare", 1, queue=queue, passive=True).message_count == 0


def test_consumer_tags_of_255_bytes(raw, names, witness):
    queue = names.queue()
    connection = raw()
    connection.channel(1)
    connection.call("queue.declare", 1, queue=queue)
    tags = [f"{n:04}" + "t" * 251 for n in range(300)]
    for tag in tags:
        connection.send("basic.consume", 1, queue=queue, consumer_tag=tag, no_ack=True)
    assert [connection.next_method().consumer_tag for _ in tags] == tags
    for _ in tags:
        connection.publish(1, queue, b"m")
    assert {connection.next_method().consumer_tag for _ in tags} == set(tags)
    for tag in tags:
        connection.send("basic.cancel", 1, consumer_tag=tag)
    assert [connection.next_method().consumer_tag for _ in tags] == tags


CONNECTIONS = 10_000


@pytest.fixture
def many_files():
    """Sockets for the clients' side, as many as there may be; the broker sees to its own. Says how
    many connections there can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield min(CONNECTIONS, wanted - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.postroom_only(reason="looks at the process")
def test_ten_thousand_connections(many_files, own_server):
    watching = Witness(own_server.url)
    before = resident_bytes(own_server)
    said = b"".join(
        [
            PROTOCOL_HEADER,
            wire.method_frame(
                0,
                "connection.start-ok",
                client_properties={"product": "crowd"},
                mechanism="PLAIN",
                response=b"\0guest\0guest",
                locale="en_US",
            ),
            wire.method_frame(0, "connection.tune-ok", channel_max=10, frame_max=131072),
            wire.method_frame(0, "connection.open", virtual_host="/"),
            wire.method_frame(1, "channel.open"),
        ]
    )
    opened = wire.frame(wire.METHOD, 1, b"\x00\x14\x00\x0b\0\0\0\0")
    crowd = []
    try:
        for _ in range(many_files // 100):
            some = [socket.create_connection((own_server.host, own_server.port)) for _ in range(100)]
            crowd += some
            for each in some:
                each.sendall(said)
            for each in some:
                each.settimeout(20)
                answer = b""
                while not answer.endswith(opened):
                    piece = each.recv(4096)
                    assert piece, f"connection {len(crowd)} was dropped: {answer[-200:]!r}"
                    answer += piece
            watching.check()
        held = resident_bytes(own_server) - before
        assert held < 300 * MIB, f"{len(crowd)} idle connections cost {held >> 20} MiB"
    finally:
        for each in crowd:
            each.close()
    eventually(lambda: own_server.check_alive() is None and watching.check() is None)


# --- those that lie ----------------------------------------------------------------------------


def nested(depth):
    """A table inside a table, so many times."""
    inner = wire.short_string("end") + b"V"
    for _ in range(depth):
        inner = wire.short_string("t") + b"F" + wire.long_string(inner)
    return wire.Raw(inner)


def test_headers_nested_a_thousand_deep(raw, names, witness):
    queue = names.queue()
    connection = raw()
    connection.channel(1)
    connection.call("queue.declare", 1, queue=queue)
    deep = wire.properties(headers=nested(1000))
    connection.publish(1, queue, b"deep", properties=deep)
    connection.publish(1, "", b"to the headers exchange", exchange="amq.headers", properties=deep)
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    answer = connection.next_method()
    # Passed on as it came, or refused; never half understood.
    if answer.name == "basic.get-ok":
        assert (answer.body, answer.properties) == (b"deep", deep)
    else:
        assert answer.name in ("channel.close", "connection.close"), answer
    witness.check()


@pytest.mark.parametrize("method", ["queue.declare", "queue.bind", "basic.consume"])
def test_arguments_nested_a_thousand_deep(raw, names, witness, method):
    queue = names.queue()
    connection = raw()
    connection.channel(1)
    connection.call("queue.declare", 1, queue=queue)
    fields = {
        "queue.declare": {"queue": names.queue("deep")},
        "queue.bind": {"queue": queue, "exchange": "amq.headers"},
        "basic.consume": {"queue": queue},
    }[method]
    connection.send(method, 1, arguments=nested(1000), **fields)
    answer = connection.next_method()
    assert answer.name in (f"{method}-ok", "channel.close", "connection.close")
    witness.check()


@pytest.mark.parametrize("size", [4 * GIB, (1 << 63) - 1, (1 << 64) - 1])
def test_an_enormous_body_announced_and_never_sent(server, raw, names, witness, size):
    queue = names.queue()
    witness.connection.call("queue.declare", 1, queue=queue)
    connection = raw()
    connection.channel(1)
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.header_frame(1, size))
    if server.is_postroom:
        close = connection.next_method()
        assert close.name in ("channel.close", "connection.close")
        assert close.reply_code in (311, 406, 501, 502), close.fields
    else:
        connection.expect_nothing()  # RabbitMQ 3 waits for the whole before it looks at its size
    assert witness.connection.call("queue.declare", 1, queue=queue, passive=True).message_count == 0


@pytest.mark.postroom_only(reason="looks at the process")
def test_bodies_announced_by_hundreds_and_never_sent(own_server):
    """Nothing is set aside for what was only announced."""
    watching = Witness(own_server.url)
    before = resident_bytes(own_server)
    liars = [RawConnection.open(own_server.url) for _ in range(200)]
    for connection in liars:
        connection.channel(1)
        connection.send("basic.publish", 1, routing_key="nowhere")
        connection.send_bytes(wire.header_frame(1, 16 * MIB))
        connection.send_bytes(wire.frame(wire.BODY, 1, bytes(100)))
    watching.check()
    held = resident_bytes(own_server) - before
    assert held < 50 * MIB, f"{held >> 20} MiB for what never came"
    for connection in liars:
        connection.close()
    watching.check()


@pytest.mark.parametrize(
    "garbage",
    [
        bytes(1000),
        b"\xff" * 1000,
        b"\xce" * 1000,
        PROTOCOL_HEADER * 100,
        struct.pack(">BHI", wire.METHOD, 0, 0xFFFFFFFF),
        struct.pack(">BHI", wire.METHOD, 0, 4) + b"\x00\x0a\x00\x0b" + b"\xce",
        b"GET / HTTP/1.1\r\n\r\n" * 20,
    ],
    ids=["zeros", "ones", "frame ends", "headers", "4 GiB", "empty start-ok", "HTTP"],
)
def test_garbage_after_the_protocol_header(server, witness, garbage):
    connection = RawConnection.connect(server.url)
    connection.start()
    connection.send_bytes(garbage)
    connection.expect_refusal({501, 502, 503, 505, 540, 541}, or_drop=True)
    connection.close()


def test_a_flood_of_bodies_without_a_publish(raw, witness):
    connection = raw()
    connection.channel(1)
    try:
        connection.send_bytes(wire.frame(wire.BODY, 1, bytes(100_000)) * 100)
    except OSError:
        pass
    try:
        assert connection.next_method().reply_code in (501, 505)
    except SocketClosed:
        pass  # the rest of the flood met a closed socket, whose reset may overtake the close
