"""Direct replies: consuming from amq.rabbitmq.reply-to, and replies that no queue keeps."""

import asyncio
import struct
import time
import uuid

import aio_pika
import pika
import pytest

from steps import Collector, catch_up, eventually

QUEUE = "amq.rabbitmq.reply-to"


def reply_to(text, correlation=None):
    """Properties, encoded: a reply-to, and perhaps a correlation id."""
    texts = [] if correlation is None else [correlation]
    flags = 0x0200 | (0x0400 if correlation else 0)
    strings = b"".join(bytes([len(one)]) + one.encode() for one in [*texts, text])
    return struct.pack(">H", flags) + strings


def copies(*keys):
    """Properties, encoded: the header CC with these keys."""
    values = b"".join(b"S" + struct.pack(">I", len(key)) + key.encode() for key in keys)
    header = b"\x02CCA" + struct.pack(">I", len(values)) + values
    return b"\x20\0" + struct.pack(">I", len(header)) + header


@pytest.fixture
def requester(raw, names):
    """A raw connection that consumes replies on channel 1, and the address of its replies."""
    connection = raw()
    connection.channel(1)
    connection.call("basic.consume", 1, queue=QUEUE, no_ack=True, consumer_tag="replies")
    return connection, address_of(connection, names)


def address_of(connection, names):
    """What a request's reply-to becomes."""
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.publish(1, queue, b"request", properties=reply_to(QUEUE, "7"))
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    got = connection.expect("basic.get-ok", 1)
    stem = reply_to("", "7")[:-1]
    assert got.properties.startswith(stem), "what stands before it is as it came"
    address = got.properties[len(stem) + 1 :].decode()
    assert address.startswith(QUEUE + ".") and len(address) > len(QUEUE) + 20
    return address


@pytest.fixture
def server_side(raw):
    """Another raw connection, with channel 1 open."""
    connection = raw()
    connection.channel(1)
    return connection


def expect_reply(connection, body, key, properties=b"\0\0"):
    delivered = connection.expect("basic.deliver", 1)
    assert (delivered.body, delivered.properties) == (body, properties)
    assert (delivered.consumer_tag, delivered.redelivered) == ("replies", False)
    assert (delivered.exchange, delivered.routing_key) == ("", key)
    return delivered


@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_a_reply_reaches_its_requester(requester, server_side, size):
    client, address = requester
    body = b"r" * size
    properties = b"\x90\0\x04text\x02"  # content type and delivery mode
    server_side.publish(1, address, body, properties=properties)
    expect_reply(client, body, address, properties)
    server_side.publish(1, address, b"a second one")
    expect_reply(client, b"a second one", address)


@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_requests_of_any_size_carry_the_address(requester, names, size):
    client, address = requester
    queue = names.queue()
    client.call("queue.declare", 1, queue=queue)
    client.publish(1, queue, b"q" * size, properties=reply_to(QUEUE))
    client.send("basic.get", 1, queue=queue, no_ack=True)
    got = client.expect("basic.get-ok", 1)
    assert (got.properties, len(got.body)) == (reply_to(address), size)


def test_request_and_reply_on_one_channel(requester):
    client, address = requester
    client.publish(1, address, b"to myself")
    expect_reply(client, b"to myself", address)


def test_other_addresses_pass_as_they_are(requester, names):
    client, _ = requester
    queue = names.queue()
    client.call("queue.declare", 1, queue=queue)
    for text in ("", "elsewhere", QUEUE + ".x", QUEUE + "x"):
        client.publish(1, queue, b"", properties=reply_to(text))
        client.send("basic.get", 1, queue=queue, no_ack=True)
        assert client.expect("basic.get-ok", 1).properties == reply_to(text)


def test_pika_rpc(connect, names):
    """The pattern of RabbitMQ's documentation, over two connections."""
    queue = names.queue()
    serving = connect()
    server = serving.channel()
    server.queue_declare(queue)

    def answer(channel, _method, properties, body):
        returned = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, body.upper(), returned)

    server.basic_consume(queue, answer, auto_ack=True)
    asking = connect()
    client = asking.channel()
    replies = Collector()
    client.basic_consume(QUEUE, replies, auto_ack=True)
    for number in range(3):
        request = pika.BasicProperties(reply_to=QUEUE, correlation_id=str(number))
        client.basic_publish("", queue, b"question", request)
    deadline = time.monotonic() + 8
    while len(replies.bodies) < 3 and time.monotonic() < deadline:
        serving.process_data_events(0.02)
        asking.process_data_events(0.02)
    assert replies.bodies == [b"QUESTION"] * 3
    assert [one.correlation_id for one in replies.properties] == ["0", "1", "2"]


