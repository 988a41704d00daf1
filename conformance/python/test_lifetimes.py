"""Durable, exclusive, auto-delete and every mixture: what ends a queue, and what does not."""

import itertools
import time

import pika
import pytest

from raw import RawConnection
from steps import counts, eventually, parameters, publish_and_wait, refused, take

# durable, exclusive, auto_delete
ALL = list(itertools.product([False, True], repeat=3))


def settings(durable, exclusive, auto_delete):
    return {"durable": durable, "exclusive": exclusive, "auto_delete": auto_delete}


def shown(combination):
    words = ["durable", "exclusive", "auto-delete"]
    return "+".join(word for word, set_ in zip(words, combination, strict=True) if set_) or "plain"


def named(names, exclusive):
    """A name that is removed after the test, unless the queue goes with its connection."""
    return names.stem if exclusive else names.queue()


every = pytest.mark.parametrize("combination", ALL, ids=shown)


def exists(connection, queue):
    """Whether anybody can see the queue; somebody else's exclusive one is there too."""
    connection.channel(9)
    connection.send("queue.declare", 9, queue=queue, passive=True)
    answer = connection.next_method()
    if answer.name == "queue.declare-ok":
        connection.call("channel.close", 9, reply_code=200)
        return True
    assert answer.name == "channel.close"
    connection.send("channel.close-ok", 9)
    assert answer.reply_code in (404, 405), answer.reply_text
    return answer.reply_code == 405


@pytest.fixture
def watcher(raw):
    return raw()


@pytest.fixture
def owner(raw):
    """A connection with channels 1 and 2 that declares the queue under test."""
    connection = raw()
    connection.channel(1)
    connection.channel(2)
    return connection


def end(connection, how):
    if how == "close":
        connection.call("connection.close", 0, reply_code=200)
    else:
        connection.abort()


@every
def test_each_can_be_declared_used_and_declared_again(owner, names, combination):
    queue = named(names, combination[1])
    given = settings(*combination)
    owner.call("queue.declare", 1, queue=queue, **given)
    owner.call("queue.bind", 1, queue=queue, exchange="amq.direct", routing_key=queue)
    owner.publish(1, queue, b"m", exchange="amq.direct")
    owner.works(1)
    answer = owner.call("queue.declare", 2, queue=queue, **given)
    assert (answer.message_count, answer.consumer_count) == (1, 0)
    assert owner.call("queue.delete", 2, queue=queue).message_count == 1


@every
def test_each_setting_must_be_the_same_again(owner, names, combination):
    """But who owns a queue may leave out `durable`, which means nothing for an exclusive one."""
    queue = named(names, combination[1])
    owner.call("queue.declare", 1, queue=queue, **settings(*combination))
    durable, exclusive, auto_delete = combination
    changes = [("auto_delete", auto_delete, settings(durable, exclusive, not auto_delete))]
    if exclusive:
        owner.call("queue.declare", 1, queue=queue, **settings(not durable, True, auto_delete))
    else:
        changes.append(("durable", durable, settings(not durable, False, auto_delete)))
    for name, value, changed in changes:
        owner.channel(3)
        owner.send("queue.declare", 3, queue=queue, **changed)
        close = owner.expect_channel_close(3, 406, "queue.declare")
        assert close.reply_text == (
            f"PRECONDITION_FAILED - inequivalent arg '{name}' for queue '{queue}' in vhost '/': "
            f"received '{str(not value).lower()}' but current is '{str(value).lower()}'"
        )
    if not exclusive:
        owner.channel(3)
        owner.send("queue.declare", 3, queue=queue, **settings(durable, True, auto_delete))
        owner.expect_channel_close(3, 405, "queue.declare")


@every
@pytest.mark.parametrize("how", ["close", "abort"])
def test_the_connection_that_declared_it_goes(owner, watcher, names, combination, how):
    queue = named(names, combination[1])
    owner.call("queue.declare", 1, queue=queue, **settings(*combination))
    owner.publish(1, queue, b"m")
    owner.works(1)
    end(owner, how)
    if combination[1]:
        eventually(lambda: not exists(watcher, queue))
    else:
        time.sleep(0.1)
        assert exists(watcher, queue), "nobody consumed from it, and it is nobody's own"


