"""Acknowledging, returning, dropping."""

import pytest

from steps import Collector, catch_up, counts, eventually, publish_and_wait, refused, take


@pytest.fixture
def holding(raw, names):
    """A raw connection that holds deliveries 1 to 5 of a queue, and the queue."""
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    for number in range(1, 6):
        connection.publish(1, queue, b"%d" % number)
    for number in range(1, 6):
        connection.send("basic.get", 1, queue=queue)
        assert connection.expect("basic.get-ok", 1).delivery_tag == number
    return connection, queue


def left_over(connection, queue):
    """What returns to the queue when the channel closes, as (body, redelivered)."""
    connection.call("channel.close", 1, reply_code=200)
    connection.channel(1)
    return drain(connection, queue)


def drain(connection, queue):
    got = []
    while True:
        connection.send("basic.get", 1, queue=queue, no_ack=True)
        method = connection.next_method()
        if method.name == "basic.get-empty":
            return got
        got.append((method.body, method.redelivered))


def again(*numbers):
    return [(b"%d" % number, True) for number in numbers]


def test_ack(holding):
    connection, queue = holding
    connection.send("basic.ack", 1, delivery_tag=2)
    assert left_over(connection, queue) == again(1, 3, 4, 5)


def test_ack_multiple(holding):
    connection, queue = holding
    connection.send("basic.ack", 1, delivery_tag=3, multiple=True)
    assert left_over(connection, queue) == again(4, 5)


def test_ack_multiple_skips_what_is_settled(holding):
    connection, queue = holding
    connection.send("basic.ack", 1, delivery_tag=2)
    connection.send("basic.ack", 1, delivery_tag=4, multiple=True)
    assert left_over(connection, queue) == again(5)


def test_ack_multiple_reaches_no_other_channel(raw, names):
    connection = raw()
    connection.channel(1)
    connection.channel(2)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    for number in range(1, 5):
        connection.publish(1, queue, b"%d" % number)
    connection.works(1)
    for number in range(1, 5):
        connection.send("basic.get", 1 + number % 2, queue=queue)
        connection.expect("basic.get-ok", 1 + number % 2)
    connection.send("basic.ack", 2, delivery_tag=2, multiple=True)
    connection.works(2)
    assert left_over(connection, queue) == again(2, 4)


def test_ack_zero_multiple_settles_all(holding):
    connection, queue = holding
    connection.send("basic.ack", 1, delivery_tag=0, multiple=True)
    assert left_over(connection, queue) == []


def test_ack_zero_multiple_with_nothing_to_settle(raw):
    connection = raw()
    connection.channel(1)
    connection.send("basic.ack", 1, delivery_tag=0, multiple=True)
    connection.works(1)


@pytest.mark.parametrize("tag, multiple", [(0, False), (6, False), (6, True), (2**63 - 1, False)])
def test_ack_of_an_unknown_tag(holding, tag, multiple):
    connection, queue = holding
    connection.send("basic.ack", 1, delivery_tag=tag, multiple=multiple)
    close = connection.expect_channel_close(1, 406, "basic.ack")
    assert close.reply_text == f"PRECONDITION_FAILED - unknown delivery tag {tag}"
    connection.channel(1)
    assert drain(connection, queue) == again(1, 2, 3, 4, 5)


@pytest.mark.parametrize("method", ["basic.nack", "basic.reject"])
@pytest.mark.parametrize("requeue", [False, True])
def test_nack_and_reject_of_an_unknown_tag(holding, method, requeue):
    connection, queue = holding
    connection.send(method, 1, delivery_tag=9, requeue=requeue)
    close = connection.expect_channel_close(1, 406, method)
    assert "unknown delivery tag 9" in close.reply_text
    connection.channel(1)
    assert drain(connection, queue) == again(1, 2, 3, 4, 5)


@pytest.mark.parametrize("first", ["basic.ack", "basic.nack", "basic.reject"])
@pytest.mark.parametrize("second", ["basic.ack", "basic.nack", "basic.reject"])
def test_settling_twice(holding, first, second):
    connection, _ = holding
    connection.send(first, 1, delivery_tag=2)
    connection.send(second, 1, delivery_tag=2)
    close = connection.expect_channel_close(1, 406, second)
    assert "unknown delivery tag 2" in close.reply_text


def test_settling_one_again_with_multiple(holding):
    # Everything up to the tag is settled already: RabbitMQ refuses.
    connection, _ = holding
    connection.send("basic.ack", 1, delivery_tag=5, multiple=True)
    connection.send("basic.ack", 1, delivery_tag=5, multiple=True)
    connection.expect_channel_close(1, 406, "basic.ack")


def test_tag_of_another_channel(holding):
    connection, _ = holding
    connection.channel(2)
    connection.send("basic.ack", 2, delivery_tag=1)
    connection.expect_channel_close(2, 406, "basic.ack")
    connection.works(1)


def test_tag_of_another_channel_with_pika(connection, names):
    queue = names.queue()
    first, second = connection.channel(), connection.channel()
    first.queue_declare(queue)
    publish_and_wait(first, "", queue, b"m")
    tag = first.basic_get(queue)[0].delivery_tag
    with refused(406, f"unknown delivery tag {tag}"):
        second.basic_ack(tag)
        catch_up(second)


def test_ack_of_a_no_ack_delivery(raw, names):
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.call("basic.consume", 1, queue=queue, no_ack=True)
    connection.publish(1, queue, b"m")
    tag = connection.expect("basic.deliver", 1).delivery_tag
    connection.send("basic.ack", 1, delivery_tag=tag)
    connection.expect_channel_close(1, 406, "basic.ack")


