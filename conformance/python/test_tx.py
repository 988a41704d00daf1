"""Transactions: class tx. What a transactional channel publishes and settles waits for the commit."""

import itertools
import random
import threading
import uuid

import pika
import pytest

from raw import RawConnection, SocketClosed
from steps import PERSISTENT, Collector, catch_up, counts, eventually, refused, take


@pytest.fixture
def queue(channel, names):
    """A queue with the messages 0, 1 and 2."""
    queue = names.queue()
    channel.queue_declare(queue)
    for body in (b"0", b"1", b"2"):
        channel.basic_publish("", queue, body)
    catch_up(channel)
    return queue


@pytest.fixture
def tx(connection):
    """A transactional channel."""
    channel = connection.channel()
    channel.tx_select()
    return channel


def ready(channel, queue):
    return counts(channel, queue)[0]


def test_select_twice(tx, channel, queue):
    tx.basic_publish("", queue, b"3")
    tx.tx_select()
    tx.tx_commit()
    assert ready(channel, queue) == 4, "the second select forgot nothing"


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_publishes_wait_for_the_commit(tx, channel, names, size):
    queue, exchange = names.queue(), names.exchange()
    channel.queue_declare(queue)
    channel.exchange_declare(exchange, "topic")
    channel.queue_bind(queue, exchange, "k.#")
    bodies = [bytes([mark]) * size for mark in b"abc"]
    tx.basic_publish("", queue, bodies[0])
    tx.basic_publish(exchange, "k.1", bodies[1], PERSISTENT)
    tx.basic_publish("", queue, bodies[2])
    catch_up(tx)
    assert ready(channel, queue) == 0
    tx.tx_commit()
    assert take(channel, queue, 3) == bodies


def test_settlements_wait_for_the_commit(connection, tx, channel, queue):
    tags = [tx.basic_get(queue)[0].delivery_tag for _ in range(3)]
    tx.basic_ack(tags[0])
    tx.basic_nack(tags[1], requeue=True)
    tx.basic_reject(tags[2], requeue=False)
    catch_up(tx)
    assert ready(channel, queue) == 0
    tx.tx_commit()
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert (method.redelivered, body) == (True, b"1")
    tx.close()
    assert ready(channel, queue) == 0, "the others are gone"


def test_rollback_forgets_publishes(tx, channel, queue):
    tx.basic_publish("", queue, b"3")
    tx.basic_publish("", "nowhere", b"4", mandatory=True)
    tx.tx_rollback()
    tx.tx_commit()
    assert take(channel, queue) == [b"0", b"1", b"2"]


def test_rollback_makes_deliveries_outstanding_again(connection, tx, channel, queue):
    got = Collector()
    tx.basic_consume(queue, got)
    got.wait(connection, 3)
    tx.basic_ack(2, multiple=True)
    tx.basic_reject(3, requeue=True)
    tx.tx_rollback()
    got.settle_down(connection)
    assert len(got.bodies) == 3, "nothing is delivered again"
    tx.basic_ack(3, multiple=True)
    tx.tx_commit()
    tx.close()
    assert ready(channel, queue) == 0


@pytest.mark.parametrize("end", ["close", "break"])
def test_channel_and_connection_end_as_a_rollback(raw, channel, queue, end):
    client = raw()
    client.channel(1)
    client.call("tx.select", 1)
    client.send("basic.get", 1, queue=queue)
    assert client.expect("basic.get-ok", 1).delivery_tag == 1
    client.send("basic.ack", 1, delivery_tag=1)
    client.publish(1, queue, b"3")
    client.works(1)
    if end == "close":
        client.call("channel.close", 1, reply_code=200, reply_text="", class_id=0, method_id=0)
    else:
        client.close()
    eventually(lambda: ready(channel, queue) == 3)
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert (method.redelivered, body) == (True, b"0")


def test_an_error_of_the_channel_ends_as_a_rollback(tx, channel, queue):
    method, _, _ = tx.basic_get(queue)
    tx.basic_ack(method.delivery_tag)
    tx.basic_publish("", queue, b"3")
    with refused(404):
        tx.queue_declare("missing-" + uuid.uuid4().hex, passive=True)
    eventually(lambda: ready(channel, queue) == 3)


def test_unknown_exchange_is_refused_when_published_to(raw, queue):
    client = raw()
    client.channel(1)
    client.call("tx.select", 1)
    client.publish(1, queue, b"3")
    client.publish(1, "k", b"4", exchange="missing-" + uuid.uuid4().hex)
    client.expect_channel_close(1, 404, "basic.publish")