@every
@pytest.mark.parametrize("how", ["cancel", "channel", "close", "abort"])
def test_the_last_consumer_goes(owner, watcher, names, combination, how):
    queue = named(names, combination[1])
    _, exclusive, auto_delete = combination
    owner.call("queue.declare", 1, queue=queue, **settings(*combination))
    owner.call("basic.consume", 1, queue=queue, consumer_tag="t")
    owner.publish(1, queue, b"m")
    owner.expect("basic.deliver", 1)
    if how == "cancel":
        owner.call("basic.cancel", 1, consumer_tag="t")
    elif how == "channel":
        owner.call("channel.close", 1, reply_code=200)
    else:
        end(owner, how)
    goes = auto_delete or (exclusive and how in ("close", "abort"))
    if goes:
        eventually(lambda: not exists(watcher, queue))
    else:
        time.sleep(0.05)
        assert exists(watcher, queue)


@pytest.mark.parametrize("durable", [False, True])
def test_auto_delete_waits_for_the_very_last(raw, watcher, names, durable):
    queue = names.queue()
    consumers = [raw() for _ in range(3)]
    for connection in consumers:
        connection.channel(1)
        connection.call("queue.declare", 1, queue=queue, durable=durable, auto_delete=True)
        connection.call("basic.consume", 1, queue=queue)
    for connection in consumers[:2]:
        end(connection, "close")
        assert exists(watcher, queue)
    end(consumers[2], "abort")
    eventually(lambda: not exists(watcher, queue))


def test_auto_delete_ignores_get(owner, watcher, names):
    queue = names.queue()
    owner.call("queue.declare", 1, queue=queue, auto_delete=True)
    owner.publish(1, queue, b"m")
    owner.works(1)
    owner.send("basic.get", 1, queue=queue)
    owner.expect("basic.get-ok", 1)
    end(owner, "close")
    assert exists(watcher, queue)
    watcher.channel(1)
    assert watcher.call("queue.purge", 1, queue=queue).message_count == 1


def test_auto_delete_drops_messages_and_does_not_dead_letter(channel, names):
    grave, queue = names.queue(), names.queue()
    channel.queue_declare(grave)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave}
    channel.queue_declare(queue, auto_delete=True, arguments=arguments)
    other = channel.connection.channel()
    other.basic_qos(prefetch_count=1)
    other.basic_consume(queue, lambda *_: None)
    publish_and_wait(channel, "", queue, b"1", b"2")
    other.close()
    with refused(404):
        channel.connection.channel().queue_declare(queue, passive=True)
    time.sleep(0.1)
    assert counts(channel, grave)[0] == 0


def test_an_exclusive_queue_with_messages_ends_without_dead_letters(connect, names):
    watcher = connect().channel()
    grave = names.queue()
    watcher.queue_declare(grave)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave}
    connection = connect()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    publish_and_wait(channel, "", queue, b"m")
    connection.close()
    time.sleep(0.1)
    assert counts(watcher, grave)[0] == 0


