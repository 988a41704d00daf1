"""Which of a queue's consumers gets a message: priorities, a single active one, exclusive ones; and
what becomes of a consumer whose queue goes or who takes too long."""

import asyncio
import struct
import time

import aio_pika
import pytest

import wire
from broker import Postroom
from raw import CAPABILITIES, RawConnection
from steps import (
    Collector,
    catch_up,
    counts,
    publish_and_wait,
    refused,
    take,
)

TYPES = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}


@pytest.fixture(params=TYPES)
def kind(request):
    """Arguments of either type of queue."""
    return TYPES[request.param]


def declare(channel, names, arguments=None):
    queue = names.queue()
    channel.queue_declare(queue, durable=True, arguments=arguments)
    return queue


def bodies(collectors):
    return [collector.bodies for collector in collectors]


def wait_for(connection, collectors, count, seconds=5):
    """Serve the connection until that many deliveries are there in all."""
    deadline = time.monotonic() + seconds
    while sum(map(len, bodies(collectors))) < count:
        assert time.monotonic() < deadline, bodies(collectors)
        connection.process_data_events(time_limit=0.05)


# --- x-priority ----------------------------------------------------------------------------------


def consuming(connection, queue, priority, prefetch=0, auto_ack=True):
    """A consumer of that priority on a channel of its own."""
    channel, collector = connection.channel(), Collector()
    channel.basic_qos(prefetch_count=prefetch)
    arguments = None if priority is None else {"x-priority": priority}
    collector.tag = channel.basic_consume(queue, collector, auto_ack=auto_ack, arguments=arguments)
    collector.channel = channel
    return collector


@pytest.mark.parametrize("order", [(0, 10, -10), (10, 0, -10), (-10, 0, 10)])
def test_the_highest_priority_gets_all_it_can_take(connection, names, kind, order):
    channel = connection.channel()
    queue = declare(channel, names, kind)
    collectors = {priority: consuming(connection, queue, priority) for priority in order}
    publish_and_wait(channel, "", queue, *[b"%d" % n for n in range(10)])
    wait_for(connection, collectors.values(), 10)
    assert collectors[10].bodies == [b"%d" % n for n in range(10)]
    assert collectors[0].bodies == collectors[-10].bodies == []


def test_none_is_zero(connection, names, kind):
    channel = connection.channel()
    queue = declare(channel, names, kind)
    collectors = [consuming(connection, queue, priority) for priority in (None, -1, 1)]
    publish_and_wait(channel, "", queue, b"1")
    wait_for(connection, collectors, 1)
    collectors[2].channel.close()
    publish_and_wait(channel, "", queue, b"2")
    wait_for(connection, collectors, 2)
    assert bodies(collectors) == [[b"2"], [], [b"1"]]


def test_a_full_prefetch_lets_the_next_one_have_it(connection, names, kind):
    channel = connection.channel()
    queue = declare(channel, names, kind)
    high = consuming(connection, queue, 10, prefetch=2, auto_ack=False)
    middle = consuming(connection, queue, 5, prefetch=1, auto_ack=False)
    low = consuming(connection, queue, 0, prefetch=10, auto_ack=False)
    for n in range(6):
        publish_and_wait(channel, "", queue, b"%d" % n)
    wait_for(connection, [high, middle, low], 6)
    assert bodies([high, middle, low]) == [[b"0", b"1"], [b"2"], [b"3", b"4", b"5"]]
    high.channel.basic_ack(high.deliveries[0].delivery_tag)
    catch_up(high.channel)
    publish_and_wait(channel, "", queue, b"6")
    wait_for(connection, [high, middle, low], 7)
    assert high.bodies == [b"0", b"1", b"6"]


def test_equals_take_turns(connection, names):
    channel = connection.channel()
    queue = declare(channel, names)
    collectors = [consuming(connection, queue, 7) for _ in range(3)]
    idle = consuming(connection, queue, 1)
    for n in range(9):
        publish_and_wait(channel, "", queue, b"%d" % n)
    wait_for(connection, [*collectors, idle], 9)
    assert sorted(map(len, bodies(collectors))) == [3, 3, 3]
    assert idle.bodies == []
    assert sorted(sum(bodies(collectors), [])) == [b"%d" % n for n in range(9)]


