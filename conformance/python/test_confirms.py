"""Publisher confirms."""

import asyncio

import aio_pika
import pika
import pytest

from steps import take


@pytest.fixture
def confirming(raw, names):
    """A raw connection with channel 1 in confirm mode, and a queue."""
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.call("confirm.select", 1)
    return connection, queue


def confirmed(connection, count, channel=1):
    """The confirms of `count` publishes, as the list of numbers in the order confirmed."""
    numbers = []
    while len(numbers) < count:
        method = connection.next_method()
        assert (method.name, method.channel) == ("basic.ack", channel), method
        first = (numbers[-1] if numbers else 0) + 1 if method.multiple else method.delivery_tag
        numbers += range(first, method.delivery_tag + 1)
    return numbers


def test_select(raw):
    connection = raw()
    connection.channel(1)
    for _ in range(3):
        connection.call("confirm.select", 1)


def test_select_nowait(raw, names):
    connection = raw()
    connection.channel(1)
    connection.send("confirm.select", 1, no_wait=True)
    connection.publish(1, names.queue(), b"unroutable")
    assert connection.expect("basic.ack", 1).delivery_tag == 1


def test_numbers_begin_with_select(raw, names):
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.publish(1, queue, b"not confirmed")
    connection.call("confirm.select", 1)
    connection.publish(1, queue, b"confirmed")
    assert connection.expect("basic.ack", 1).delivery_tag == 1
    connection.call("confirm.select", 1)
    connection.publish(1, queue, b"confirmed too")
    assert connection.expect("basic.ack", 1).delivery_tag == 2


def test_numbers_begin_anew_on_a_new_channel(confirming):
    connection, queue = confirming
    connection.publish(1, queue, b"m")
    connection.expect("basic.ack", 1)
    connection.call("channel.close", 1, reply_code=200)
    connection.channel(1)
    connection.call("confirm.select", 1)
    connection.publish(1, queue, b"m")
    assert connection.expect("basic.ack", 1).delivery_tag == 1


@pytest.mark.parametrize("durable", [False, True])
def test_each_is_confirmed_once_and_in_order(raw, names, durable):
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue, durable=durable)
    connection.call("confirm.select", 1)
    properties = b"\x10\x00\x02" if durable else b"\0\0"
    for number in range(1000):
        connection.publish(1, queue, b"%d" % number, properties=properties)
    assert confirmed(connection, 1000) == list(range(1, 1001))
    connection.expect_nothing()


def test_mixed_targets_are_confirmed_in_order(confirming, names):
    # Durable and not, routed and not: one sequence.
    connection, queue = confirming
    durable = names.queue()
    connection.call("queue.declare", 1, queue=durable, durable=True)
    for number in range(300):
        target = (queue, durable, "no-such-queue")[number % 3]
        connection.publish(1, target, b"m", properties=b"\x10\x00\x02")
    assert sorted(confirmed_any_order(connection, 300)) == list(range(1, 301))


@pytest.mark.postroom_only(reason="RabbitMQ may confirm in any order")
def test_mixed_targets_are_confirmed_in_order_strictly(confirming, names):
    connection, queue = confirming
    durable = names.queue()
    connection.call("queue.declare", 1, queue=durable, durable=True)
    for number in range(300):
        target = (queue, durable, "no-such-queue")[number % 3]
        connection.publish(1, target, b"m", properties=b"\x10\x00\x02")
    assert confirmed(connection, 300) == list(range(1, 301))


def confirmed_any_order(connection, count):
    open_numbers = set(range(1, count + 1))
    numbers = []
    while open_numbers:
        method = connection.expect("basic.ack", 1)
        done = {method.delivery_tag}
        if method.multiple:
            done = {number for number in open_numbers if number <= method.delivery_tag}
        assert done <= open_numbers, "confirmed twice"
        open_numbers -= done
        numbers += sorted(done)
    return numbers


def test_unroutable_is_confirmed(confirming):
    connection, _ = confirming
    connection.publish(1, "no-such-queue", b"m")
    assert connection.expect("basic.ack", 1).delivery_tag == 1


def test_modes_of_channels_are_their_own(confirming):
    connection, queue = confirming
    connection.channel(2)
    connection.publish(2, queue, b"no confirm")
    connection.works(2)
    connection.publish(1, queue, b"confirm")
    assert connection.expect("basic.ack", 1).delivery_tag == 1
    connection.expect_nothing()


def test_two_channels_count_for_themselves(confirming):
    connection, queue = confirming
    connection.channel(2)
    connection.call("confirm.select", 2)
    for _ in range(3):
        connection.publish(1, queue, b"m")
    connection.publish(2, queue, b"m")
    last = {1: 0, 2: 0}
    while last != {1: 3, 2: 1}:
        method = connection.next_method()
        last[method.channel] = max(last[method.channel], method.delivery_tag)


@pytest.mark.parametrize("durable", [False, True])
def test_what_is_confirmed_can_be_fetched(connect, names, durable):
    queue = names.queue()
    publisher, reader = connect().channel(), connect().channel()
    publisher.queue_declare(queue, durable=durable)
    publisher.confirm_delivery()
    for number in range(30):
        publisher.basic_publish("", queue, b"%d" % number, pika.BasicProperties(delivery_mode=2))
        method, _, body = reader.basic_get(queue, auto_ack=True)
        assert method and body == b"%d" % number


def test_confirms_with_aio_pika(server, names):
    queue_name = names.queue()

    async def scenario():
        connection = await aio_pika.connect(server.url)
        async with connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            queue = await channel.declare_queue(queue_name, durable=True)
            message = [
                aio_pika.Message(b"%d" % n, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                for n in range(500)
            ]
            publish = channel.default_exchange.publish
            await asyncio.gather(*(publish(each, routing_key=queue_name) for each in message))
            with pytest.raises(aio_pika.exceptions.DeliveryError):
                await publish(aio_pika.Message(b"lost"), routing_key="no-such-queue")
            assert (
                await channel.declare_queue(queue_name, passive=True)
            ).declaration_result.message_count == 500
            bodies = []
            async with queue.iterator() as messages:
                async for each in messages:
                    async with each.process():
                        bodies.append(each.body)
                    if len(bodies) == 500:
                        break
            assert bodies == [b"%d" % n for n in range(500)]

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_confirm_mode_does_not_hold_messages_back(connect, names):
    queue = names.queue()
    channel = connect().channel()
    channel.queue_declare(queue)
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"m")
    assert take(channel, queue) == [b"m"]
