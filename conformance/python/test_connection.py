"""The handshake, its limits, and how a connection ends."""

import socket
import struct
import time

import pika
import pytest

import wire
from raw import PROTOCOL_HEADER, RawConnection, SocketClosed


def test_protocol_header_is_answered_with_start(raw_socket):
    start = raw_socket().start()
    assert (start.version_major, start.version_minor) == (0, 9)


@pytest.mark.parametrize(
    "header",
    [b"AMQP\x00\x00\x07\x00", b"AMQP\x00\x00\x09\x02", b"AMQP\x02\x00\x09\x01"],
    ids=["0-7-0", "0-9-2", "another protocol id"],
)
def test_other_version_gets_the_right_header(raw_socket, header):
    connection = raw_socket()
    connection.send_bytes(header)
    assert connection.read_bytes(8) == PROTOCOL_HEADER
    connection.expect_eof()


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes.fromhex("16030100c8010000c40303") + bytes(196),
        b"*1\r\n$4\r\nPING\r\n",
    ],
    ids=["HTTP", "TLS", "RESP"],
)
def test_other_protocol_gets_the_right_header(raw_socket, greeting):
    connection = raw_socket()
    connection.send_bytes(greeting)
    assert connection.read_bytes(8) == PROTOCOL_HEADER
    connection.expect_eof()


def test_server_properties(raw_socket):
    properties = raw_socket().start().server_properties
    for name in ("product", "version", "platform"):
        assert isinstance(properties[name], str) and properties[name], name


def test_capabilities(raw_socket):
    capabilities = raw_socket().start().server_properties["capabilities"]
    for name in (
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ):
        assert capabilities.get(name) is True, name


def test_mechanisms_and_locales(raw_socket):
    start = raw_socket().start()
    assert b"PLAIN" in start.mechanisms.split(b" ")
    assert b"en_US" in start.locales.split(b" ")


def test_plain_login(connect):
    assert connect().channel().is_open


def test_wrong_password_closes_with_403(raw_socket):
    connection = raw_socket()
    connection.start()
    connection.log_in(password="wrong")
    close = connection.expect_connection_close(403)
    assert close.reply_text.startswith("ACCESS_REFUSED")


def test_wrong_password_with_pika(server):
    given = pika.URLParameters(server.url)
    given.credentials = pika.PlainCredentials("guest", "wrong")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(given)


def test_wrong_password_drops_the_socket_of_an_old_client(raw_socket):
    connection = raw_socket()
    connection.start()
    connection.log_in(password="wrong", capabilities={})
    connection.expect_eof(seconds=20)


@pytest.mark.parametrize(
    "response", [b"", b"guest", b"guest\0guest", b"\0guest", b"\0\0", b"\0" * 40]
)
def test_malformed_credentials_do_not_log_in(raw_socket, response):
    connection = raw_socket()
    connection.start()
    connection.log_in(response=response)
    connection.expect_refusal((403, 501, 502, 541), or_drop=True)


def test_unknown_mechanism_is_refused(raw_socket):
    connection = raw_socket()
    connection.start()
    connection.log_in(mechanism="CARRIER-PIGEON")
    connection.expect_refusal((403, 501, 503, 504, 530), or_drop=True)


def test_tune_offer(raw):
    tune = raw().tune
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


def test_lower_limits_are_accepted(connect):
    connection = connect(channel_max=7, frame_max=8192, heartbeat=30)
    assert connection.channel(7).is_open


@pytest.mark.parametrize("limit", [{"frame_max": 131073}, {"channel_max": 2048}])
def test_asking_for_more_than_offered_is_refused(server, raw_socket, limit):
    connection = raw_socket()
    connection.start()
    connection.log_in()
    connection.answer_tune(**limit)
    # RabbitMQ before 4 drops the socket without a word.
    connection.expect_refusal(530, or_drop=not server.is_postroom)


@pytest.mark.postroom_only(reason="RabbitMQ takes 0 for more than any limit, and refuses it")
def test_an_answer_of_zero_leaves_the_servers_limits(raw):
    connection = raw(frame_max=0, channel_max=0)
    connection.frame_max = connection.tune.frame_max
    connection.channel(connection.tune.channel_max)
    connection.send("channel.open", connection.tune.channel_max + 1)
    connection.expect_connection_close((504, 530))


def test_frame_max_below_4096_is_refused(server, raw_socket):
    connection = raw_socket()
    connection.start()
    connection.log_in()
    connection.answer_tune(frame_max=4095)
    connection.expect_refusal(530, or_drop=not server.is_postroom)