def test_a_higher_one_that_comes_later_is_served_first_from_then_on(connection, names):
    channel = connection.channel()
    queue = declare(channel, names)
    low = consuming(connection, queue, 0)
    publish_and_wait(channel, "", queue, b"1")
    wait_for(connection, [low], 1)
    high = consuming(connection, queue, 1)
    publish_and_wait(channel, "", queue, b"2")
    wait_for(connection, [low, high], 2)
    high.channel.basic_cancel(high.tag)
    publish_and_wait(channel, "", queue, b"3")
    wait_for(connection, [low, high], 3)
    assert bodies([low, high]) == [[b"1", b"3"], [b"2"]]


@pytest.mark.parametrize(
    "value, type_",
    [
        ("5", "longstr"),
        (True, "bool"),
        (1.5, "double"),
        (None, "void"),
        ([1], "array"),
        ({"a": 1}, "table"),
    ],
)
def test_a_priority_is_an_integer(pair, value, type_):
    connection, queue = pair
    connection.send("basic.consume", 1, queue=queue, arguments={"x-priority": value})
    close = connection.expect_channel_close(1, 406, "basic.consume")
    assert close.reply_text == (
        f"PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': "
        f'"expected integer, got {type_}"'
    )


@pytest.mark.parametrize(
    "kind, layout",
    [("b", ">b"), ("B", ">B"), ("s", ">h"), ("u", ">H"), ("I", ">i"), ("i", ">I"), ("l", ">q")],
)
def test_a_priority_of_every_integer_type(pair, kind, layout):
    connection, queue = pair
    raw = wire.short_string("x-priority") + kind.encode() + struct.pack(layout, 3)
    connection.call("basic.consume", 1, queue=queue, arguments=wire.Raw(raw))


@pytest.mark.parametrize("value", [-(2**31), 2**31, 2**40])
def test_priorities_of_any_size(pair, value):
    connection, queue = pair
    connection.call("basic.consume", 1, queue=queue, arguments={"x-priority": value})


def test_unknown_consumer_arguments_count_for_nothing(pair):
    connection, queue = pair
    arguments = {"x-odd": [1], "odd": None, "x-cancel-on-ha-failover": True}
    connection.call("basic.consume", 1, queue=queue, arguments=arguments)


def test_priorities_with_aio_pika(server, names):
    async def run():
        connection = await aio_pika.connect(server.url)
        async with connection:
            queue_name, got = names.queue(), {0: [], 5: []}
            for priority in got:
                channel = await connection.channel()
                queue = await channel.declare_queue(queue_name, durable=True)

                async def on_message(message, seen=got[priority]):
                    seen.append(message.body)
                    await message.ack()

                await queue.consume(on_message, arguments={"x-priority": priority})
            for n in range(5):
                await channel.default_exchange.publish(aio_pika.Message(b"%d" % n), queue_name)
            for _ in range(100):
                if len(got[5]) == 5:
                    break
                await asyncio.sleep(0.02)
            assert got == {0: [], 5: [b"0", b"1", b"2", b"3", b"4"]}

    asyncio.run(run())


# --- a single active consumer --------------------------------------------------------------------

SINGLE = {"x-single-active-consumer": True}


def test_only_the_first_is_served(connection, names, kind):
    channel = connection.channel()
    queue = declare(channel, names, kind | SINGLE)
    collectors = [consuming(connection, queue, None) for _ in range(3)]
    publish_and_wait(channel, "", queue, *[b"%d" % n for n in range(6)])
    wait_for(connection, collectors, 6)
    assert bodies(collectors) == [[b"%d" % n for n in range(6)], [], []]
    if not kind:  # a quorum queue of RabbitMQ counts the active one alone
        assert counts(channel, queue)[1] == 3


def test_waiting_ones_get_nothing_even_if_the_active_one_is_full(connection, names, kind):
    channel = connection.channel()
    queue = declare(channel, names, kind | SINGLE)
    active = consuming(connection, queue, None, prefetch=1, auto_ack=False)
    waiting = consuming(connection, queue, None)
    publish_and_wait(channel, "", queue, b"1", b"2")
    wait_for(connection, [active, waiting], 1)
    active.settle_down(connection, 0.2)
    assert bodies([active, waiting]) == [[b"1"], []]
    active.channel.basic_ack(active.deliveries[0].delivery_tag)
    wait_for(connection, [active, waiting], 2)
    assert bodies([active, waiting]) == [[b"1", b"2"], []]