def test_aio_pika_rpc(server, names):
    """Many requests at once, their answers told apart by correlation id."""
    queue_name = names.queue()

    async def serve(connection):
        channel = await connection.channel()
        queue = await channel.declare_queue(queue_name)

        async def answer(message):
            async with message.process():
                reply = aio_pika.Message(
                    message.body * 2, correlation_id=message.correlation_id
                )
                await channel.default_exchange.publish(reply, routing_key=message.reply_to)

        await queue.consume(answer)

    async def ask(connection):
        channel = await connection.channel(publisher_confirms=False)
        waiting = {}
        pseudo = await channel.get_queue(QUEUE, ensure=False)

        async def take(message):
            waiting.pop(message.correlation_id).set_result(message.body)

        await pseudo.consume(take, no_ack=True)
        answers = []
        for number in range(50):
            future = asyncio.get_running_loop().create_future()
            waiting[str(number)] = future
            message = aio_pika.Message(
                b"%d," % number, correlation_id=str(number), reply_to=QUEUE
            )
            await channel.default_exchange.publish(message, routing_key=queue_name)
            answers.append(future)
        return await asyncio.wait_for(asyncio.gather(*answers), 10)

    async def both():
        async with (
            await aio_pika.connect(server.url) as serving,
            await aio_pika.connect(server.url) as asking,
        ):
            await serve(serving)
            return await ask(asking)

    assert asyncio.run(both()) == [b"%d,%d," % (number, number) for number in range(50)]


def test_acknowledging_is_refused(raw):
    client = raw()
    client.channel(1)
    client.send("basic.consume", 1, queue=QUEUE)
    close = client.expect_channel_close(1, 406, "basic.consume")
    assert close.reply_text == "PRECONDITION_FAILED - reply consumer cannot acknowledge"


@pytest.mark.parametrize(
    "no_ack, text", [(True, "reply consumer already set"), (False, "cannot acknowledge")]
)
def test_one_consumer_for_each_channel(requester, no_ack, text):
    client, _ = requester
    client.send("basic.consume", 1, queue=QUEUE, no_ack=no_ack)
    assert text in client.expect_channel_close(1, 406, "basic.consume").reply_text


def test_consumer_tags(raw):
    client = raw()
    client.channel(1)
    made = client.call("basic.consume", 1, queue=QUEUE, no_ack=True, exclusive=True).consumer_tag
    assert made.startswith("amq.ctag-")
    assert client.call("basic.cancel", 1, consumer_tag=made).consumer_tag == made
    client.call("basic.consume", 1, queue=QUEUE, no_ack=True, consumer_tag="x")
    client.channel(2)
    client.call("queue.declare", 2, queue="", exclusive=True)
    client.call("basic.consume", 2, queue="", consumer_tag="y")
    client.send("basic.consume", 2, queue=QUEUE, no_ack=True, consumer_tag="y")
    close = client.expect_connection_close(530, "basic.consume")
    assert close.reply_text == "NOT_ALLOWED - attempt to reuse consumer tag 'y'"


@pytest.mark.parametrize("consumer", ["none", "other channel", "cancelled"])
def test_a_request_without_a_consumer_is_refused(raw, consumer):
    client = raw()
    client.channel(1)
    if consumer == "other channel":
        client.channel(2)
        client.call("basic.consume", 2, queue=QUEUE, no_ack=True)
    if consumer == "cancelled":
        tag = client.call("basic.consume", 1, queue=QUEUE, no_ack=True).consumer_tag
        client.call("basic.cancel", 1, consumer_tag=tag)
    client.publish(1, "nowhere", b"request", properties=reply_to(QUEUE))
    close = client.expect_channel_close(1, 406, "basic.publish")
    assert close.reply_text == "PRECONDITION_FAILED - fast reply consumer does not exist"


def test_consuming_and_asking_in_one_go(raw, names):
    """Nothing has to be waited for between the two; the request comes back with its address."""
    client = raw()
    client.channel(1)
    client.send("basic.consume", 1, queue=QUEUE, no_ack=True, no_wait=True)
    nowhere = "nowhere-" + uuid.uuid4().hex
    client.publish(1, nowhere, b"q", properties=reply_to(QUEUE), mandatory=True)
    returned = client.expect("basic.return", 1)
    assert returned.properties[3:].decode().startswith(QUEUE + ".")


def test_copies_of_requests_and_replies(requester, server_side, names):
    client, address = requester
    server_side.publish(1, "nowhere", b"1", properties=copies(address))
    expect_reply(client, b"1", "nowhere", copies(address))
    server_side.publish(1, address, b"2", properties=copies(address))
    expect_reply(client, b"2", address, copies(address))
    queue = names.queue()
    client.call("queue.declare", 1, queue=queue)
    server_side.publish(1, queue, b"3", properties=copies(address))
    expect_reply(client, b"3", queue, copies(address))
    client.send("basic.get", 1, queue=queue, no_ack=True)
    assert client.expect("basic.get-ok", 1).body == b"3"
    client.expect_nothing()


