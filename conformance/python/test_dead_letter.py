"""Dead-lettering: why a message dies, where it goes, and what its headers tell of it."""

import asyncio
import datetime
import time

import aio_pika
import pika
import pytest

import wire
from dying import (
    deaths,
    die_returned,
    grave,  # noqa: F401 (a fixture)
    rejected,
    source,
    taken,
    to_queue,
)
from steps import Collector, counts, eventually, parameters, publish_and_wait, take


# --- reasons -------------------------------------------------------------------------------------


def die_rejected(channel, queue):
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)


def die_nacked(channel, queue):
    publish_and_wait(channel, "", queue, b"m")
    channel.basic_nack(channel.basic_get(queue)[0].delivery_tag, requeue=False)


def die_of_old_age(channel, queue):
    publish_and_wait(channel, "", queue, b"m", properties=pika.BasicProperties(expiration="20"))


def die_of_length(channel, queue):
    publish_and_wait(channel, "", queue, b"m", b"n")


REASONS = {
    "rejected": (die_rejected, {}, "rejected"),
    "nacked": (die_nacked, {}, "rejected"),
    "expired": (die_of_old_age, {}, "expired"),
    "queue-ttl": (lambda c, q: publish_and_wait(c, "", q, b"m"), {"message_ttl": 20}, "expired"),
    "maxlen": (die_of_length, {"max_length": 1}, "maxlen"),
    "maxlen-bytes": (die_of_length, {"max_length_bytes": 1}, "maxlen"),
    "delivery-limit": (
        die_returned,
        {"delivery_limit": 1},
        "delivery_limit",
    ),
}


@pytest.mark.parametrize(
    "kind, how",
    [("quorum", how) for how in REASONS]
    + [("classic", how) for how in REASONS if how != "delivery-limit"],
)
def test_reasons(channel, names, grave, kind, how):
    die, arguments, reason = REASONS[how]
    arguments = {"queue_type": kind} | arguments
    queue = source(channel, names, to_queue(grave, **arguments), durable=True)
    before = int(time.time())
    die(channel, queue)
    method, properties, body = taken(channel, grave)
    assert (method.exchange, method.routing_key, body) == ("", grave, b"m")
    assert method.redelivered is False
    (death,) = properties.headers["x-death"]
    when = death.pop("time").replace(tzinfo=datetime.UTC).timestamp()
    assert before - 1 <= when <= time.time() + 1
    expiration = {"original-expiration": "20"} if how == "expired" else {}
    assert death == expiration | {
        "queue": queue,
        "reason": reason,
        "count": 1,
        "exchange": "",
        "routing-keys": [queue],
    }
    assert properties.headers["x-first-death-queue"] == queue
    assert properties.headers["x-first-death-reason"] == reason
    assert properties.headers["x-first-death-exchange"] == ""


def test_overflow_with_reject_publish_dlx(channel, names, grave):
    queue = source(channel, names, to_queue(grave, max_length=1, overflow="reject-publish-dlx"))
    publish_and_wait(channel, "", queue, b"first", b"second")
    _, properties, body = taken(channel, grave)
    assert body == b"second", "the newest is the one that does not fit"
    assert properties.headers["x-death"][0]["reason"] == "maxlen"
    assert take(channel, queue) == [b"first"]


@pytest.mark.parametrize("strategy", ["at-most-once", "at-least-once"])
def test_either_strategy(channel, names, grave, strategy):
    arguments = {"queue_type": "quorum", "dead_letter_strategy": strategy}
    arguments |= {"overflow": "reject-publish", "message_ttl": 400}
    queue = source(channel, names, to_queue(grave, **arguments), durable=True)
    publish_and_wait(channel, "", queue, b"1", b"2")
    rejected(channel, queue)
    dead = [taken(channel, grave) for _ in range(2)]
    reasons = {body: deaths(properties)[0][1] for _, properties, body in dead}
    assert reasons == {b"1": "rejected", b"2": "expired"}


def test_plain_reject_publish_does_not_dead_letter(channel, names, grave):
    queue = source(channel, names, to_queue(grave, max_length=1, overflow="reject-publish"))
    publish_and_wait(channel, "", queue, b"first", b"second")
    time.sleep(0.1)
    assert take(channel, queue) == [b"first"]
    assert counts(channel, grave)[0] == 0