def test_ack_in_any_order(holding):
    connection, queue = holding
    for tag in (5, 1, 3):
        connection.send("basic.ack", 1, delivery_tag=tag)
    assert left_over(connection, queue) == again(2, 4)


def test_nack_requeue(holding):
    connection, queue = holding
    connection.send("basic.nack", 1, delivery_tag=2, requeue=True)
    assert drain(connection, queue) == again(2)


def test_nack_multiple_requeue(holding):
    connection, queue = holding
    connection.send("basic.nack", 1, delivery_tag=3, multiple=True, requeue=True)
    assert drain(connection, queue) == again(1, 2, 3)
    assert left_over(connection, queue) == again(4, 5)


def test_nack_zero_multiple_requeues_all(holding):
    connection, queue = holding
    connection.send("basic.nack", 1, delivery_tag=0, multiple=True, requeue=True)
    assert drain(connection, queue) == again(1, 2, 3, 4, 5)


def test_nack_drops(holding):
    connection, queue = holding
    connection.send("basic.nack", 1, delivery_tag=3, multiple=True, requeue=False)
    assert left_over(connection, queue) == again(4, 5)


def test_reject_requeue(holding):
    connection, queue = holding
    connection.send("basic.reject", 1, delivery_tag=4, requeue=True)
    assert drain(connection, queue) == again(4)


def test_reject_drops(holding):
    connection, queue = holding
    connection.send("basic.reject", 1, delivery_tag=4, requeue=False)
    assert left_over(connection, queue) == again(1, 2, 3, 5)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (2,), (3, 1)])
def test_requeue_to_the_original_position(raw, names, order):
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    for number in range(1, 7):
        connection.publish(1, queue, b"%d" % number)
    for number in range(1, 4):
        connection.send("basic.get", 1, queue=queue)
        connection.expect("basic.get-ok", 1)
    for tag in order:
        connection.send("basic.nack", 1, delivery_tag=tag, requeue=True)
    assert [int(body) for body, _ in drain(connection, queue)] == sorted(order) + [4, 5, 6]


def test_requeue_of_a_consumer_that_went_keeps_the_order(connect, names):
    queue = names.queue()
    publisher, leaver = connect().channel(), connect()
    publisher.queue_declare(queue)
    publish_and_wait(publisher, "", queue, *[b"%d" % number for number in range(20)])
    channel, collector = leaver.channel(), Collector()
    channel.basic_qos(prefetch_count=10)
    channel.basic_consume(queue, collector)
    collector.wait(leaver, 10)
    channel.basic_ack(collector.deliveries[3].delivery_tag)
    leaver.close()
    expected = [b"%d" % number for number in range(20) if number != 3]
    eventually(lambda: counts(publisher, queue) == (19, 0))
    assert take(publisher, queue) == expected


def test_redelivered(raw, names):
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    connection.call("basic.consume", 1, queue=queue)
    connection.publish(1, queue, b"m")
    got = connection.expect("basic.deliver", 1)
    assert not got.redelivered
    for _ in range(3):
        connection.send("basic.nack", 1, delivery_tag=got.delivery_tag, requeue=True)
        again_tag = got.delivery_tag
        got = connection.expect("basic.deliver", 1)
        assert got.redelivered and got.delivery_tag == again_tag + 1
    connection.publish(1, queue, b"fresh")
    assert not connection.expect("basic.deliver", 1).redelivered


def test_what_was_never_delivered_is_not_redelivered(holding):
    connection, queue = holding
    connection.publish(1, queue, b"6")
    assert left_over(connection, queue) == again(1, 2, 3, 4, 5) + [(b"6", False)]


def test_recover(holding):
    connection, queue = holding
    connection.send("basic.ack", 1, delivery_tag=2)
    connection.call("basic.recover", 1, requeue=True)
    assert drain(connection, queue) == again(1, 3, 4, 5)
    connection.send("basic.ack", 1, delivery_tag=1)
    connection.expect_channel_close(1, 406, "basic.ack")


def test_recover_to_a_consumer_of_the_channel(raw, names):
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    for number in (1, 2, 3):
        connection.publish(1, queue, b"%d" % number)
    connection.call("basic.consume", 1, queue=queue)
    for _ in range(3):
        connection.expect("basic.deliver", 1)
    connection.send("basic.recover", 1, requeue=True)
    answers = [connection.next_method() for _ in range(4)]
    assert sorted(method.name for method in answers) == ["basic.deliver"] * 3 + ["basic.recover-ok"]
    came = [method for method in answers if method.name == "basic.deliver"]
    assert [(each.body, each.delivery_tag) for each in came] == [(b"1", 4), (b"2", 5), (b"3", 6)]
    assert all(each.redelivered for each in came)


def test_recover_async(holding):
    connection, queue = holding
    connection.send("basic.recover-async", 1, requeue=True)
    assert drain(connection, queue) == again(1, 2, 3, 4, 5)


@pytest.mark.parametrize("method", ["basic.recover", "basic.recover-async"])
def test_recover_without_requeue_is_refused_with_540(holding, method):
    connection, _ = holding
    connection.send(method, 1, requeue=False)
    close = connection.expect_connection_close(540)
    assert "requeue=false" in close.reply_text


def test_recover_reaches_only_its_channel(connection, names):
    queue = names.queue()
    first, second = connection.channel(), connection.channel()
    first.queue_declare(queue)
    publish_and_wait(first, "", queue, b"1", b"2")
    first.basic_get(queue)
    second.basic_get(queue)
    second.basic_recover(requeue=True)
    assert take(second, queue) == [b"2"]
    assert counts(first, queue) == (0, 0)
