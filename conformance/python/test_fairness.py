"""Many consumers, slow ones and flooding publishers, side by side."""

import threading
import time

import wire
from steps import Collector, counts, eventually, publish_and_wait


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
    tags = [each.consumer_tag for each in connection.next_methods(300)]
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
    assert {each.consumer_tag for each in connection.next_methods(100)} == {"free"}


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
    got = connection.next_methods(200)
    assert {each.consumer_tag for each in got} == tags
    connection.expect_nothing()
    connection.send("basic.ack", 1, delivery_tag=0, multiple=True)
    connection.next_methods(100)


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
    assert len(quick.next_methods(95)) == 95


def test_flooding_publisher_starves_nobody(server, raw, names):
    queue = names.queue("flood")
    other_queue = names.queue()
    flooder, other = raw(), raw()
    flooder.channel(1)
    other.channel(1)
    flooder.call("queue.declare", 1, queue=queue)
    other.call("queue.declare", 1, queue=other_queue)
    other.call("confirm.select", 1)
    # Purging now and then, lest the queue grow without bound.
    burst = wire.method_frame(1, "queue.purge", queue=queue, no_wait=True)
    burst += b"".join(
        wire.method_frame(1, "basic.publish", routing_key=queue) + flooder.content(1, bytes(1000))
        for _ in range(200)
    )
    stop = threading.Event()

    def flood():
        flooder.socket.settimeout(None)
        try:
            while not stop.is_set():
                flooder.send_bytes(burst)
        except OSError:
            assert stop.is_set(), "the flooder was cut off"

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
