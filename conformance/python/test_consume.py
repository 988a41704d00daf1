"""Consumers: tags, cancelling, prefetch, fairness."""

import asyncio
import threading
import time

import aio_pika
import pika
import pytest

import wire
from raw import CAPABILITIES, Nothing
from steps import Collector, counts, disconnected, eventually, publish_and_wait, refused, take


@pytest.fixture
def pair(raw, names):
    """A raw connection with channel 1 open, and a queue of its own."""
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    return connection, queue


def deliveries(connection, count, seconds=8):
    return [connection.next_method(seconds) for _ in range(count)]


def test_consume_ok_and_deliveries(raw, names):
    connection = raw()
    connection.channel(1)
    exchange, queue = names.exchange(), names.queue()
    connection.call("exchange.declare", 1, exchange=exchange, type="direct")
    connection.call("queue.declare", 1, queue=queue)
    connection.call("queue.bind", 1, queue=queue, exchange=exchange, routing_key="key")
    assert connection.call("basic.consume", 1, queue=queue, consumer_tag="mine").consumer_tag == "mine"
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
    assert [got.delivery_tag for got in deliveries(connection, 100)] == list(range(1, 101))


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
    assert len(deliveries(connection, 50)) == 50
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
    tags = [got.delivery_tag for got in deliveries(connection, 3)]
    connection.call("basic.cancel", 1, consumer_tag="c")
    assert connection.call("queue.declare", 1, queue=queue, passive=True).message_count == 0
    connection.send("basic.ack", 1, delivery_tag=tags[0])
    connection.send("basic.nack", 1, delivery_tag=tags[1], requeue=True)
    connection.send("basic.get", 1, queue=queue)
    assert connection.expect("basic.get-ok", 1).body == b"2"
    connection.call("channel.close", 1, reply_code=200)
    connection.channel(1)
    eventually(lambda: connection.call("queue.declare", 1, queue=queue, passive=True).message_count == 2)


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
    answers = {method.name: method for method in deliveries(connection, 2)}
    assert answers["basic.cancel"].consumer_tag == tag
    assert "queue.delete-ok" in answers


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


def test_prefetch_bounds_each_consumer(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=2)
    for tag in "ab":
        connection.call("basic.consume", 1, queue=queue, consumer_tag=tag)
    for number in range(10):
        connection.publish(1, queue, b"%d" % number)
    got = deliveries(connection, 4)
    connection.expect_nothing()
    assert sorted(each.consumer_tag for each in got) == ["a", "a", "b", "b"]
    first = next(each for each in got if each.consumer_tag == "b")
    connection.send("basic.ack", 1, delivery_tag=first.delivery_tag)
    assert connection.expect("basic.deliver", 1).consumer_tag == "b", "the credit is the consumer's own"
    connection.expect_nothing()


def test_prefetch_holds_for_the_consumers_that_follow(pair):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, consumer_tag="unbounded")
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue, consumer_tag="bounded")
    connection.call("basic.qos", 1, prefetch_count=3)
    for number in range(20):
        connection.publish(1, queue, b"%d" % number)
    got = [each.consumer_tag for each in deliveries(connection, 20)]
    assert (got.count("bounded"), got.count("unbounded")) == (1, 19)


def test_prefetch_is_freed_by_every_way_of_settling(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue)
    for number in range(4):
        connection.publish(1, queue, b"%d" % number)
    for method, fields in (
        ("basic.ack", {}), ("basic.nack", {"requeue": False}), ("basic.reject", {"requeue": False})
    ):
        got = connection.expect("basic.deliver", 1)
        connection.expect_nothing(0.1)
        connection.send(method, 1, delivery_tag=got.delivery_tag, **fields)
    got = connection.expect("basic.deliver", 1)
    assert got.body == b"3"
    connection.send("basic.nack", 1, delivery_tag=got.delivery_tag, requeue=True)
    again = connection.expect("basic.deliver", 1)
    assert again.body == b"3" and again.redelivered


