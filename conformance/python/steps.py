"""Small steps many tests take with pika."""

import time
from contextlib import contextmanager

import pika
import pytest

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def parameters(url, **settings):
    """How pika connects to the broker: no heartbeats, and no waiting for ever."""
    given = pika.URLParameters(url)
    given.heartbeat = 0
    given.socket_timeout = 10
    given.blocked_connection_timeout = 20
    for name, setting in settings.items():
        setattr(given, name, setting)
    return given


@contextmanager
def refused(code, *words):
    """The broker closes the channel with this code, and its text holds these words."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        yield
    text = error.value.reply_text
    assert error.value.reply_code == code, text
    for word in words:
        assert word in text


@contextmanager
def disconnected(code, *words):
    """The broker closes the connection with this code, and its text holds these words."""
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        yield
    text = error.value.reply_text
    assert error.value.reply_code == code, text
    for word in words:
        assert word in text


def take(channel, queue, count=None, seconds=5):
    """The bodies in the queue, in order: all there are, or waiting until there are `count`."""
    bodies = []
    deadline = time.monotonic() + seconds
    while count is None or len(bodies) < count:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method:
            bodies.append(body)
        elif count is None:
            break
        else:
            assert time.monotonic() < deadline, f"only {len(bodies)} of {count} messages came"
            time.sleep(0.01)
    return bodies


def catch_up(channel):
    """Wait until the broker has done all that this channel asked for."""
    channel.exchange_declare("amq.direct", passive=True)


def publish_and_wait(channel, exchange, key, *bodies, properties=None):
    """Publish, and wait until everything is routed."""
    for body in bodies:
        channel.basic_publish(exchange, key, body, properties)
    catch_up(channel)


def counts(channel, queue):
    """Ready messages and consumers, as a passive declare tells them."""
    answer = channel.queue_declare(queue, passive=True).method
    return answer.message_count, answer.consumer_count


def eventually(condition, seconds=5):
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


class Collector:
    """A consumer's callback that keeps what it was given."""

    def __init__(self):
        self.deliveries = []
        self.properties = []
        self.bodies = []

    def __call__(self, _channel, method, properties, body):
        self.deliveries.append(method)
        self.properties.append(properties)
        self.bodies.append(body)

    def wait(self, connection, count, seconds=8):
        """Serve the connection until that many deliveries are there."""
        deadline = time.monotonic() + seconds
        while len(self.bodies) < count:
            assert time.monotonic() < deadline, f"only {len(self.bodies)} of {count} came"
            connection.process_data_events(time_limit=0.05)
        return self

    def settle_down(self, connection, seconds=0.3):
        """Serve the connection for a while, to see that nothing more comes."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            connection.process_data_events(time_limit=left)
        return self
