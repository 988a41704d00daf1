"""Publishing: what is returned, what is refused, and that contents arrive to the byte."""

import struct

import pika
import pytest

import wire
from steps import (
    PERSISTENT,
    Collector,
    catch_up,
    counts,
    disconnected,
    publish_and_wait,
    refused,
    take,
)

SIZE_MAX = 16 * 1024 * 1024


def fetch(connection, queue, channel=1):
    """The next message of the queue, whole."""
    connection.send("basic.get", channel, queue=queue, no_ack=True)
    return connection.expect("basic.get-ok", channel)


def test_unknown_exchange(channel, names):
    exchange = names.exchange()
    with refused(404, f"no exchange '{exchange}' in vhost '/'"):
        publish_and_wait(channel, exchange, "key", b"m")


def test_unroutable_is_dropped(channel, names):
    channel.confirm_delivery()
    channel.basic_publish("", names.queue(), b"dropped")
    assert channel.is_open


def test_mandatory_comes_back_whole(raw, names):
    connection = raw()
    connection.channel(1)
    exchange = names.exchange()
    connection.call("exchange.declare", 1, exchange=exchange, type="direct")
    properties = wire.properties(message_id="m-1", headers={"a": 1}, delivery_mode=2)
    body = bytes(range(256)) * 1000
    connection.publish(1, "no-such-key", body, exchange, properties, mandatory=True)
    back = connection.expect("basic.return", 1)
    assert (back.reply_code, back.reply_text) == (312, "NO_ROUTE")
    assert (back.exchange, back.routing_key) == (exchange, "no-such-key")
    assert (back.properties, back.body) == (properties, body)


def test_mandatory_comes_back_with_pika(channel, names):
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError) as error:
        channel.basic_publish("", names.queue(), b"m", mandatory=True)
    [message] = error.value.messages
    assert (message.method.reply_code, message.body) == (312, b"m")


def test_return_comes_before_the_confirm(raw, names):
    connection = raw()
    connection.channel(1)
    connection.call("confirm.select", 1)
    missing = names.queue()
    for number in range(20):
        connection.publish(1, missing, b"%d" % number, mandatory=True)
    returned, confirmed = 0, 0
    while confirmed < 20:
        method = connection.next_method()
        if method.name == "basic.return":
            assert method.body == b"%d" % returned
            returned += 1
        else:
            assert method.name == "basic.ack"
            confirmed = method.delivery_tag
            assert returned >= confirmed, "a confirm overtook its return"
    assert returned == 20


def test_mandatory_and_routed_is_not_returned(pair):
    connection, queue = pair
    connection.publish(1, queue, b"m", mandatory=True)
    assert fetch(connection, queue).body == b"m"


def test_mandatory_without_queue_consumers_is_not_returned(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"waits", mandatory=True)
    assert take(channel, queue) == [b"waits"]


def test_immediate_is_refused_with_540(pair):
    connection, queue = pair
    connection.publish(1, queue, b"m", immediate=True)
    close = connection.expect_connection_close(540, "basic.publish")
    assert "immediate=true" in close.reply_text


def test_empty_body(pair):
    connection, queue = pair
    connection.publish(1, queue, b"")
    got = fetch(connection, queue)
    assert (got.body, got.body_frames) == (b"", [])


FRAME = 131072 - 8


@pytest.mark.parametrize(
    "size", [1, 4095, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 2 * FRAME + 1, 5 << 20]
)
def test_body_sizes(channel, names, size):
    queue = names.queue()
    channel.queue_declare(queue)
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    publish_and_wait(channel, "", queue, body)
    [got] = take(channel, queue, 1)
    assert got == body


@pytest.mark.parametrize("sizes", [[1] * 100, [0, 50, 0, 0, 50], [99, 1], [4088, 4088, 1824]])
def test_body_may_be_split_anyhow(pair, sizes):
    connection, queue = pair
    body = bytes(place % 256 for place in range(sum(sizes)))
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.header_frame(1, len(body)))
    at = 0
    for size in sizes:
        connection.send_bytes(wire.frame(wire.BODY, 1, body[at : at + size]))
        at += size
    assert fetch(connection, queue).body == body


def test_empty_body_frame_after_the_body_is_one_too_many(pair):
    connection, queue = pair
    connection.publish(1, queue, b"whole")
    connection.send_bytes(wire.frame(wire.BODY, 1, b""))
    connection.expect_connection_close((501, 505))


def test_body_at_the_limit(pair):
    connection, queue = pair
    body = bytes(SIZE_MAX - 3) + b"end"
    connection.publish(1, queue, body)
    assert fetch(connection, queue).body == body