def test_prefetch_global_bounds_the_channel(pair, names):
    connection, queue = pair
    other = names.queue()
    connection.call("queue.declare", 1, queue=other)
    connection.call("basic.qos", 1, prefetch_count=3, global_=True)
    for target in (queue, queue, other):
        connection.call("basic.consume", 1, queue=target)
    for number in range(5):
        connection.publish(1, queue, b"%d" % number)
        connection.publish(1, other, b"%d" % number)
    got = deliveries(connection, 3)
    connection.expect_nothing()
    connection.send("basic.ack", 1, delivery_tag=got[1].delivery_tag)
    connection.expect("basic.deliver", 1)
    connection.expect_nothing()


def test_prefetch_global_is_per_channel(pair):
    connection, queue = pair
    connection.channel(2)
    connection.call("basic.qos", 1, prefetch_count=1, global_=True)
    connection.call("basic.consume", 1, queue=queue)
    connection.call("basic.consume", 2, queue=queue)
    for number in range(10):
        connection.publish(1, queue, b"%d" % number)
    got = [each.channel for each in deliveries(connection, 10)]
    assert (got.count(1), got.count(2)) == (1, 9)


def test_prefetch_of_both_kinds(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=2)
    connection.call("basic.qos", 1, prefetch_count=3, global_=True)
    for tag in "ab":
        connection.call("basic.consume", 1, queue=queue, consumer_tag=tag)
    for number in range(10):
        connection.publish(1, queue, b"%d" % number)
    got = [each.consumer_tag for each in deliveries(connection, 3)]
    connection.expect_nothing()
    assert sorted(got.count(tag) for tag in "ab") == [1, 2]


def test_prefetch_size_is_refused_with_540(channel):
    with disconnected(540, "prefetch_size!=0 (7)"):
        channel.basic_qos(prefetch_size=7)