@pytest.mark.parametrize("ending", ["cancel", "channel"])
def test_the_next_takes_over(connection, names, kind, ending):
    channel = connection.channel()
    queue = declare(channel, names, kind | SINGLE)
    collectors = [consuming(connection, queue, None) for _ in range(3)]
    for n, leaving in enumerate(collectors):
        publish_and_wait(channel, "", queue, b"%d" % n)
        wait_for(connection, collectors, n + 1)
        if ending == "cancel":
            leaving.channel.basic_cancel(leaving.tag)
        else:
            leaving.channel.close()
    assert bodies(collectors) == [[b"0"], [b"1"], [b"2"]]


@pytest.mark.parametrize("ending", ["channel", "connection", "abort"])
def test_what_the_former_held_comes_first(connect, raw, names, kind, ending):
    other = connect()
    channel = other.channel()
    queue = declare(channel, names, kind | SINGLE)
    former = raw()
    former.channel(1)
    former.call("basic.qos", 1, prefetch_count=2)
    former.call("basic.consume", 1, queue=queue)
    waiting = consuming(other, queue, None)
    publish_and_wait(channel, "", queue, *[b"%d" % n for n in range(5)])
    assert [former.expect("basic.deliver", 1).body for _ in range(2)] == [b"0", b"1"]
    assert waiting.settle_down(other, 0.1).bodies == []
    if ending == "channel":
        former.call("channel.close", 1, reply_code=200)
    elif ending == "connection":
        former.call("connection.close", 0, reply_code=200)
    else:
        former.abort()
    waiting.wait(other, 5)
    assert waiting.bodies == [b"%d" % n for n in range(5)]
    assert [method.redelivered for method in waiting.deliveries] == [True] * 2 + [False] * 3


def test_what_a_cancelled_one_holds_stays_with_it(connection, names):
    channel = connection.channel()
    queue = declare(channel, names, SINGLE)
    former = consuming(connection, queue, None, auto_ack=False)
    waiting = consuming(connection, queue, None)
    publish_and_wait(channel, "", queue, b"1", b"2")
    wait_for(connection, [former], 2)
    former.channel.basic_cancel(former.tag)
    publish_and_wait(channel, "", queue, b"3")
    waiting.wait(connection, 1)
    former.channel.basic_nack(former.deliveries[0].delivery_tag, requeue=True)
    former.channel.basic_ack(former.deliveries[1].delivery_tag)
    waiting.wait(connection, 2).settle_down(connection, 0.1)
    assert waiting.bodies == [b"3", b"1"]


def test_a_higher_priority_does_not_take_over_from_a_classic_queues_active_one(connection, names):
    channel = connection.channel()
    queue = declare(channel, names, SINGLE)
    collectors = [consuming(connection, queue, priority) for priority in (0, 10)]
    publish_and_wait(channel, "", queue, b"1", b"2")
    wait_for(connection, collectors, 2)
    assert bodies(collectors) == [[b"1", b"2"], []]


def test_the_highest_of_those_waiting_takes_over(connection, names):
    channel = connection.channel()
    queue = declare(channel, names, SINGLE)
    collectors = [consuming(connection, queue, priority) for priority in (0, 1, 5, 5)]
    collectors[0].channel.basic_cancel(collectors[0].tag)
    publish_and_wait(channel, "", queue, b"1")
    wait_for(connection, collectors, 1)
    assert bodies(collectors) == [[], [], [b"1"], []]


def test_nobody_consumes_a_single_active_queue_exclusively(connection, names):
    channel = connection.channel()
    queue = declare(channel, names, SINGLE)
    with refused(403, f"queue '{queue}' in vhost '/' in exclusive use"):
        channel.basic_consume(queue, Collector(), exclusive=True)


def test_false_is_as_none(connection, names):
    channel = connection.channel()
    queue = declare(channel, names, {"x-single-active-consumer": False})
    collectors = [consuming(connection, queue, None, prefetch=1, auto_ack=False) for _ in "ab"]
    publish_and_wait(channel, "", queue, b"1", b"2")
    wait_for(connection, collectors, 2)
    assert sorted(map(len, bodies(collectors))) == [1, 1]


def test_order_is_kept_over_many_hand_overs(connect, names):
    """Each consumer dies with messages in hand; the next sees them in the order of the queue."""
    watcher = connect()
    channel = watcher.channel()
    queue = declare(channel, names, SINGLE)
    publish_and_wait(channel, "", queue, *[b"%d" % n for n in range(40)])
    done = []
    for _ in range(8):
        connection = connect()
        collector = consuming(connection, queue, None, prefetch=10, auto_ack=False)
        collector.wait(connection, min(10, 40 - len(done)))
        for method, body in list(zip(collector.deliveries, collector.bodies, strict=True))[:5]:
            collector.channel.basic_ack(method.delivery_tag)
            done.append(body)
        connection.close()
    assert done == [b"%d" % n for n in range(40)]


