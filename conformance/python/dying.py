"""Dead letters: how messages come to die, and what is found of them."""

import time

import pytest

from steps import publish_and_wait


def taken(channel, queue, seconds=5):
    """The next message of the queue: method, properties and body; it is acknowledged."""
    deadline = time.monotonic() + seconds
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method:
            return method, properties, body
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.01)


def rejected(channel, queue):
    """Reject the next message of the queue."""
    deadline = time.monotonic() + 5
    while True:
        method, _, _ = channel.basic_get(queue)
        if method:
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        assert time.monotonic() < deadline, "nothing came to reject"
        time.sleep(0.01)


def to_queue(queue, **arguments):
    """Arguments that dead-letter into that queue."""
    given = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    return given | {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}


def source(channel, names, arguments, durable=False):
    queue = names.queue("source")
    channel.queue_declare(queue, durable=durable, arguments=arguments)
    return queue


@pytest.fixture
def grave(channel, names):
    """A queue dead letters go to."""
    queue = names.queue("grave")
    channel.queue_declare(queue)
    return queue


def deaths(properties):
    """queue, reason and count of each entry, in order."""
    return [
        (death["queue"], death["reason"], death["count"]) for death in properties.headers["x-death"]
    ]


def die_returned(channel, queue):
    publish_and_wait(channel, "", queue, b"m")
    for _ in range(2):
        method = None
        while method is None:
            method, _, _ = channel.basic_get(queue)
        channel.basic_reject(method.delivery_tag, requeue=True)