@pytest.mark.parametrize("durable", [False, True])
def test_an_exclusive_queue_is_locked_for_every_method(owner, raw, names, durable):
    queue = names.stem
    owner.call("queue.declare", 1, queue=queue, durable=durable, exclusive=True)
    owner.call("queue.bind", 1, queue=queue, exchange="amq.fanout")
    other = raw()
    for method, fields in [
        ("queue.declare", {"durable": durable, "exclusive": True}),
        ("queue.declare", {"passive": True}),
        ("queue.bind", {"exchange": "amq.fanout"}),
        ("queue.unbind", {"exchange": "amq.fanout"}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("basic.consume", {}),
        ("basic.get", {}),
    ]:
        other.channel(1)
        other.send(method, 1, queue=queue, **fields)
        close = other.expect_channel_close(1, 405, method)
        assert close.reply_text == (
            f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in "
            "vhost '/'. It could be originally declared on another connection or the exclusive "
            "property value does not match that of the original declaration."
        )


def test_the_name_of_an_exclusive_queue_is_free_again_at_once(raw, names):
    queue = names.stem
    for _ in range(20):
        connection = raw()
        connection.channel(1)
        connection.call("queue.declare", 1, queue=queue, exclusive=True)
        connection.publish(1, queue, b"m")
        connection.works(1)
        end(connection, "close")
    last = raw()
    last.channel(1)
    assert last.call("queue.declare", 1, queue=queue).message_count == 0


def test_many_exclusive_queues_end_with_their_connection(raw, watcher, names):
    connection = raw()
    connection.channel(1)
    queues = [f"{names.stem}-{n}" for n in range(200)]
    for queue in queues:
        connection.send("queue.declare", 1, queue=queue, exclusive=True)
    for _ in queues:
        connection.expect("queue.declare-ok", 1)
    end(connection, "abort")
    eventually(lambda: not any(exists(watcher, queue) for queue in queues[-3:]))
    assert not any(exists(watcher, queue) for queue in queues)


# --- across a restart ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
@pytest.mark.parametrize("consumed", [False, True], ids=["untouched", "consumed"])
def test_what_is_there_after_a_restart(own_server, how, consumed):
    """Only what is durable and nobody's own.

    A clean stop may close a consumer before the queues are shut, and then an auto-delete queue
    ends with it.
    """
    connection = RawConnection.open(own_server.url)
    connection.channel(1)
    connection.call("confirm.select", 1)
    for combination in ALL:
        queue = shown(combination)
        connection.call("queue.declare", 1, queue=queue, **settings(*combination))
        connection.call("queue.bind", 1, queue=queue, exchange="amq.direct", routing_key="all")
        if consumed:
            connection.call("basic.consume", 1, queue=queue, consumer_tag=queue)
    getattr(own_server, how)()
    connection.close()
    connection = RawConnection.open(own_server.url)
    there = {combination for combination in ALL if exists(connection, shown(combination))}
    wanted = {c for c in ALL if c[0] and not c[1]}
    if consumed and how == "restart":
        wanted = {c for c in wanted if not c[2]} | (there & wanted)
    assert there == wanted
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.confirm_delivery()
    channel.basic_publish("amq.direct", "all", b"m", pika.BasicProperties(delivery_mode=2))
    for combination in there:
        assert take(channel, shown(combination)) == [b"m"]


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
def test_an_auto_delete_queue_still_goes_with_its_last_consumer_after_a_restart(own_server, how):
    connection = RawConnection.open(own_server.url)
    connection.channel(1)
    connection.call("queue.declare", 1, queue="q", durable=True, auto_delete=True)
    end(connection, "close")
    getattr(own_server, how)()
    connection = RawConnection.open(own_server.url)
    connection.channel(1)
    assert exists(connection, "q"), "it waits for a first consumer"
    connection.call("basic.consume", 1, queue="q", consumer_tag="t")
    connection.call("basic.cancel", 1, consumer_tag="t")
    assert not exists(connection, "q")
    connection.call("queue.declare", 1, queue="later", durable=True)
    own_server.kill_and_start()
    assert not exists(RawConnection.open(own_server.url), "q")


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
def test_transient_queues_take_their_bindings_and_messages_along(own_server, how):
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.exchange_declare("keeps", "fanout", durable=True)
    channel.queue_declare("transient", durable=False)
    channel.queue_bind("transient", "keeps")
    channel.confirm_delivery()
    channel.basic_publish("keeps", "", b"m", pika.BasicProperties(delivery_mode=2))
    getattr(own_server, how)()
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.queue_declare("transient", durable=True)
    assert counts(channel, "transient") == (0, 0), "a new queue, though of the same name"
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("keeps", "", b"m", mandatory=True)