def test_frame_max_4096_works(raw, names):
    connection = raw(frame_max=4096)
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.publish(1, queue, bytes(10_000))
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    got = connection.expect("basic.get-ok", 1)
    assert got.body == bytes(10_000)
    assert max(map(len, got.body_frames)) <= 4096 - 8
    assert connection.frame_bytes_max <= 4096


def test_eight_bytes_over_frame_max_are_forgiven(raw, names):
    # Clients that take frame_max for the greatest payload: AMQPStorm is one.
    connection = raw(frame_max=4096)
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.send_bytes(
        wire.method_frame(1, "basic.publish", routing_key=queue)
        + wire.header_frame(1, 5000)
        + wire.frame(wire.BODY, 1, bytes(4096))
        + wire.frame(wire.BODY, 1, bytes(5000 - 4096))
    )
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    assert connection.expect("basic.get-ok", 1).body == bytes(5000)


def test_frame_over_frame_max_closes_with_501(raw):
    # RabbitMQ forgives eight bytes, so nine too many it is.
    connection = raw(frame_max=4096)
    connection.channel(1)
    connection.send_bytes(
        wire.method_frame(1, "basic.publish", routing_key="nowhere")
        + wire.header_frame(1, 8000)
        + wire.frame(wire.BODY, 1, bytes(4096 - 8 + 9))
    )
    connection.expect_connection_close(501)


def test_frame_over_the_default_frame_max_closes_with_501(raw):
    connection = raw()
    connection.channel(1)
    connection.send_bytes(
        wire.method_frame(1, "basic.publish", routing_key="nowhere")
        + wire.header_frame(1, 200_000)
        + struct.pack(">BHI", wire.BODY, 1, 150_000)
    )
    close = connection.expect("connection.close", 0)
    assert close.reply_code == 501


def test_channel_above_channel_max_is_refused(raw):
    connection = raw(channel_max=3)
    for number in (1, 2, 3):
        connection.channel(number)
    connection.send("channel.open", 4)
    connection.expect_connection_close(530)


def test_unknown_vhost(raw_socket):
    connection = raw_socket()
    connection.start()
    connection.log_in()
    connection.answer_tune()
    connection.send("connection.open", 0, virtual_host="no-such-host")
    close = connection.expect_connection_close(530, "connection.open")
    assert "no-such-host" in close.reply_text


def test_unknown_vhost_with_pika(server):
    given = pika.URLParameters(server.url)
    given.virtual_host = "no-such-host"
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
        pika.BlockingConnection(given)


def test_open_of_the_default_vhost(raw):
    raw().channel(1)


def test_wrong_frame_end_closes_with_501(raw):
    connection = raw()
    payload = wire.encode_method("channel.open")
    connection.send_bytes(wire.frame(wire.METHOD, 1, payload, end=0xCD))
    connection.expect_connection_close(501)


@pytest.mark.parametrize("kind", [0, 4, 5, 7, 255])
def test_unknown_frame_type_closes_with_501(raw, kind):
    connection = raw()
    connection.channel(1)
    connection.send_bytes(wire.frame(kind, 1, b"12345678"))
    connection.expect_connection_close(501)


@pytest.mark.parametrize(
    "method", ["channel.open", "queue.declare", "connection.open", "connection.tune-ok"]
)
def test_method_before_its_time_closes(raw_socket, method):
    connection = raw_socket()
    connection.start()
    connection.send(method, 0 if method.startswith("connection") else 1)
    connection.expect_refusal((501, 503, 504, 505), or_drop=True)


def test_frame_before_the_protocol_header_is_refused(raw_socket):
    connection = raw_socket()
    connection.send("connection.start-ok", 0, mechanism="PLAIN", response=b"\0guest\0guest")
    assert connection.read_bytes(8) == PROTOCOL_HEADER
    connection.expect_eof()


UNKNOWN = [(60, 255), (61, 10), (0, 0), (65535, 65535), (50, 12)]


@pytest.mark.parametrize("ids", UNKNOWN)
@pytest.mark.parametrize("channel", [0, 1])
def test_unknown_method_closes(server, raw, ids, channel):
    connection = raw()
    connection.channel(1)
    connection.send_bytes(wire.frame(wire.METHOD, channel, struct.pack(">HH", *ids)))
    # RabbitMQ drops the socket without a word.
    codes = (503, 504, 540) if channel == 0 else (503, 540)
    connection.expect_refusal(codes, or_drop=not server.is_postroom)