def test_prefetch_zero_is_no_bound(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.qos", 1, prefetch_count=0)
    connection.call("basic.consume", 1, queue=queue)
    for number in range(500):
        connection.publish(1, queue, b"%d" % number)
    deliveries(connection, 500)


def test_raising_the_global_prefetch_lets_more_come(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=1, global_=True)
    connection.call("basic.consume", 1, queue=queue)
    for number in range(10):
        connection.publish(1, queue, b"%d" % number)
    deliveries(connection, 1)
    connection.expect_nothing()
    connection.send("basic.qos", 1, prefetch_count=4, global_=True)
    names_of = [method.name for method in deliveries(connection, 4)]
    assert sorted(names_of) == ["basic.deliver"] * 3 + ["basic.qos-ok"]
    connection.expect_nothing()
    connection.send("basic.qos", 1, prefetch_count=0, global_=True)
    assert len([m for m in deliveries(connection, 7) if m.name == "basic.deliver"]) == 6


def test_get_does_not_mind_the_prefetch(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue)
    for number in range(4):
        connection.publish(1, queue, b"%d" % number)
    assert connection.expect("basic.deliver", 1).body == b"0"
    for number in (1, 2, 3):
        connection.send("basic.get", 1, queue=queue)
        assert connection.expect("basic.get-ok", 1).body == b"%d" % number


def test_consumers_are_served_in_turn(connect, names):
    queue = names.queue()
    publisher = connect().channel()
    publisher.queue_declare(queue)
    consumers = []
    for _ in range(4):
        connection, collector = connect(), Collector()
        channel = connection.channel()
        channel.basic_qos(prefetch_count=100)
        channel.basic_consume(queue, collector)
        consumers.append((connection, collector))
    publish_and_wait(publisher, "", queue, *[b"%d" % number for number in range(200)])
    for connection, collector in consumers:
        collector.wait(connection, 50).settle_down(connection, 0.1)
        assert len(collector.bodies) == 50


def test_consumers_of_one_channel_are_served_in_turn(pair):
    connection, queue = pair
    for tag in "abc":
        connection.call("basic.consume", 1, queue=queue, consumer_tag=tag)
    for number in range(300):
        connection.publish(1, queue, b"%d" % number)
    tags = [each.consumer_tag for each in deliveries(connection, 300)]
    assert [tags.count(tag) for tag in "abc"] == [100, 100, 100]


def test_consumer_without_credit_is_passed_over(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue, consumer_tag="full")
    connection.publish(1, queue, b"held")
    connection.expect("basic.deliver", 1)
    connection.call("basic.qos", 1, prefetch_count=0)
    connection.call("basic.consume", 1, queue=queue, consumer_tag="free")
    for number in range(100):
        connection.publish(1, queue, b"%d" % number)
    assert {each.consumer_tag for each in deliveries(connection, 100)} == {"free"}


def test_many_consumers_on_a_channel(connection, names):
    channel = connection.channel()
    queues = [names.queue() for _ in range(100)]
    collectors = [Collector() for _ in queues]
    for queue, collector in zip(queues, collectors, strict=True):
        channel.queue_declare(queue)
        channel.basic_consume(queue, collector, auto_ack=True)
    publish_and_wait(channel, "", queues[7], b"m")
    for queue in queues:
        channel.basic_publish("", queue, queue.encode())
    collectors[-1].wait(connection, 1)
    for queue, collector in zip(queues, collectors, strict=True):
        collector.wait(connection, 1)
        assert collector.bodies[-1] == queue.encode()


def test_many_consumers_on_a_queue(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=1)
    tags = {connection.call("basic.consume", 1, queue=queue).consumer_tag for _ in range(200)}
    for number in range(300):
        connection.publish(1, queue, b"%d" % number)
    got = deliveries(connection, 200)
    assert {each.consumer_tag for each in got} == tags
    connection.expect_nothing()
    connection.send("basic.ack", 1, delivery_tag=0, multiple=True)
    deliveries(connection, 100)


def test_slow_consumer_stops_only_itself(raw, connect, names):
    # The slow one takes 64 MiB of credit and reads nothing; its socket fills up.
    slow_queue, quick_queue = names.queue("slow"), names.queue("quick")
    publisher = connect().channel()
    for queue in (slow_queue, quick_queue):
        publisher.queue_declare(queue)
    publisher.confirm_delivery()
    slow = raw()
    slow.channel(1)
    slow.call("basic.consume", 1, queue=slow_queue, no_ack=True)
    body = bytes(256 * 1024)
    quick = raw()
    quick.channel(1)
    quick.call("basic.consume", 1, queue=quick_queue, no_ack=True)
    for number in range(256):
        publisher.basic_publish("", slow_queue, body)
        publisher.basic_publish("", quick_queue, b"%d" % number)
        assert quick.expect("basic.deliver", 1).body == b"%d" % number
    for _ in range(256):
        assert len(slow.expect("basic.deliver", 1).body) == len(body)


def test_slow_consumer_leaves_the_rest_of_its_queue_to_others(raw, names):
    queue = names.queue()
    slow, quick = raw(), raw()
    for connection in (slow, quick):
        connection.channel(1)
    slow.call("queue.declare", 1, queue=queue)
    slow.call("basic.qos", 1, prefetch_count=5)
    slow.call("basic.consume", 1, queue=queue)
    quick.call("basic.consume", 1, queue=queue, no_ack=True)
    for _ in range(100):
        quick.publish(1, queue, bytes(200_000))
    assert len(deliveries(quick, 95)) == 95


def test_flooding_publisher_starves_nobody(server, raw, names):
    queue = names.queue("flood")
    other_queue = names.queue()
    flooder, other = raw(), raw()
    flooder.channel(1)
    other.channel(1)
    flooder.call("queue.declare", 1, queue=queue, arguments={"x-max-length": 1000})
    other.call("queue.declare", 1, queue=other_queue)
    other.call("confirm.select", 1)
    burst = b"".join(
        wire.method_frame(1, "basic.publish", routing_key=queue) + flooder.content(1, bytes(1000))
        for _ in range(200)
    )
    stop = threading.Event()

    def flood():
        flooder.socket.settimeout(None)
        while not stop.is_set():
            flooder.send_bytes(burst)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        slowest = 0.0
        for number in range(100):
            begin = time.monotonic()
            other.publish(1, other_queue, b"%d" % number)
            other.expect("basic.ack", 1)
            other.send("basic.get", 1, queue=other_queue, no_ack=True)
            assert other.expect("basic.get-ok", 1).body == b"%d" % number
            slowest = max(slowest, time.monotonic() - begin)
        assert slowest < 2, f"somebody else's publish took {slowest:.1f} s"
    finally:
        stop.set()
        flooder.abort()
        thread.join(10)


def test_a_channel_may_consume_its_own(pair):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, no_local=True)
    connection.publish(1, queue, b"own")
    assert connection.expect("basic.deliver", 1).body == b"own"