def test_body_above_the_limit(pair):
    connection, queue = pair
    connection.publish(1, queue, bytes(SIZE_MAX + 1))
    close = connection.expect_channel_close(1, 406, "basic.publish")
    assert close.reply_text == (
        f"PRECONDITION_FAILED - message size {SIZE_MAX + 1} is larger than configured max size {SIZE_MAX}"
    )
    connection.channel(1)
    connection.publish(1, queue, b"the connection lives on")
    assert fetch(connection, queue).body == b"the connection lives on"


@pytest.mark.postroom_only(reason="RabbitMQ reads the whole body before it looks at its size")
def test_enormous_body_is_refused_before_it_is_sent(pair):
    connection, queue = pair
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.header_frame(1, 1 << 62))
    connection.expect_channel_close(1, 406, "basic.publish")
    connection.channel(1)
    connection.works(1)


@pytest.mark.postroom_only(reason="RabbitMQ goes on waiting for the end of such a body")
def test_body_longer_than_announced(pair):
    connection, queue = pair
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.header_frame(1, 5) + wire.frame(wire.BODY, 1, b"123456"))
    connection.expect_refusal((501, 502, 505))


def test_header_without_method(pair):
    connection, _ = pair
    connection.send_bytes(wire.header_frame(1, 0))
    close = connection.expect_connection_close(505)
    assert close.reply_text.startswith("UNEXPECTED_FRAME")


def test_body_without_header(pair):
    connection, queue = pair
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.frame(wire.BODY, 1, b"x"))
    connection.expect_connection_close(505)


def test_body_without_method(pair):
    connection, _ = pair
    connection.send_bytes(wire.frame(wire.BODY, 1, b"x"))
    connection.expect_connection_close(505)


def test_method_instead_of_header(pair):
    connection, queue = pair
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send("basic.qos", 1)
    connection.expect_connection_close(505)


def test_method_inside_a_body(pair):
    connection, queue = pair
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.header_frame(1, 10) + wire.frame(wire.BODY, 1, b"half"))
    connection.send("basic.qos", 1)
    connection.expect_connection_close(505)


def test_second_header_instead_of_body(pair):
    connection, queue = pair
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.header_frame(1, 10) + wire.header_frame(1, 10))
    connection.expect_connection_close(505)


@pytest.mark.parametrize("class_id", [0, 50, 10, 65535])
def test_header_of_another_class(pair, class_id):
    connection, queue = pair
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.header_frame(1, 0, class_id=class_id))
    connection.expect_connection_close((501, 502, 505))


@pytest.mark.parametrize(
    "properties",
    [
        b"",
        b"\x80",
        b"\x80\x00",
        b"\x80\x00\x05abc",
        b"\x20\x00\x00\x00\x00\xff",
        b"\x00\x40",
        b"\x10\x00",
    ],
    ids=[
        "no flags",
        "half the flags",
        "no value",
        "short value",
        "short table",
        "no timestamp",
        "no mode",
    ],
)
def test_garbled_properties(server, pair, properties):
    connection, queue = pair
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send_bytes(wire.header_frame(1, 0, properties))
    if server.is_postroom:
        connection.expect_refusal((501, 502))
    else:
        # RabbitMQ's channel or reader crashes: 541, or the socket drops.
        connection.expect_refusal((501, 502, 541), or_drop=True)


def test_contents_of_channels_may_be_interleaved(pair):
    connection, queue = pair
    connection.channel(2)
    first, second = b"a" * 1000, b"b" * 1000
    connection.send("basic.publish", 1, routing_key=queue)
    connection.send("basic.publish", 2, routing_key=queue)
    connection.send_bytes(wire.header_frame(2, 1000) + wire.header_frame(1, 1000))
    for at in range(0, 1000, 100):
        connection.send_bytes(wire.frame(wire.BODY, 1, first[at : at + 100]))
        if at == 500:
            connection.channel(3)
        connection.send_bytes(wire.frame(wire.BODY, 2, second[at : at + 100]))
    connection.works(2)
    assert {fetch(connection, queue).body for _ in range(2)} == {first, second}


ALL = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "headers": {"a": 1},
    "delivery_mode": 2,
    "priority": 5,
    "correlation_id": "correlation",
    "reply_to": "reply",
    "expiration": "60000",
    "message_id": "message",
    "timestamp": 1_700_000_000,
    "type": "kind",
    "user_id": "guest",
    "app_id": "application",
    "cluster_id": "cluster",
}