# --- exclusive consumers -------------------------------------------------------------------------


def test_an_exclusive_consumer_is_alone_until_it_goes(connect, names):
    first, second = connect(), connect()
    queue = declare(first.channel(), names)
    owner = first.channel()
    tag = owner.basic_consume(queue, Collector(), exclusive=True)
    for exclusive in (False, True):
        with refused(403, f"queue '{queue}' in vhost '/' in exclusive use"):
            second.channel().basic_consume(queue, Collector(), exclusive=exclusive)
    owner.basic_cancel(tag)
    second.channel().basic_consume(queue, Collector(), exclusive=True)


def test_get_does_not_mind_an_exclusive_consumer(connect, names):
    first, second = connect(), connect()
    channel = first.channel()
    queue = declare(channel, names)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, Collector(), exclusive=True)
    publish_and_wait(channel, "", queue, b"1", b"2")
    first.process_data_events(time_limit=0.1)
    assert take(second.channel(), queue, 1) == [b"2"]


# --- notices -------------------------------------------------------------------------------------


def test_every_consumer_hears_of_the_end_of_its_queue(raw, names, kind):
    owner, other = raw(), raw()
    queue = names.queue()
    for connection in (owner, other):
        connection.channel(1)
    owner.call("queue.declare", 1, queue=queue, durable=True, arguments=kind)
    owner.call("basic.consume", 1, queue=queue, consumer_tag="mine")
    other.call("basic.consume", 1, queue=queue, consumer_tag="first")
    other.call("basic.consume", 1, queue=queue, consumer_tag="second", no_ack=True)
    owner.send("queue.delete", 1, queue=queue)
    heard = {(method.name, method.fields.get("consumer_tag")) for method in owner.next_methods(2)}
    assert heard == {("basic.cancel", "mine"), ("queue.delete-ok", None)}
    heard = {(method.name, method.consumer_tag) for method in other.next_methods(2)}
    assert heard == {("basic.cancel", "first"), ("basic.cancel", "second")}
    other.works(1)


def test_the_end_of_an_exclusive_queue_is_told_nobody_but_its_owner(raw, names):
    owner = raw()
    owner.channel(1)
    queue = names.stem
    owner.call("queue.declare", 1, queue=queue, exclusive=True)
    owner.call("basic.consume", 1, queue=queue, consumer_tag="t")
    owner.send("queue.delete", 1, queue=queue, no_wait=True)
    assert owner.expect("basic.cancel", 1).consumer_tag == "t"
    owner.call("basic.consume", 1, queue=declare_raw(owner, names), consumer_tag="t")


def declare_raw(connection, names, **arguments):
    queue = names.queue()
    given = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
    connection.call("queue.declare", 1, queue=queue, durable=True, arguments=given)
    return queue


# --- consumers that take too long ----------------------------------------------------------------

TIMEOUTS = "RabbitMQ before 3.12 knows no timeout of a queue, and looks once a minute"
WAIT = 6  # seconds until a timeout of one second must have been noticed


@pytest.mark.postroom_only(reason=TIMEOUTS)
@pytest.mark.parametrize("type_", ["quorum", "classic"])
def test_a_slow_consumer_is_cancelled(raw, names, type_):
    connection = raw()
    connection.channel(1)
    queue = declare_raw(connection, names, queue_type=type_, consumer_timeout=1000)
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue, consumer_tag="slow")
    connection.publish(1, queue, b"1")
    connection.publish(1, queue, b"2")
    delivery = connection.expect("basic.deliver", 1)
    started = time.monotonic()
    assert connection.expect("basic.cancel", 1, WAIT).consumer_tag == "slow"
    assert time.monotonic() - started >= 0.9
    connection.send("basic.ack", 1, delivery_tag=delivery.delivery_tag)
    connection.works(1)  # the late ack is ignored
    connection.call("basic.consume", 1, queue=queue, consumer_tag="again")
    again = connection.expect("basic.deliver", 1)
    assert (again.body, again.redelivered) == (b"1", True)
    connection.send("basic.ack", 1, delivery_tag=again.delivery_tag)
    assert connection.expect("basic.deliver", 1).body == b"2"


