"""What a dead letter tells of its deaths, and the cycles that end it."""

import time

import pika
import pytest

from dying import deaths, die_returned, grave, rejected, source, taken, to_queue  # noqa: F401
from steps import counts, eventually, publish_and_wait, take

QUORUM = {"x-queue-type": "quorum"}


# --- several deaths ------------------------------------------------------------------------------


def assert_deaths(server, properties, wanted):
    """These deaths, latest first; RabbitMQ before 4.0 turns those behind the front around."""
    if server.is_postroom:
        assert deaths(properties) == wanted
    else:
        assert deaths(properties)[0] == wanted[0]
        assert sorted(deaths(properties)) == sorted(wanted)


def test_several_hops_stand_latest_first(server, channel, names):
    last = names.queue("last")
    channel.queue_declare(last)
    third = source(channel, names, to_queue(last, message_ttl=20))
    second = source(channel, names, to_queue(third, max_length=0))
    first = source(channel, names, to_queue(second))
    publish_and_wait(channel, "", first, b"m")
    rejected(channel, first)
    _, properties, _ = taken(channel, last)
    wanted = [(third, "expired", 1), (second, "maxlen", 1), (first, "rejected", 1)]
    assert_deaths(server, properties, wanted)
    headers = properties.headers
    assert headers["x-first-death-queue"] == first
    assert headers["x-first-death-reason"] == "rejected"
    assert headers["x-first-death-exchange"] == ""
    assert headers["x-death"][0]["routing-keys"] == [third]


def test_a_repeat_counts_and_moves_to_the_front(channel, names):
    first, second = names.queue(), names.queue()
    channel.queue_declare(first, arguments=to_queue(second))
    channel.queue_declare(second, arguments=to_queue(first))
    given = pika.BasicProperties(expiration="60000")
    publish_and_wait(channel, "", first, b"m", properties=given)
    rejected(channel, first)
    rejected(channel, second)
    started = time.time()
    while time.time() < int(started) + 1.05:  # the next second, so that a new time would show
        time.sleep(0.05)
    rejected(channel, first)
    _, properties, _ = taken(channel, second)
    assert deaths(properties) == [(first, "rejected", 2), (second, "rejected", 1)]
    front, back = properties.headers["x-death"]
    assert front["time"] <= back["time"], "the time is that of the first"
    assert front["original-expiration"] == "60000"
    assert "original-expiration" not in back


def test_another_reason_in_the_same_queue_is_another_entry(server, channel, names):
    queue, back = names.queue(), names.queue()
    channel.queue_declare(queue, arguments=to_queue(back, message_ttl=100))
    channel.queue_declare(back, arguments=to_queue(queue))
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    rejected(channel, back)
    _, properties, _ = taken(channel, back)
    wanted = [(queue, "expired", 1), (back, "rejected", 1), (queue, "rejected", 1)]
    assert_deaths(server, properties, wanted)


def test_a_consumer_that_rejects_for_ever_counts(connection, names):
    channel = connection.channel()
    queue = source(channel, names, {"x-dead-letter-exchange": ""})
    seen = []

    def on_message(channel, method, properties, _body):
        headers = properties.headers or {}
        seen.append(headers["x-death"][0]["count"] if "x-death" in headers else 0)
        if len(seen) < 30:
            channel.basic_reject(method.delivery_tag, requeue=False)
        else:
            channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_message)
    channel.basic_publish("", queue, b"m")
    deadline = time.monotonic() + 8
    while len(seen) < 30:
        assert time.monotonic() < deadline, seen
        connection.process_data_events(time_limit=0.05)
    assert seen == list(range(30))


# --- cycles --------------------------------------------------------------------------------------


def test_a_cycle_of_expiry_alone_drops(channel, names):
    first, second = names.queue(), names.queue()
    channel.queue_declare(first, arguments=to_queue(second, message_ttl=30))
    channel.queue_declare(second, arguments=to_queue(first, message_ttl=30))
    publish_and_wait(channel, "", first, b"m")
    time.sleep(0.4)
    assert (counts(channel, first)[0], counts(channel, second)[0]) == (0, 0)


def test_a_queue_that_expires_into_itself_drops(channel, names):
    queue = source(channel, names, {"x-dead-letter-exchange": "", "x-message-ttl": 30})
    publish_and_wait(channel, "", queue, b"m")
    eventually(lambda: counts(channel, queue)[0] == 0)
    time.sleep(0.1)
    assert counts(channel, queue)[0] == 0