def test_a_backlog_is_delivered_in_order(connect, names):
    queue = names.queue()
    publisher = connect()
    channel = publisher.channel()
    channel.queue_declare(queue)
    sent = [b"%05d" % number for number in range(20_000)]
    publish_and_wait(channel, "", queue, *sent)
    consumer, collector = connect(), Collector()
    consumer_channel = consumer.channel()
    consumer_channel.basic_qos(prefetch_count=500)

    def acknowledge(got_channel, method, properties, body):
        collector(got_channel, method, properties, body)
        if len(collector.bodies) % 100 == 0:
            got_channel.basic_ack(method.delivery_tag, multiple=True)

    consumer_channel.basic_consume(queue, acknowledge)
    assert collector.wait(consumer, 20_000, seconds=30).bodies == sent
    eventually(lambda: counts(channel, queue) == (0, 1))


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


def test_get_ok(raw, names):
    connection = raw()
    connection.channel(1)
    exchange, queue = names.exchange(), names.queue()
    connection.call("exchange.declare", 1, exchange=exchange, type="fanout")
    connection.call("queue.declare", 1, queue=queue)
    connection.call("queue.bind", 1, queue=queue, exchange=exchange)
    for number in range(3):
        connection.publish(1, "key", b"%d" % number, exchange)
    for number in range(3):
        connection.send("basic.get", 1, queue=queue)
        got = connection.expect("basic.get-ok", 1)
        assert (got.delivery_tag, got.redelivered, got.message_count) == (number + 1, False, 2 - number)
        assert (got.exchange, got.routing_key, got.body) == (exchange, "key", b"%d" % number)


def test_get_empty(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    assert channel.basic_get(queue) == (None, None, None)


def test_get_no_ack(connection, names):
    queue = names.queue()
    channel = connection.channel()
    channel.queue_declare(queue)
    publish_and_wait(channel, "", queue, b"1", b"2")
    channel.basic_get(queue, auto_ack=True)
    channel.close()
    assert take(connection.channel(), queue) == [b"2"]


def test_get_and_consume_share_the_delivery_tags(pair):
    connection, queue = pair
    for number in range(3):
        connection.publish(1, queue, b"%d" % number)
    connection.send("basic.get", 1, queue=queue)
    assert connection.expect("basic.get-ok", 1).delivery_tag == 1
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    assert connection.expect("basic.get-ok", 1).delivery_tag == 2
    connection.call("basic.consume", 1, queue=queue)
    assert connection.expect("basic.deliver", 1).delivery_tag == 3


def test_get_from_missing(channel, names):
    queue = names.queue()
    with refused(404, f"no queue '{queue}' in vhost '/'"):
        channel.basic_get(queue)


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


def test_two_connections_share_a_queue_without_loss(connect, names):
    queue = names.queue()
    publisher = connect().channel()
    publisher.queue_declare(queue)
    consumers = [(connect(), Collector()) for _ in range(3)]
    for connection, collector in consumers:
        connection.channel().basic_consume(queue, collector, auto_ack=True)
    publish_and_wait(publisher, "", queue, *[b"%d" % number for number in range(900)])
    deadline = time.monotonic() + 8
    while sum(len(collector.bodies) for _, collector in consumers) < 900:
        assert time.monotonic() < deadline
        for connection, _ in consumers:
            connection.process_data_events(time_limit=0.02)
    everything = sorted(int(body) for _, collector in consumers for body in collector.bodies)
    assert everything == list(range(900))