@pytest.mark.postroom_only(reason=TIMEOUTS)
def test_a_slow_consumer_that_knows_no_notice_loses_its_channel(raw, names):
    connection = raw(capabilities=CAPABILITIES | {"consumer_cancel_notify": False})
    connection.channel(1)
    connection.channel(2)
    queue = declare_raw(connection, names, queue_type="quorum", consumer_timeout=1000)
    connection.call("basic.consume", 1, queue=queue)
    connection.publish(2, queue, b"1")
    connection.expect("basic.deliver", 1)
    close = connection.expect_channel_close(1, 406, seconds=WAIT)
    assert "delivery acknowledgement on channel 1 timed out" in close.reply_text
    connection.send("basic.get", 2, queue=queue)
    assert connection.expect("basic.get-ok", 2).redelivered


@pytest.mark.postroom_only(reason=TIMEOUTS)
def test_the_argument_of_a_consumer_wins(raw, names):
    connection = raw()
    connection.channel(1)
    queue = declare_raw(connection, names, queue_type="quorum", consumer_timeout=1000)
    patient = {"x-consumer-timeout": 60_000}
    connection.call("basic.consume", 1, queue=queue, consumer_tag="patient", arguments=patient)
    other = declare_raw(connection, names, queue_type="quorum")
    hasty = {"x-consumer-timeout": 1000}
    connection.call("basic.consume", 1, queue=other, consumer_tag="hasty", arguments=hasty)
    connection.publish(1, queue, b"1")
    connection.publish(1, other, b"1")
    connection.next_methods(2)
    assert connection.expect("basic.cancel", 1, WAIT).consumer_tag == "hasty"
    connection.expect_nothing(1)


@pytest.mark.postroom_only(reason=TIMEOUTS)
def test_who_settles_in_time_is_left_alone(raw, names):
    connection = raw()
    connection.channel(1)
    queue = declare_raw(connection, names, queue_type="quorum", consumer_timeout=1500)
    connection.call("basic.qos", 1, prefetch_count=1)
    connection.call("basic.consume", 1, queue=queue)
    for _ in range(5):
        connection.publish(1, queue, b"m")
    for _ in range(5):
        tag = connection.expect("basic.deliver", 1).delivery_tag
        time.sleep(0.6)
        connection.send("basic.ack", 1, delivery_tag=tag)
    connection.works(1)


@pytest.mark.postroom_only(reason=TIMEOUTS)
def test_with_no_ack_there_is_nothing_to_be_late_with(raw, names):
    connection = raw()
    connection.channel(1)
    queue = declare_raw(connection, names, queue_type="quorum", consumer_timeout=500)
    connection.call("basic.consume", 1, queue=queue, no_ack=True)
    connection.publish(1, queue, b"1")
    connection.expect("basic.deliver", 1)
    connection.expect_nothing(2.5)


@pytest.mark.postroom_only(reason=TIMEOUTS)
def test_pika_hears_of_it(connection, names):
    channel = connection.channel()
    queue = names.queue()
    arguments = {"x-queue-type": "quorum", "x-consumer-timeout": 1000}
    channel.queue_declare(queue, durable=True, arguments=arguments)
    cancelled, collector = [], Collector()
    channel.add_on_cancel_callback(cancelled.append)
    tag = channel.basic_consume(queue, collector)
    publish_and_wait(connection.channel(), "", queue, b"m")
    deadline = time.monotonic() + WAIT
    while not cancelled:
        assert time.monotonic() < deadline
        connection.process_data_events(time_limit=0.05)
    assert cancelled[0].method.consumer_tag == tag
    assert take(connection.channel(), queue, 1) == [b"m"]


def test_the_timeout_of_the_broker(tmp_path, session_server):
    """It holds for quorum queues that have none of their own, and for no classic queue."""
    if not session_server.is_postroom:
        pytest.skip("needs a Postroom of its own")
    server = Postroom(tmp_path, ["--consumer-timeout-ms", "1000"]).start()
    try:
        connection = RawConnection.open(server.url)
        connection.channel(1)
        quorum = {"x-queue-type": "quorum"}
        cases = {"plain": quorum, "none": quorum | {"x-consumer-timeout": 0}, "classic": {}}
        for name, arguments in cases.items():
            connection.call("queue.declare", 1, queue=name, durable=True, arguments=arguments)
            connection.call("basic.consume", 1, queue=name, consumer_tag=name)
            connection.publish(1, name, b"m")
            assert connection.expect("basic.deliver", 1).consumer_tag == name
        assert connection.expect("basic.cancel", 1, WAIT).consumer_tag == "plain"
        connection.expect_nothing(1)
        connection.close()
    finally:
        server.kill()