def test_purge_and_delete_do_not_dead_letter(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    publish_and_wait(channel, "", queue, b"1", b"2")
    channel.queue_purge(queue)
    publish_and_wait(channel, "", queue, b"3")
    channel.queue_delete(queue)
    expiring = source(channel, names, to_queue(grave, expires=50))
    publish_and_wait(channel, "", expiring, b"4")
    time.sleep(0.3)
    assert counts(channel, grave)[0] == 0


def test_requeue_does_not_dead_letter(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    publish_and_wait(channel, "", queue, b"m")
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=True)
    assert take(channel, queue, 1) == [b"m"]
    assert counts(channel, grave)[0] == 0


def test_nack_multiple_dead_letters_all_up_to_the_tag_in_order(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    bodies = [b"%d" % n for n in range(5)]
    publish_and_wait(channel, "", queue, *bodies)
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in bodies]
    channel.basic_ack(tags[1])
    channel.basic_nack(tags[3], multiple=True, requeue=False)
    assert take(channel, grave, 3) == [b"0", b"2", b"3"]
    channel.basic_ack(tags[4])
    time.sleep(0.05)
    assert (counts(channel, queue)[0], counts(channel, grave)[0]) == (0, 0)


def test_a_return_that_comes_too_late_is_expired(channel, names, grave):
    queue = source(channel, names, to_queue(grave, message_ttl=60))
    publish_and_wait(channel, "", queue, b"m")
    tag = channel.basic_get(queue)[0].delivery_tag
    time.sleep(0.15)
    channel.basic_nack(tag, requeue=True)
    _, properties, body = taken(channel, grave)
    assert (body, deaths(properties)) == (b"m", [(queue, "expired", 1)])


def test_a_reject_that_comes_late_is_still_a_reject(channel, names, grave):
    queue = source(channel, names, to_queue(grave, message_ttl=60))
    publish_and_wait(channel, "", queue, b"m")
    tag = channel.basic_get(queue)[0].delivery_tag
    time.sleep(0.15)
    channel.basic_reject(tag, requeue=False)
    assert deaths(taken(channel, grave)[1]) == [(queue, "rejected", 1)]


def test_many_that_expire_together_keep_their_order(channel, names, grave):
    queue = source(channel, names, to_queue(grave, message_ttl=50))
    bodies = [b"%d" % n for n in range(200)]
    publish_and_wait(channel, "", queue, *bodies)
    assert take(channel, grave, 200) == bodies


# --- what is kept, what is taken off -------------------------------------------------------------


def test_everything_else_is_kept(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    given = pika.BasicProperties(
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"a": 1, "b": "two", "c": [True], "d": {"e": None}},
        delivery_mode=2,
        priority=7,
        correlation_id="c",
        reply_to="r",
        message_id="m",
        timestamp=1_600_000_000,
        type="t",
        app_id="app",
        cluster_id="cluster",
    )
    publish_and_wait(channel, "", queue, b"body", properties=given)
    rejected(channel, queue)
    _, properties, body = taken(channel, grave)
    assert body == b"body"
    headers = properties.headers
    added = [name for name in headers if name.startswith("x-")]
    kept = {name: value for name, value in headers.items() if name not in added}
    assert kept == given.headers
    properties.headers = given.headers
    assert vars(properties) == vars(given)


def test_a_message_without_headers_gets_some(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    publish_and_wait(channel, "", queue, b"")
    rejected(channel, queue)
    _, properties, body = taken(channel, grave)
    assert body == b"" and "x-death" in properties.headers
    assert properties.delivery_mode is None, "what was not given is not invented"


def test_a_large_body_is_kept_whole(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    body = bytes(range(256)) * 2000
    publish_and_wait(channel, "", queue, body)
    rejected(channel, queue)
    assert taken(channel, grave)[2] == body


def test_expiration_is_taken_off_and_remembered(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    properties = pika.BasicProperties(expiration="300")
    publish_and_wait(channel, "", queue, b"m", properties=properties)
    rejected(channel, queue)
    time.sleep(0.4)
    _, properties, _ = taken(channel, grave)
    assert properties.expiration is None
    assert properties.headers["x-death"][0]["original-expiration"] == "300"


def test_field_types(raw, names):
    connection = raw()
    connection.channel(1)
    queue, grave = names.queue(), names.queue()
    connection.call("queue.declare", 1, queue=grave)
    connection.call("queue.declare", 1, queue=queue, arguments=to_queue(grave))
    given = wire.properties(expiration="60000")
    connection.publish(1, queue, b"m", properties=given)
    connection.works(1)
    connection.send("basic.get", 1, queue=queue)
    tag = connection.expect("basic.get-ok", 1).delivery_tag
    connection.send("basic.reject", 1, delivery_tag=tag, requeue=False)
    connection.works(1)
    connection.send("basic.get", 1, queue=grave)
    got = connection.next_method()
    while got.name == "basic.get-empty":
        connection.send("basic.get", 1, queue=grave)
        got = connection.next_method()
    wanted = {
        "count": b"l",
        "reason": b"S",
        "queue": b"S",
        "time": b"T",
        "exchange": b"S",
        "routing-keys": b"A",
        "original-expiration": b"S",
    }
    assert wire.short_string("x-death") + b"A" in got.properties
    for name, kind in wanted.items():
        at = got.properties.index(wire.short_string(name)) + len(name) + 1
        assert got.properties[at : at + 1] == kind, name
    keys_at = got.properties.index(b"routing-keys") + len(b"routing-keys") + 5
    assert got.properties[keys_at : keys_at + 1] == b"S"
    for name in ["x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"]:
        assert wire.short_string(name) + b"S" in got.properties


# --- where it goes -------------------------------------------------------------------------------


def test_without_a_key_the_message_keeps_its_own(channel, names):
    exchange, queue, grave = names.exchange(), names.queue(), names.queue()
    channel.exchange_declare(exchange, "topic")
    channel.queue_declare(queue, arguments={"x-dead-letter-exchange": exchange})
    channel.queue_bind(queue, "amq.topic", f"{names.stem}.#")
    channel.queue_declare(grave)
    channel.queue_bind(grave, exchange, "*.lost.*")
    publish_and_wait(channel, "amq.topic", f"{names.stem}.lost.1", b"m")
    publish_and_wait(channel, "amq.topic", f"{names.stem}.kept.1", b"n")
    rejected(channel, queue)
    rejected(channel, queue)
    method, properties, body = taken(channel, grave)
    assert (method.exchange, method.routing_key) == (exchange, f"{names.stem}.lost.1")
    assert body == b"m"
    (death,) = properties.headers["x-death"]
    assert death["exchange"] == "amq.topic"
    assert death["routing-keys"] == [f"{names.stem}.lost.1"]
    assert properties.headers["x-first-death-exchange"] == "amq.topic"
    assert counts(channel, grave)[0] == 0


def test_a_key_replaces_its_own(channel, names):
    exchange, queue, grave = names.exchange(), names.queue(), names.queue()
    channel.exchange_declare(exchange, "direct")
    arguments = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "dead"}
    channel.queue_declare(queue, arguments=arguments)
    channel.queue_declare(grave)
    channel.queue_bind(grave, exchange, "dead")
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    method, properties, _ = taken(channel, grave)
    assert (method.exchange, method.routing_key) == (exchange, "dead")
    assert properties.headers["x-death"][0]["routing-keys"] == [queue]


def test_to_a_headers_exchange(channel, names, grave):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "headers")
    other = names.queue()
    channel.queue_declare(other)
    channel.queue_bind(grave, exchange, "", {"x-match": "all", "kind": "a"})
    channel.queue_bind(other, exchange, "", {"x-match": "all", "kind": "b"})
    queue = source(channel, names, {"x-dead-letter-exchange": exchange})
    given = pika.BasicProperties(headers={"kind": "a"})
    publish_and_wait(channel, "", queue, b"m", properties=given)
    rejected(channel, queue)
    assert taken(channel, grave)[2] == b"m"
    assert counts(channel, other)[0] == 0


def test_to_several_queues(channel, names):
    exchange, graves = names.exchange(), [names.queue() for _ in range(3)]
    channel.exchange_declare(exchange, "fanout")
    for each in graves:
        channel.queue_declare(each)
        channel.queue_bind(each, exchange)
    queue = source(channel, names, {"x-dead-letter-exchange": exchange})
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    for each in graves:
        assert taken(channel, each)[2] == b"m"


def test_to_an_alternate_exchange(channel, names, grave):
    exchange, alternate = names.exchange(), names.exchange()
    channel.exchange_declare(alternate, "fanout")
    channel.queue_bind(grave, alternate)
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    queue = source(channel, names, {"x-dead-letter-exchange": exchange})
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    assert taken(channel, grave)[2] == b"m"


def test_the_default_exchange_without_a_key_is_the_queue_itself(channel, names):
    queue = source(channel, names, {"x-dead-letter-exchange": ""})
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    method, properties, body = taken(channel, queue)
    assert (body, method.redelivered) == (b"m", False)
    assert properties.headers["x-death"][0]["count"] == 1


def test_an_exchange_that_is_not_there_drops(channel, names):
    exchange = names.exchange()
    queue = source(channel, names, {"x-dead-letter-exchange": exchange})
    publish_and_wait(channel, "", queue, b"1", b"2")
    rejected(channel, queue)
    assert counts(channel, queue)[0] == 1
    channel.exchange_declare(exchange, "fanout")
    grave = names.queue()
    channel.queue_declare(grave)
    channel.queue_bind(grave, exchange)
    rejected(channel, queue)
    assert taken(channel, grave)[2] == b"2", "an exchange declared later counts from then on"
    assert counts(channel, grave)[0] == 0


def test_no_route_drops(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    queue = source(channel, names, {"x-dead-letter-exchange": exchange})
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    assert counts(channel, queue)[0] == 0


def test_mandatory_is_forgotten(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    queue = source(channel, names, {"x-dead-letter-exchange": exchange})
    returned = []
    channel.add_on_return_callback(lambda *given: returned.append(given))
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"m", mandatory=True)
    rejected(channel, queue)
    channel.connection.process_data_events(time_limit=0.2)
    assert returned == []


def test_no_dead_letter_exchange_drops(channel, names):
    queue = source(channel, names, {})
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    assert counts(channel, queue)[0] == 0


# --- CC and BCC ----------------------------------------------------------------------------------


@pytest.fixture
def copied(channel, names):
    """A direct exchange and three queues bound to it by the keys to, cc and bcc."""
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    queues = {}
    for key in ["to", "cc", "bcc", "dead"]:
        queues[key] = names.queue(key)
        channel.queue_declare(queues[key])
        channel.queue_bind(queues[key], exchange, key)
    return exchange, queues


def test_copies_go_along_without_a_key(channel, names, copied):
    exchange, queues = copied
    entry = names.exchange()
    channel.exchange_declare(entry, "fanout")
    queue = source(channel, names, {"x-dead-letter-exchange": exchange})
    channel.queue_bind(queue, entry)
    given = pika.BasicProperties(headers={"CC": ["cc"], "BCC": ["bcc"]})
    publish_and_wait(channel, entry, "to", b"m", properties=given)
    rejected(channel, queue)
    for key in ["to", "cc"]:
        method, properties, _ = taken(channel, queues[key])
        assert method.routing_key == "to"
        assert properties.headers["CC"] == ["cc"]
        assert "BCC" not in properties.headers
        (death,) = properties.headers["x-death"]
        assert death["routing-keys"] == ["to", "cc"], "whom BCC named is not told"


def test_a_key_takes_the_copies_off(channel, names, copied):
    exchange, queues = copied
    arguments = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "dead"}
    queue = source(channel, names, arguments)
    given = pika.BasicProperties(headers={"CC": ["cc"], "BCC": ["bcc"], "other": 1})
    publish_and_wait(channel, "", queue, b"m", properties=given)
    rejected(channel, queue)
    _, properties, _ = taken(channel, queues["dead"])
    assert "CC" not in properties.headers and "BCC" not in properties.headers
    assert properties.headers["other"] == 1
    assert properties.headers["x-death"][0]["routing-keys"] == [queue, "cc"]
    for key in ["to", "cc", "bcc"]:
        assert counts(channel, queues[key])[0] == 0


# --- the dead letter in its new queue ------------------------------------------------------------


def test_a_waiting_consumer_gets_it(connection, names, grave):
    channel = connection.channel()
    collector = Collector()
    channel.basic_consume(grave, collector, auto_ack=True)
    queue = source(channel, names, to_queue(grave))
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    collector.wait(connection, 1)
    assert collector.properties[0].headers["x-death"][0]["queue"] == queue


def test_it_meets_the_limits_of_its_new_queue(channel, names):
    full = names.queue("full")
    channel.queue_declare(full, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    queue = source(channel, names, to_queue(full))
    publish_and_wait(channel, "", queue, b"1", b"2", b"3")
    for _ in range(3):
        rejected(channel, queue)
    time.sleep(0.1)
    assert take(channel, full) == [b"1", b"2"]


def test_it_meets_the_ttl_of_its_new_queue(channel, names):
    short = names.queue("short")
    channel.queue_declare(short, arguments={"x-message-ttl": 30})
    queue = source(channel, names, to_queue(short))
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    eventually(lambda: counts(channel, short)[0] == 0)


def test_a_queue_deleted_meanwhile_dead_letters_nothing_of_what_is_out(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    publish_and_wait(channel, "", queue, b"m")
    tag = channel.basic_get(queue)[0].delivery_tag
    channel.queue_delete(queue)
    channel.basic_reject(tag, requeue=False)
    time.sleep(0.1)
    assert counts(channel, grave)[0] == 0


@pytest.mark.parametrize("how", ["restart", "kill_and_start"])
def test_dead_letters_survive(own_server, how):
    connection = pika.BlockingConnection(parameters(own_server.url))
    channel = connection.channel()
    channel.queue_declare("grave", durable=True)
    channel.queue_declare("work", durable=True, arguments=to_queue("grave"))
    channel.confirm_delivery()
    for mode in (2, 1):
        given = pika.BasicProperties(delivery_mode=mode, headers={"a": 1}, expiration="600000")
        channel.basic_publish("", "work", b"%d" % mode, given)
        rejected(channel, "work")
    eventually(lambda: counts(channel, "grave")[0] == 2)
    channel.basic_publish("", "work", b"barrier", pika.BasicProperties(delivery_mode=2))
    getattr(own_server, how)()
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    assert counts(channel, "grave")[0] == 1, "the transient one is gone"
    method, properties, body = taken(channel, "grave")
    assert body == b"2" and properties.delivery_mode == 2
    assert method.routing_key == "grave"
    assert deaths(properties) == [("work", "rejected", 1)]
    assert properties.headers["a"] == 1 and properties.expiration is None
    channel.queue_bind("work", "amq.fanout")
    assert take(channel, "work") == [b"barrier"]


def test_deaths_are_counted_on_after_a_restart(own_server):
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    channel.queue_declare("work", durable=True, arguments=to_queue("wait"))
    channel.queue_declare("wait", durable=True, arguments=to_queue("work", message_ttl=30))
    channel.confirm_delivery()
    channel.basic_publish("", "work", b"m", pika.BasicProperties(delivery_mode=2))
    rejected(channel, "work")
    eventually(lambda: counts(channel, "work")[0] == 1)
    own_server.restart()
    channel = pika.BlockingConnection(parameters(own_server.url)).channel()
    rejected(channel, "work")
    _, properties, _ = taken(channel, "work")
    assert deaths(properties) == [("wait", "expired", 2), ("work", "rejected", 2)]


@pytest.mark.parametrize("requeue", [False, True])
def test_with_aio_pika(server, names, requeue):
    """The retry loop of an application in asyncio."""
    async def run():
        connection = await aio_pika.connect(server.url)
        async with connection:
            channel = await connection.channel()
            grave = await channel.declare_queue(names.queue("grave"))
            queue = await channel.declare_queue(names.queue(), arguments=to_queue(grave.name))
            await channel.default_exchange.publish(aio_pika.Message(b"m"), queue.name)
            message = await queue.get(timeout=5)
            await message.reject(requeue=requeue)
            if requeue:
                again = await queue.get(timeout=5)
                assert again.redelivered
                await again.ack()
                return
            for _ in range(100):
                dead = await grave.get(fail=False, no_ack=True)
                if dead:
                    break
                await asyncio.sleep(0.02)
            assert dead.headers["x-death"][0]["reason"] == "rejected"

    asyncio.run(run())