def test_unknown_tags_are_refused_when_settled(tx, connection, queue):
    tag = tx.basic_get(queue)[0].delivery_tag
    tx.basic_ack(tag)
    with refused(406, f"unknown delivery tag {tag}"):
        tx.basic_ack(tag)
        catch_up(tx)
    again = connection.channel()
    again.tx_select()
    tags = [again.basic_get(queue)[0].delivery_tag for _ in range(3)]
    again.basic_ack(tags[1])
    with refused(406, f"unknown delivery tag {tags[1]}"):
        again.basic_nack(tags[1], multiple=True)
        catch_up(again)


def test_ack_of_all_leaves_out_what_is_collected(tx, channel, queue):
    tags = [tx.basic_get(queue)[0].delivery_tag for _ in range(3)]
    tx.basic_nack(tags[1], requeue=True)
    tx.basic_ack(0, multiple=True)
    tx.tx_commit()
    assert take(channel, queue) == [b"1"]


def test_recover_leaves_out_what_is_collected(tx, channel, queue):
    tags = [tx.basic_get(queue)[0].delivery_tag for _ in range(3)]
    tx.basic_ack(tags[1])
    tx.basic_recover(requeue=True)
    assert take(channel, queue) == [b"0", b"2"]
    tx.tx_rollback()
    tx.basic_nack(tags[1], requeue=True)
    tx.tx_commit()
    assert take(channel, queue) == [b"1"]


def test_deliveries_without_ack_are_no_part_of_it(tx, channel, queue):
    assert tx.basic_get(queue, auto_ack=True)[2] == b"0"
    tx.tx_rollback()
    assert ready(channel, queue) == 2


@pytest.mark.parametrize("shared", [False, True], ids=["consumer", "channel"])
def test_collected_acks_count_against_the_prefetch(connection, tx, queue, shared):
    got = Collector()
    tx.basic_qos(prefetch_count=1, global_qos=shared)
    tx.basic_consume(queue, got)
    got.wait(connection, 1)
    tx.basic_ack(1)
    got.settle_down(connection)
    assert got.bodies == [b"0"]
    tx.tx_rollback()
    got.settle_down(connection)
    assert got.bodies == [b"0"]
    tx.basic_ack(1)
    tx.tx_commit()
    got.wait(connection, 2)
    assert got.bodies == [b"0", b"1"]


def test_messages_are_routed_when_published(tx, channel, names):
    queue, exchange = names.queue(), names.exchange()
    channel.queue_declare(queue)
    channel.exchange_declare(exchange, "direct")
    channel.queue_bind(queue, exchange, "before")
    tx.basic_publish(exchange, "before", b"1")
    tx.basic_publish(exchange, "after", b"2")
    catch_up(tx)
    channel.queue_unbind(queue, exchange, "before")
    channel.queue_bind(queue, exchange, "after")
    channel.exchange_delete(exchange)
    tx.tx_commit()
    assert take(channel, queue) == [b"1"]


def test_the_default_exchange_finds_its_queue_at_the_commit(tx, channel, names):
    queue = names.queue()
    tx.basic_publish("", queue, b"1")
    catch_up(tx)
    channel.queue_declare(queue)
    tx.tx_commit()
    assert take(channel, queue) == [b"1"]


def test_returned_before_commit_ok(raw, names):
    client = raw()
    client.channel(1)
    client.call("tx.select", 1)
    gone = names.queue()
    client.call("queue.declare", 1, queue=gone)
    client.publish(1, "nowhere-" + uuid.uuid4().hex, b"1", mandatory=True)
    client.publish(1, gone, b"2", mandatory=True)
    client.call("queue.delete", 1, queue=gone)
    client.expect_nothing()
    client.send("tx.commit", 1)
    returned = client.next_methods(2)
    assert [(m.name, m.reply_code, m.body) for m in returned] == [
        ("basic.return", 312, b"1"),
        ("basic.return", 312, b"2"),
    ]
    client.expect("tx.commit-ok", 1)


def test_a_full_queue_refuses_some_and_the_rest_is_done(tx, channel, names):
    queue, full = names.queue(), names.queue()
    channel.queue_declare(queue)
    arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
    channel.queue_declare(full, arguments=arguments)
    for body in (b"1", b"2", b"3", b"4"):
        tx.basic_publish("", full, body)
    tx.basic_publish("", queue, b"5")
    with refused(406, "partial tx completion"):
        tx.tx_commit()
    assert take(channel, queue, 1) == [b"5"]
    assert take(channel, full)[:2] == [b"1", b"2"]


