"""How many unacknowledged messages a consumer or a channel may hold."""

from steps import disconnected


def test_prefetch_bounds_each_consumer(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=2)
    for tag in "ab":
        connection.call("basic.consume", 1, queue=queue, consumer_tag=tag)
    for number in range(10):
        connection.publish(1, queue, b"%d" % number)
    got = connection.next_methods(4)
    connection.expect_nothing()
    assert sorted(each.consumer_tag for each in got) == ["a", "a", "b", "b"]
    first = next(each for each in got if each.consumer_tag == "b")
    connection.send("basic.ack", 1, delivery_tag=first.delivery_tag)
    assert connection.expect("basic.deliver", 1).consumer_tag == "b", (
        "the credit is the consumer's own"
    )
    connection.expect_nothing()


def test_prefetch_holds_for_the_consumers_that_follow(pair):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, consumer_tag="unbounded")
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue, consumer_tag="bounded")
    connection.call("basic.qos", 1, prefetch_count=3)
    for number in range(20):
        connection.publish(1, queue, b"%d" % number)
    got = [each.consumer_tag for each in connection.next_methods(20)]
    assert (got.count("bounded"), got.count("unbounded")) == (1, 19)


def test_prefetch_is_freed_by_every_way_of_settling(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue)
    for number in range(4):
        connection.publish(1, queue, b"%d" % number)
    for method, fields in (
        ("basic.ack", {}),
        ("basic.nack", {"requeue": False}),
        ("basic.reject", {"requeue": False}),
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
    got = connection.next_methods(3)
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
    got = [each.channel for each in connection.next_methods(10)]
    assert (got.count(1), got.count(2)) == (1, 9)


def test_prefetch_of_both_kinds(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=2)
    connection.call("basic.qos", 1, prefetch_count=3, global_=True)
    for tag in "ab":
        connection.call("basic.consume", 1, queue=queue, consumer_tag=tag)
    for number in range(10):
        connection.publish(1, queue, b"%d" % number)
    got = [each.consumer_tag for each in connection.next_methods(3)]
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
    connection.next_methods(500)


def test_raising_the_global_prefetch_lets_more_come(pair):
    connection, queue = pair
    connection.call("basic.qos", 1, prefetch_count=1, global_=True)
    connection.call("basic.consume", 1, queue=queue)
    for number in range(10):
        connection.publish(1, queue, b"%d" % number)
    connection.next_methods(1)
    connection.expect_nothing()
    connection.send("basic.qos", 1, prefetch_count=4, global_=True)
    names_of = [method.name for method in connection.next_methods(4)]
    assert sorted(names_of) == ["basic.deliver"] * 3 + ["basic.qos-ok"]
    connection.expect_nothing()
    connection.send("basic.qos", 1, prefetch_count=0, global_=True)
    assert len([m for m in connection.next_methods(7) if m.name == "basic.deliver"]) == 6


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
