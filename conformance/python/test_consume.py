"""Consumers: tags, cancelling, prefetch, fairness."""

import asyncio
import time

import aio_pika
import pytest

from raw import CAPABILITIES, Nothing
from steps import Collector, eventually, publish_and_wait, refused


def test_consume_ok_and_deliveries(raw, names):
    connection = raw()
    connection.channel(1)
    exchange, queue = names.exchange(), names.queue()
    connection.call("exchange.declare", 1, exchange=exchange, type="direct")
    connection.call("queue.declare", 1, queue=queue)
    connection.call("queue.bind", 1, queue=queue, exchange=exchange, routing_key="key")
    assert (
        connection.call("basic.consume", 1, queue=queue, consumer_tag="mine").consumer_tag == "mine"
    )
    for number in (1, 2, 3):
        connection.publish(1, "key", b"%d" % number, exchange)
        got = connection.expect("basic.deliver", 1)
        assert (got.consumer_tag, got.exchange, got.routing_key) == ("mine", exchange, "key")
        assert (got.delivery_tag, got.redelivered, got.body) == (number, False, b"%d" % number)


def test_consume_ok_comes_before_the_first_delivery(pair):
    connection, queue = pair
    for number in range(100):
        connection.publish(1, queue, b"%d" % number)
    connection.call("basic.consume", 1, queue=queue)
    assert [got.delivery_tag for got in connection.next_methods(100)] == list(range(1, 101))


def test_consume_nowait(pair):
    connection, queue = pair
    connection.send("basic.consume", 1, queue=queue, consumer_tag="quiet", no_wait=True)
    connection.publish(1, queue, b"m")
    got = connection.expect("basic.deliver", 1)
    assert (got.consumer_tag, got.body) == ("quiet", b"m")


def test_server_named_tags(pair):
    connection, queue = pair
    tags = {connection.call("basic.consume", 1, queue=queue).consumer_tag for _ in range(20)}
    assert len(tags) == 20
    assert all(tag.startswith("amq.ctag-") and len(tag) > 20 for tag in tags)


def test_duplicate_tag_is_refused_with_530(pair):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, consumer_tag="twice")
    connection.send("basic.consume", 1, queue=queue, consumer_tag="twice")
    close = connection.expect_connection_close(530, "basic.consume")
    assert "attempt to reuse consumer tag 'twice'" in close.reply_text


def test_consume_from_missing(channel, names):
    queue = names.queue()
    with refused(404, f"no queue '{queue}' in vhost '/'"):
        channel.basic_consume(queue, Collector())


def test_exclusive_consumer_keeps_others_out(connect, names):
    queue = names.queue()
    first, second = connect(), connect()
    channel = first.channel()
    channel.queue_declare(queue)
    tag = channel.basic_consume(queue, Collector(), exclusive=True)
    for other in (first, second):
        with refused(403, f"queue '{queue}' in vhost '/' in exclusive use"):
            other.channel().basic_consume(queue, Collector())
    channel.basic_cancel(tag)
    second.channel().basic_consume(queue, Collector())


def test_exclusive_consumer_is_refused_where_others_are(connection, names):
    queue = names.queue()
    channel = connection.channel()
    channel.queue_declare(queue)
    channel.basic_consume(queue, Collector())
    with refused(403, "in exclusive use"):
        connection.channel().basic_consume(queue, Collector(), exclusive=True)


def test_exclusive_consumer_is_over_with_its_channel(connection, names):
    queue = names.queue()
    first, second = connection.channel(), connection.channel()
    first.queue_declare(queue)
    first.basic_consume(queue, Collector(), exclusive=True)
    first.close()
    second.basic_consume(queue, Collector(), exclusive=True)


def test_no_ack_takes_for_good_and_minds_no_prefetch(pair):
    connection, queue = pair
    for number in range(50):
        connection.publish(1, queue, b"%d" % number)
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue, no_ack=True)
    assert len(connection.next_methods(50)) == 50
    connection.call("channel.close", 1, reply_code=200)
    connection.channel(1)
    assert connection.call("queue.declare", 1, queue=queue, passive=True).message_count == 0


def test_cancel(pair):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, consumer_tag="c", no_ack=True)
    connection.publish(1, queue, b"before")
    connection.expect("basic.deliver", 1)
    assert connection.call("basic.cancel", 1, consumer_tag="c").consumer_tag == "c"
    connection.publish(1, queue, b"after")
    connection.expect_nothing()
    assert connection.call("queue.declare", 1, queue=queue, passive=True).message_count == 1


def test_cancel_nowait(pair):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, consumer_tag="c", no_ack=True)
    connection.send("basic.cancel", 1, consumer_tag="c", no_wait=True)
    connection.works(1)
    connection.publish(1, queue, b"after")
    connection.expect_nothing()


def test_nothing_is_delivered_after_cancel_ok(pair):
    connection, queue = pair
    for number in range(2000):
        connection.publish(1, queue, b"%d" % number)
    connection.call("basic.qos", 1, prefetch_count=0)
    connection.call("basic.consume", 1, queue=queue, consumer_tag="c", no_ack=True)
    connection.send("basic.cancel", 1, consumer_tag="c")
    came = 0
    while (method := connection.next_method()).name == "basic.deliver":
        came += 1
    assert method.name == "basic.cancel-ok"
    connection.expect_nothing()
    left = connection.call("queue.declare", 1, queue=queue, passive=True).message_count
    assert came + left == 2000