def test_all_properties(pair):
    connection, queue = pair
    sent = wire.properties(**ALL)
    connection.publish(1, queue, b"m", properties=sent)
    assert fetch(connection, queue).properties == sent


def test_all_properties_with_pika(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    publish_and_wait(channel, "", queue, b"m", properties=pika.BasicProperties(**ALL))
    got = channel.basic_get(queue, auto_ack=True)[1]
    assert {name: getattr(got, name) for name in ALL} == ALL


@pytest.mark.parametrize("name", sorted(ALL))
def test_one_property_alone(pair, name):
    connection, queue = pair
    sent = wire.properties(**{name: ALL[name]})
    connection.publish(1, queue, b"m", properties=sent)
    assert fetch(connection, queue).properties == sent


def test_no_property(pair):
    connection, queue = pair
    connection.publish(1, queue, b"m")
    assert fetch(connection, queue).properties == b"\0\0"


@pytest.mark.parametrize(
    "properties",
    [
        wire.properties(content_type=""),
        wire.properties(headers={}),
        wire.properties(delivery_mode=1),
        wire.properties(priority=255),
        wire.properties(priority=0),
        wire.properties(timestamp=0),
        wire.properties(timestamp=2**63 - 1),
        wire.properties(message_id="x" * 255),
        wire.properties(app_id="ünïcode ✓"),
        wire.properties(correlation_id=b"\xff\xfe not text \0"),
    ],
    ids=repr,
)
def test_property_edges(pair, properties):
    connection, queue = pair
    connection.publish(1, queue, b"m", properties=properties)
    assert fetch(connection, queue).properties == properties


FIELDS = {
    "t boolean": b"t\x01",
    "b int8": b"b\x80",
    "B uint8": b"B\xff",
    "s int16": b"s\x80\x00",
    "u uint16": b"u\xff\xff",
    "I int32": b"I\x80\x00\x00\x00",
    "i uint32": b"i\xff\xff\xff\xff",
    "l int64": b"l\x80" + bytes(7),
    "f float": b"f" + struct.pack(">f", -1.5),
    "d double": b"d" + struct.pack(">d", 1e300),
    "D decimal": b"D\x02" + struct.pack(">I", 12345),
    "S string": b"S" + wire.long_string("text ✓"),
    "S not text": b"S" + wire.long_string(b"\xff\xfe\x00"),
    "S empty": b"S" + wire.long_string(b""),
    "A array": b"A" + wire.long_string(b"I\0\0\0\1t\0S\0\0\0\1x"),
    "A empty": b"A" + wire.long_string(b""),
    "T timestamp": b"T" + struct.pack(">Q", 1_700_000_000),
    "F table": b"F" + wire.table({"inner": 1, "deeper": {"still": ["x", 2]}}),
    "F empty": b"F" + wire.table({}),
    "V void": b"V",
    "x bytes": b"x" + wire.long_string(bytes(range(256))),
}


def headers_arrive(connection, queue, payload):
    sent = wire.properties(headers=wire.Raw(payload))
    connection.publish(1, queue, b"m", properties=sent)
    assert fetch(connection, queue).properties == sent


@pytest.mark.parametrize("kind", FIELDS)
def test_field_type_arrives_byte_for_byte(pair, kind):
    headers_arrive(*pair, wire.short_string("key") + FIELDS[kind])


def test_all_field_types_together(pair):
    payload = b"".join(wire.short_string(f"key-{kind}") + field for kind, field in FIELDS.items())
    headers_arrive(*pair, payload)


@pytest.mark.postroom_only(
    reason="RabbitMQ 3 knows neither the specification's L nor NaN and infinity"
)
@pytest.mark.parametrize(
    "field",
    [
        b"L" + bytes(7) + b"\x2a",
        b"d" + struct.pack(">d", float("nan")),
        b"f" + struct.pack(">f", float("inf")),
    ],
    ids=["L int64", "d nan", "f infinity"],
)
def test_fields_rabbitmq_does_not_pass(pair, field):
    headers_arrive(*pair, wire.short_string("key") + field)


@pytest.mark.parametrize("kind", FIELDS)
def test_field_types_through_a_headers_exchange(raw, names, kind):
    # Matching looks at the table, and must leave it as it is.
    connection = raw()
    connection.channel(1)
    exchange, queue = names.exchange(), names.queue()
    connection.call("exchange.declare", 1, exchange=exchange, type="headers")
    connection.call("queue.declare", 1, queue=queue)
    connection.call("queue.bind", 1, queue=queue, exchange=exchange, arguments={"a": 1})
    payload = wire.short_string("key") + FIELDS[kind] + wire.short_string("a") + wire.value(1)
    sent = wire.properties(headers=wire.Raw(payload))
    connection.publish(1, "", b"m", exchange, sent)
    assert fetch(connection, queue).properties == sent


def test_deep_nesting(pair):
    inner = wire.value("bottom")
    for _ in range(20):
        inner = b"F" + wire.long_string(wire.short_string("down") + inner)
    for _ in range(20):
        inner = b"A" + wire.long_string(inner)
    headers_arrive(*pair, wire.short_string("top") + inner)


def test_duplicate_and_odd_keys(pair):
    same = wire.short_string("same") + wire.value(1) + wire.short_string("same") + wire.value("2")
    odd = wire.short_string("") + wire.value(True) + wire.short_string("k" * 255) + wire.value(None)
    headers_arrive(*pair, same + odd)


def test_large_header_table(pair):
    payload = b"".join(wire.short_string(f"key-{n}") + wire.value("v" * 100) for n in range(1000))
    headers_arrive(*pair, payload)


@pytest.mark.parametrize(
    "field",
    [b"?\0", b"S\0\0\0\xff", b"F\0\0\0\xff", b"A\0\0\0\1F", b"I\0", b""],
    ids=["unknown type", "long string", "long table", "cut array", "cut number", "no value"],
)
def test_garbled_header_table(server, pair, field):
    connection, queue = pair
    sent = wire.properties(headers=wire.Raw(wire.short_string("key") + field))
    connection.publish(1, queue, b"m", properties=sent)
    if server.is_postroom:
        connection.expect_refusal((501, 502))
    else:
        connection.expect_refusal((501, 502, 541), or_drop=True)


@pytest.mark.parametrize("field", [b"?\0", b"S\0\0\0\xff", b"A\0\0\0\1F"])
def test_garbled_argument_table(server, pair, field):
    connection, queue = pair
    arguments = wire.Raw(wire.short_string("key") + field)
    connection.send("queue.declare", 1, queue=queue, arguments=arguments)
    connection.expect_refusal((501, 502, 541), or_drop=not server.is_postroom)


def test_wrong_user_id(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    publish_and_wait(channel, "", queue, b"m", properties=pika.BasicProperties(user_id="guest"))
    assert take(channel, queue, 1) == [b"m"]
    with refused(406, "user_id property set to 'someone' but authenticated user was 'guest'"):
        publish_and_wait(
            channel, "", queue, b"m", properties=pika.BasicProperties(user_id="someone")
        )


@pytest.mark.parametrize("expiration", ["soon", "-1", "1.5", "", " 5", "10ms"])
def test_invalid_expiration(channel, names, expiration):
    queue = names.queue()
    channel.queue_declare(queue)
    with refused(406, "invalid expiration"):
        publish_and_wait(
            channel, "", queue, b"m", properties=pika.BasicProperties(expiration=expiration)
        )


def test_order_is_kept(connection, names):
    queue = names.queue()
    channel = connection.channel()
    channel.queue_declare(queue)
    collector = Collector()
    channel.basic_consume(queue, collector, auto_ack=True)
    sent = [b"%d" % number for number in range(2000)]
    for body in sent:
        channel.basic_publish("", queue, body)
    assert collector.wait(connection, 2000).bodies == sent


def test_order_is_kept_through_mixed_sizes_and_modes(connection, names):
    queue = names.queue()
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    sent = [b"%06d" % number + bytes((number * 7919) % 5000) for number in range(400)]
    for number, body in enumerate(sent):
        channel.basic_publish("", queue, body, PERSISTENT if number % 3 else None)
    assert take(channel, queue, 400) == sent


def test_a_queue_keeps_messages_of_several_publishers(connect, names):
    queue = names.queue()
    reader = connect().channel()
    reader.queue_declare(queue)
    publishers = [connect().channel() for _ in range(5)]
    for number in range(50):
        for place, publisher in enumerate(publishers):
            publisher.basic_publish("", queue, b"%d %d" % (place, number))
    got = take(reader, queue, 250)
    for place in range(5):
        mine = [body for body in got if body.startswith(b"%d " % place)]
        assert mine == [b"%d %d" % (place, number) for number in range(50)]
    assert counts(reader, queue) == (0, 0)


def test_immediate_is_refused_with_pika(connection):
    channel = connection.channel()
    with disconnected(540):
        channel._impl._send_method(  # pika offers no such flag
            pika.spec.Basic.Publish(exchange="", routing_key="k", immediate=True),
            (pika.BasicProperties(), b"m"),
        )
        catch_up(channel)