@pytest.mark.parametrize("cut", [1, 3, 5, 9])
def test_truncated_method_closes(raw, cut):
    connection = raw()
    connection.channel(1)
    payload = wire.encode_method("queue.declare", queue="truncated", arguments={"x-a": "b"})
    connection.send_bytes(wire.frame(wire.METHOD, 1, payload[:-cut]))
    connection.expect_refusal((501, 502, 541))


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\x32\0"])
def test_method_frame_too_short_for_its_ids_closes(raw, payload):
    connection = raw()
    connection.channel(1)
    connection.send_bytes(wire.frame(wire.METHOD, 1, payload))
    connection.expect_refusal((501, 502, 541))


@pytest.mark.parametrize(
    "method",
    ["queue.declare-ok", "basic.get-ok", "basic.deliver", "basic.get-empty", "channel.open-ok"],
)
def test_method_only_a_server_may_send_closes(raw, method):
    connection = raw()
    connection.channel(1)
    connection.send(method, 1)
    if method in wire.WITH_CONTENT:
        connection.send_bytes(wire.header_frame(1, 0))
    connection.expect_refusal((503, 505, 540))


@pytest.mark.parametrize("method", ["connection.start-ok", "connection.tune-ok", "connection.open"])
def test_handshake_method_on_an_open_connection_closes(raw, method):
    connection = raw()
    connection.send(method, 0)
    connection.expect_refusal((503, 504, 505, 540))


def test_connection_method_on_a_channel_closes(raw):
    connection = raw()
    connection.channel(1)
    connection.send("connection.open", 1, virtual_host="/")
    connection.expect_connection_close((503, 504, 540))


@pytest.mark.parametrize("method", ["channel.open", "queue.declare", "basic.qos"])
def test_channel_method_on_channel_zero_closes(raw, method):
    connection = raw()
    connection.send(method, 0)
    connection.expect_refusal((501, 503, 504, 540))


def test_content_on_channel_zero_closes(raw):
    connection = raw()
    connection.send_bytes(wire.header_frame(0, 0))
    connection.expect_connection_close((501, 504, 505))


def test_body_on_channel_zero_closes(raw):
    connection = raw()
    connection.send_bytes(wire.frame(wire.BODY, 0, b"x"))
    connection.expect_connection_close((501, 504, 505))


def test_silent_peer_is_dropped_in_the_handshake(raw_socket):
    connection = raw_socket()
    connection.expect_eof(seconds=40)


def test_bytes_may_come_one_by_one(server, names):
    connection = RawConnection.connect(server.url)
    send = connection.send_bytes

    def slowly(data):
        for at in range(len(data)):
            send(data[at : at + 1])

    connection.send_bytes = slowly
    connection.handshake()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.publish(1, queue, b"drop by drop", properties=wire.properties(message_id="m"))
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    assert connection.expect("basic.get-ok", 1).body == b"drop by drop"
    connection.close()


def test_many_frames_may_come_in_one_packet(raw, names):
    connection = raw()
    queue = names.queue()
    burst = wire.method_frame(1, "channel.open") + wire.method_frame(
        1, "queue.declare", queue=queue
    )
    for number in range(50):
        burst += wire.method_frame(1, "basic.publish", routing_key=queue)
        burst += connection.content(1, b"%d" % number)
    burst += wire.method_frame(1, "basic.consume", queue=queue, no_ack=True)
    connection.send_bytes(burst)
    connection.expect("channel.open-ok", 1)
    connection.expect("queue.declare-ok", 1)
    connection.expect("basic.consume-ok", 1)
    assert [connection.expect("basic.deliver", 1).body for _ in range(50)] == [
        b"%d" % n for n in range(50)
    ]


def test_server_sends_heartbeats(raw):
    connection = raw(heartbeat=1)
    end = time.monotonic() + 3.2
    while time.monotonic() < end:
        connection.expect_nothing(0.4)
        connection.send_bytes(wire.frame(wire.HEARTBEAT, 0))
    assert len(connection.heartbeats) >= 2


def test_silent_peer_is_dropped(raw):
    connection = raw(heartbeat=1)
    begin = time.monotonic()
    try:
        close = connection.next_method(seconds=12)
        assert close.name == "connection.close"
    except SocketClosed:
        pass
    assert time.monotonic() - begin > 1.5, "two intervals of silence are allowed"


def test_any_traffic_keeps_a_connection_alive(raw):
    connection = raw(heartbeat=1)
    connection.channel(1)
    for _ in range(10):
        time.sleep(0.45)
        connection.works(1)