def test_cancel_of_an_unknown_tag(pair):
    connection, _ = pair
    assert connection.call("basic.cancel", 1, consumer_tag="never").consumer_tag == "never"


def test_cancel_leaves_unacknowledged_with_the_channel(pair):
    connection, queue = pair
    for body in (b"1", b"2", b"3"):
        connection.publish(1, queue, body)
    connection.call("basic.consume", 1, queue=queue, consumer_tag="c")
    tags = [got.delivery_tag for got in connection.next_methods(3)]
    connection.call("basic.cancel", 1, consumer_tag="c")
    assert connection.call("queue.declare", 1, queue=queue, passive=True).message_count == 0
    connection.send("basic.ack", 1, delivery_tag=tags[0])
    connection.send("basic.nack", 1, delivery_tag=tags[1], requeue=True)
    connection.send("basic.get", 1, queue=queue)
    assert connection.expect("basic.get-ok", 1).body == b"2"
    connection.call("channel.close", 1, reply_code=200)
    connection.channel(1)
    eventually(
        lambda: connection.call("queue.declare", 1, queue=queue, passive=True).message_count == 2
    )


def test_tag_can_be_used_again_after_cancel(pair):
    connection, queue = pair
    for _ in range(3):
        connection.call("basic.consume", 1, queue=queue, consumer_tag="again")
        connection.call("basic.cancel", 1, consumer_tag="again")


def test_cancel_notify_when_the_queue_is_deleted(pair, raw):
    connection, queue = pair
    tags = {connection.call("basic.consume", 1, queue=queue).consumer_tag for _ in range(2)}
    other = raw()
    other.channel(1)
    other.call("queue.delete", 1, queue=queue)
    cancelled = [connection.expect("basic.cancel", 1) for _ in range(2)]
    assert {method.consumer_tag for method in cancelled} == tags
    assert all(method.no_wait for method in cancelled)
    connection.works(1)


def test_cancel_notify_on_the_channel_that_deletes(pair):
    connection, queue = pair
    tag = connection.call("basic.consume", 1, queue=queue).consumer_tag
    connection.send("queue.delete", 1, queue=queue)
    # In this order: who waits for the answer takes no cancellation for it (py-amqp raises one).
    answer, cancel = connection.next_methods(2)
    assert (answer.name, cancel.name) == ("queue.delete-ok", "basic.cancel")
    assert cancel.consumer_tag == tag


def test_no_cancel_notify_for_a_client_that_does_not_know_it(raw, names):
    connection = raw(capabilities=CAPABILITIES | {"consumer_cancel_notify": False})
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.call("basic.consume", 1, queue=queue)
    connection.call("queue.delete", 1, queue=queue)
    connection.expect_nothing()


def test_cancel_notify_with_pika(connect, names):
    queue = names.queue()
    consumer, other = connect(), connect()
    channel = consumer.channel()
    channel.queue_declare(queue)
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    tag = channel.basic_consume(queue, Collector())
    other.channel().queue_delete(queue)
    deadline = time.monotonic() + 5
    while not cancelled and time.monotonic() < deadline:
        consumer.process_data_events(time_limit=0.05)
    assert [frame.method.consumer_tag for frame in cancelled] == [tag]


def test_a_channel_may_consume_its_own(pair):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, no_local=True)
    connection.publish(1, queue, b"own")
    assert connection.expect("basic.deliver", 1).body == b"own"


def test_consumers_with_aio_pika(server, names):
    queue_name = names.queue()

    async def scenario():
        connection = await aio_pika.connect(server.url)
        async with connection:
            publisher, consumer = await connection.channel(), await connection.channel()
            await consumer.set_qos(prefetch_count=10)
            queue = await consumer.declare_queue(queue_name)
            done, seen = asyncio.Event(), []

            async def on_message(message):
                async with message.process(requeue=True):
                    if message.body == b"7" and not message.redelivered:
                        raise ValueError("once more")
                    seen.append((message.body, message.redelivered))
                if len(seen) == 50:
                    done.set()

            tag = await queue.consume(on_message)
            for number in range(50):
                await publisher.default_exchange.publish(
                    aio_pika.Message(b"%d" % number), routing_key=queue_name
                )

            def ignore(_loop, _context):
                """The callback's ValueError is part of the test."""

            asyncio.get_running_loop().set_exception_handler(ignore)
            await asyncio.wait_for(done.wait(), 10)
            await queue.cancel(tag)
            assert sorted(body for body, _ in seen) == sorted(b"%d" % n for n in range(50))
            assert [body for body, redelivered in seen if redelivered] == [b"7"]

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_waiting_consumer_is_woken_by_each_message(pair):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, no_ack=True)
    with pytest.raises(Nothing):
        connection.next_method(0.2)
    for number in range(20):
        connection.publish(1, queue, b"%d" % number)
        assert connection.expect("basic.deliver", 1).body == b"%d" % number


def test_generator_consumer_of_pika(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    publish_and_wait(channel, "", queue, b"1", b"2", b"3")
    bodies = []
    for method, _, body in channel.consume(queue, inactivity_timeout=5):
        bodies.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(bodies) == 3:
            break
    assert channel.cancel() == 0
    assert bodies == [b"1", b"2", b"3"]