def test_only_the_default_exchange_leads_to_a_requester(requester, server_side):
    client, address = requester
    server_side.publish(1, address, b"lost", exchange="amq.direct")
    server_side.publish(1, address, b"lost", exchange="amq.topic")
    server_side.publish(1, QUEUE, b"lost")
    server_side.publish(1, address + "x", b"lost")
    server_side.publish(1, address[:-1], b"lost")
    server_side.works(1)
    client.expect_nothing()


@pytest.mark.parametrize("gone", ["cancelled", "channel", "connection"])
def test_a_reply_to_somebody_gone(requester, server_side, names, gone):
    client, address = requester
    if gone == "cancelled":
        client.call("basic.cancel", 1, consumer_tag="replies")
    elif gone == "channel":
        client.call("channel.close", 1, reply_code=200, reply_text="", class_id=0, method_id=0)
        client.channel(1)
    else:
        client.close()
    server_side.call("confirm.select", 1)

    def answers():
        server_side.publish(1, address, b"late", mandatory=True)
        return [method.name for method in server_side.next_methods(2)]

    eventually(lambda: answers() == ["basic.return", "basic.ack"])
    if gone != "connection":
        client.call("basic.consume", 1, queue=QUEUE, no_ack=True, consumer_tag="replies")
        assert address_of(client, names) != address, "an address is for one consumer only"
        server_side.publish(1, address, b"late")
        assert server_side.expect("basic.ack", 1).delivery_tag
        client.expect_nothing()


def test_confirms(requester, server_side):
    client, address = requester
    server_side.call("confirm.select", 1)
    for number in range(5):
        server_side.publish(1, address, b"%d" % number)
    confirmed = 0
    while confirmed < 5:
        confirmed = server_side.expect("basic.ack", 1).delivery_tag
    for number in range(5):
        expect_reply(client, b"%d" % number, address)


@pytest.mark.postroom_only(
    reason="RabbitMQ before 4.2 returns every mandatory reply, later versions return none"
)
def test_a_mandatory_reply_is_routed_while_the_requester_is_there(requester, server_side):
    client, address = requester
    server_side.call("confirm.select", 1)
    server_side.publish(1, address, b"reply", mandatory=True)
    server_side.expect("basic.ack", 1)
    expect_reply(client, b"reply", address)


@pytest.mark.parametrize("passive", [True, False])
def test_declaring_tells_whether_the_requester_is_there(requester, server_side, passive):
    client, address = requester
    for name in (QUEUE, address):
        answer = server_side.call("queue.declare", 1, queue=name, passive=passive)
        assert (answer.queue, answer.message_count, answer.consumer_count) == (name, 0, 1)
    client.call("basic.cancel", 1, consumer_tag="replies")
    for name in (address, QUEUE + ".made-up", QUEUE + "x"):
        server_side.send("queue.declare", 1, queue=name, passive=passive)
        close = server_side.expect_channel_close(1, 404, "queue.declare")
        assert close.reply_text == f"NOT_FOUND - no queue '{name}' in vhost '/'"
        server_side.channel(1)


def test_it_is_no_queue(requester, server_side):
    _, address = requester
    for name in (QUEUE, address):
        assert server_side.call("queue.delete", 1, queue=name).message_count == 0
        server_side.call("queue.unbind", 1, queue=name, exchange="amq.direct")
        for request, fields in (
            ("queue.purge", {}),
            ("basic.get", {}),
            ("queue.bind", {"exchange": "amq.direct"}),
        ):
            server_side.send(request, 1, queue=name, **fields)
            close = server_side.expect_channel_close(1, 404, request)
            assert close.reply_text == f"NOT_FOUND - no queue '{name}' in vhost '/'"
            server_side.channel(1)
    server_side.send("basic.consume", 1, queue=address, no_ack=True)
    server_side.expect_channel_close(1, 404, "basic.consume")


@pytest.mark.postroom_only(reason="RabbitMQ before 4.2 sends it at once")
def test_a_reply_in_a_transaction_goes_at_the_commit(requester, server_side):
    client, address = requester
    server_side.call("tx.select", 1)
    server_side.publish(1, address, b"1")
    server_side.call("tx.rollback", 1)
    server_side.publish(1, address, b"2")
    server_side.works(1)
    client.expect_nothing()
    server_side.call("tx.commit", 1)
    expect_reply(client, b"2", address)


@pytest.mark.postroom_only(reason="RabbitMQ keeps unread replies in memory")
def test_replies_to_a_client_that_does_not_read_are_dropped(requester, connection):
    client, address = requester
    channel = connection.channel()
    body = bytes(100_000)
    for _ in range(300):
        channel.basic_publish("", address, body)
    catch_up(channel)
    received = 0
    channel.basic_publish("", address, b"last")
    while True:
        try:
            received += len(client.next_method(1).body)
        except AssertionError:
            break
    assert 0 < received < 20_000_000, "some came, many were dropped"
    channel.basic_publish("", address, b"again")
    assert client.expect("basic.deliver", 1).body == b"again"