def test_copies_in_a_transaction(tx, channel, names):
    queues = [names.queue() for _ in range(3)]
    for queue in queues:
        channel.queue_declare(queue)
    headers = {"CC": [queues[1]], "BCC": [queues[2]]}
    tx.basic_publish("", queues[0], b"m", pika.BasicProperties(headers=headers))
    catch_up(tx)
    assert [ready(channel, queue) for queue in queues] == [0, 0, 0]
    tx.tx_commit()
    for queue in queues:
        assert channel.basic_get(queue, auto_ack=True)[1].headers == {"CC": [queues[1]]}


@pytest.mark.parametrize("request_", ["tx.commit", "tx.rollback"])
def test_a_channel_without_transactions(raw, request_):
    client = raw()
    client.channel(1)
    client.send(request_, 1)
    close = client.expect_channel_close(1, 406, request_)
    assert close.reply_text == "PRECONDITION_FAILED - channel is not transactional"


def test_confirms_and_transactions_exclude_each_other(raw):
    client = raw()
    client.channel(1)
    client.call("confirm.select", 1)
    client.send("tx.select", 1)
    close = client.expect_channel_close(1, 406, "tx.select")
    assert close.reply_text == "PRECONDITION_FAILED - cannot switch from confirm to tx mode"
    client.channel(2)
    client.call("tx.select", 2)
    client.send("confirm.select", 2)
    close = client.expect_channel_close(2, 406, "confirm.select")
    assert close.reply_text == "PRECONDITION_FAILED - cannot switch from tx to confirm mode"


def test_transactions_belong_to_a_channel(connection, tx, channel, queue):
    other = connection.channel()
    other.tx_select()
    tx.basic_publish("", queue, b"3")
    other.basic_publish("", queue, b"4")
    other.tx_commit()
    assert ready(channel, queue) == 4
    tx.tx_commit()
    assert take(channel, queue)[3:] == [b"4", b"3"]


@pytest.mark.postroom_only(reason="RabbitMQ has no limit for transactions")
def test_what_a_transaction_holds_is_limited(connection, tx, channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    with refused(406, "hold more than 67108864 bytes: commit more often"):
        for _ in range(70):
            tx.basic_publish("", queue, bytes(1 << 20))
        tx.tx_commit()
    assert ready(channel, queue) == 0
    again = connection.channel()
    again.tx_select()
    for _ in range(2):
        for _ in range(40):
            again.basic_publish("", queue, bytes(1 << 20))
        again.tx_commit()
    assert ready(channel, queue) == 80
    channel.queue_purge(queue)


def test_a_crash_keeps_all_of_a_transaction_or_nothing(own_server):
    """Tokens move from queue to queue, several in a transaction, while the broker is killed."""
    stems = [f"moved-{number}" for number in range(3)]
    tokens = {str(number).encode() for number in range(60)}
    setup = pika.BlockingConnection(pika.URLParameters(own_server.url)).channel()
    for queue in stems:
        setup.queue_declare(queue, durable=True)
    setup.tx_select()
    for token in sorted(tokens):
        setup.basic_publish("", stems[0], token, PERSISTENT)
    setup.tx_commit()
    dice = random.Random(7)
    moved = 0
    for _ in range(12):
        told = itertools.count()
        movers = [
            threading.Thread(target=move_tokens, args=(own_server.url, stems, seed, told))
            for seed in (dice.random(), dice.random())
        ]
        for mover in movers:
            mover.start()
        threading.Event().wait(dice.uniform(0.05, 0.4))
        own_server.kill()
        for mover in movers:
            mover.join(20)
            assert not mover.is_alive()
        own_server.start()
        moved += next(told)
        found = look_at_all(own_server.url, stems)
        assert sorted(found) == sorted(tokens), "every token is in one queue"
    assert moved > 50, "there was something to interrupt"


def move_tokens(url, stems, seed, told):
    """Moves tokens until the broker is gone, counting the commits it was told of."""
    dice = random.Random(seed)
    try:
        client = RawConnection.open(url)
        client.channel(1)
        client.call("tx.select", 1)
        while True:
            source, *targets = dice.sample(stems, 3)
            for _ in range(dice.randint(1, 6)):
                client.send("basic.get", 1, queue=source)
                got = client.next_method()
                if got.name == "basic.get-empty":
                    break
                client.publish(1, dice.choice(targets), got.body, properties=b"\x10\0\x02")
                client.send("basic.ack", 1, delivery_tag=got.delivery_tag)
            client.call("tx.commit", 1)
            next(told)
    except (SocketClosed, OSError):
        return


def look_at_all(url, stems):
    """What the queues hold, without taking it."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    found = []
    for queue in stems:
        while (got := channel.basic_get(queue))[0]:
            found.append(got[2])
    connection.close()
    return found