def test_a_queue_that_overflows_into_itself_drops(channel, names):
    queue = source(channel, names, {"x-dead-letter-exchange": "", "x-max-length": 1})
    publish_and_wait(channel, "", queue, b"1", b"2")
    time.sleep(0.1)
    assert take(channel, queue) == [b"2"]


def test_a_queue_whose_limit_leads_into_itself_drops(channel, names):
    arguments = QUORUM | {"x-dead-letter-exchange": "", "x-delivery-limit": 1}
    queue = source(channel, names, arguments, durable=True)
    die_returned(channel, queue)
    publish_and_wait(channel, "", queue, b"other")
    assert take(channel, queue, 1) == [b"other"]
    assert counts(channel, queue)[0] == 0


def test_a_cycle_with_a_reject_goes_on(channel, names):
    """The ladder of retries people build: reject, wait in another queue, come back."""
    work, wait = names.queue("work"), names.queue("wait")
    channel.queue_declare(work, arguments=to_queue(wait))
    channel.queue_declare(wait, arguments=to_queue(work, message_ttl=30))
    publish_and_wait(channel, "", work, b"m")
    for _ in range(4):
        rejected(channel, work)
    _, properties, _ = taken(channel, work)
    assert deaths(properties) == [(wait, "expired", 4), (work, "rejected", 4)]
    headers = properties.headers
    assert (headers["x-first-death-queue"], headers["x-first-death-reason"]) == (work, "rejected")


def test_a_cycle_drops_only_the_copy_that_came_round(channel, names, grave):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_bind(grave, exchange)
    arguments = {"x-dead-letter-exchange": exchange, "x-message-ttl": 30}
    queue = source(channel, names, arguments)
    channel.queue_bind(queue, exchange)
    publish_and_wait(channel, "", queue, b"m")
    assert taken(channel, grave)[2] == b"m"
    time.sleep(0.1)
    assert (counts(channel, queue)[0], counts(channel, grave)[0]) == (0, 0)


# --- forged headers ------------------------------------------------------------------------------

FORGED = {"queue": "q", "reason": "rejected", "count": 5, "exchange": "", "routing-keys": ["z"]}


@pytest.mark.parametrize("forged", [[FORGED], "nonsense", [], [1], [{"queue": 1}]], ids=str)
@pytest.mark.postroom_only(reason="RabbitMQ before 4.0 believes what a client says of deaths")
def test_forged_deaths_are_not_believed(channel, names, grave, forged):
    queue = source(channel, names, to_queue(grave))
    if isinstance(forged, list) and forged and forged[0] is FORGED:
        forged = [FORGED | {"queue": queue}]
    given = pika.BasicProperties(headers={"x-death": forged, "x-first-death-queue": "zz", "a": 1})
    publish_and_wait(channel, "", queue, b"m", properties=given)
    rejected(channel, queue)
    _, properties, _ = taken(channel, grave)
    assert deaths(properties) == [(queue, "rejected", 1)]
    assert properties.headers["x-first-death-queue"] == queue
    assert properties.headers["a"] == 1


@pytest.mark.postroom_only(reason="RabbitMQ before 4.0 believes what a client says of deaths")
def test_a_dead_letter_published_again_begins_anew(channel, names, grave):
    queue = source(channel, names, to_queue(grave))
    publish_and_wait(channel, "", queue, b"m")
    rejected(channel, queue)
    _, properties, body = taken(channel, grave)
    publish_and_wait(channel, "", queue, body, properties=properties)
    rejected(channel, queue)
    _, properties, _ = taken(channel, grave)
    assert deaths(properties) == [(queue, "rejected", 1)]


@pytest.mark.postroom_only(reason="x-last-death-* came with RabbitMQ 3.13")
def test_last_death(channel, names):
    last = names.queue()
    channel.queue_declare(last)
    second = source(channel, names, to_queue(last, message_ttl=20))
    exchange = names.exchange()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_bind(second, exchange)
    first = source(channel, names, {"x-dead-letter-exchange": exchange})
    publish_and_wait(channel, "", first, b"m")
    rejected(channel, first)
    _, properties, _ = taken(channel, last)
    headers = properties.headers
    assert headers["x-last-death-queue"] == second
    assert headers["x-last-death-reason"] == "expired"
    assert headers["x-last-death-exchange"] == exchange
    assert headers["x-first-death-queue"] == first
    assert headers["x-first-death-exchange"] == ""