def test_heartbeats_alone_keep_a_connection_alive(raw):
    connection = raw(heartbeat=1)
    for _ in range(10):
        time.sleep(0.45)
        connection.send_bytes(wire.frame(wire.HEARTBEAT, 0))
    connection.channel(1)


def test_no_heartbeats_when_turned_off(raw):
    connection = raw(heartbeat=0)
    connection.expect_nothing(3)
    assert connection.heartbeats == []
    connection.channel(1)


def test_heartbeat_on_a_channel_hurts_nobody_else(raw):
    connection, other = raw(), raw()
    other.channel(1)
    connection.channel(1)
    connection.send_bytes(wire.frame(wire.HEARTBEAT, 1))
    connection.expect_connection_close((501, 503, 505))
    other.works(1)


def test_connection_name(connect):
    connection = connect(client_properties={"connection_name": "orders of the day ✓"})
    assert connection.channel().is_open


def test_client_properties_of_every_type(raw):
    properties = {
        "connection_name": "named",
        "number": 7,
        "flag": True,
        "nested": {"list": [1, "two", {"three": 3}], "none": None},
        "bytes": b"\0\xff",
    }
    raw(properties=properties).channel(1)


def test_client_close(raw):
    connection = raw()
    connection.channel(1)
    connection.send("connection.close", 0, reply_code=200, reply_text="bye")
    connection.expect("connection.close-ok", 0)
    # Which side closes the socket first is left to them; when the client does, the server follows.
    connection.socket.shutdown(socket.SHUT_WR)
    connection.expect_eof()


def test_client_close_with_pika(connect):
    connection = connect()
    connection.channel()
    connection.close()
    assert connection.is_closed


def test_close_names_the_method(raw):
    connection = raw()
    connection.channel(1)
    connection.send("basic.qos", 1, prefetch_size=1)
    close = connection.expect_connection_close(540, "basic.qos")
    assert close.reply_text.startswith("NOT_IMPLEMENTED")


def test_close_of_a_frame_error_names_no_method(raw):
    connection = raw()
    connection.send_bytes(wire.frame(9, 0))
    close = connection.expect_connection_close(501, (0, 0))
    assert close.reply_text.startswith("FRAME_ERROR")


def test_nothing_but_close_ok_counts_after_close(raw, names):
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.send("basic.qos", 1, prefetch_size=1)
    connection.expect("connection.close", 0)
    connection.send("queue.declare", 1, queue=queue)
    connection.send("channel.open", 2)
    connection.send("connection.close-ok", 0)
    connection.expect_eof()
    other = raw()
    other.channel(1)
    other.send("queue.declare", 1, queue=queue, passive=True)
    other.expect_channel_close(1, 404)


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_a_broken_connection_returns_its_messages(raw, names, ending):
    queue = names.queue()
    holder, other = raw(), raw()
    holder.channel(1)
    other.channel(1)
    holder.call("queue.declare", 1, queue=queue)
    holder.publish(1, queue, b"held")
    holder.call("basic.consume", 1, queue=queue)
    holder.expect("basic.deliver", 1)
    other.call("basic.consume", 1, queue=queue)
    getattr(holder, ending)()
    again = other.expect("basic.deliver", 1)
    assert again.body == b"held" and again.redelivered


def test_update_secret(raw):
    connection = raw()
    connection.send("connection.update-secret", 0, new_secret=b"guest", reason="renewed")
    connection.expect("connection.update-secret-ok", 0)
    connection.channel(1)


@pytest.mark.postroom_only(reason="RabbitMQ's own users may send any secret; nothing checks it")
def test_wrong_new_secret_is_refused(raw):
    connection = raw()
    connection.send("connection.update-secret", 0, new_secret=b"wrong", reason="renewed")
    connection.expect_connection_close(530)


def test_many_connections(server, names):
    queue = names.queue()
    connections = [RawConnection.open(server.url) for _ in range(300)]
    for connection in connections:
        connection.channel(1)
    connections[0].call("queue.declare", 1, queue=queue)
    for number, connection in enumerate(connections):
        connection.call("confirm.select", 1)
        connection.publish(1, queue, b"%d" % number)
    for connection in connections:
        connection.expect("basic.ack", 1)
    bodies = set()
    for connection in reversed(connections):
        connection.send("basic.get", 1, queue=queue, no_ack=True)
        bodies.add(connection.expect("basic.get-ok", 1).body)
    assert len(bodies) == 300
    for connection in connections:
        connection.close()
