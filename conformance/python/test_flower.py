"""Celery Flower's page of the broker: its own client of RabbitMQ's management API against Postroom."""

import asyncio

import pytest

from management import Management, part
from steps import eventually, publish_and_wait

rabbitmq = pytest.importorskip("flower.utils.broker").RabbitMQ


@pytest.fixture
def management(server):
    return Management.of(server)


def seen_by_flower(server, management, vhost, queues):
    """As flower/views/broker.py does it, with `--broker-api` set."""
    url = f"amqp://guest:guest@{server.host}:{server.port}/{vhost}"
    api = f"http://guest:guest@{management.host}:{management.port}/api/"

    async def ask():
        return await rabbitmq(url, api).queues(queues)

    found = asyncio.run(ask())
    columns = ("messages", "messages_unacknowledged", "messages_ready", "consumers", "idle_since")
    return {it["name"]: tuple(it.get(column) for column in columns[:4]) for it in found}


@pytest.mark.postroom_only(reason="Flower can't name RabbitMQ's virtual host / to it")
def test_the_first_vhost(server, management, channel, names):
    queue, other = names.queue(), names.queue()
    for name in (queue, other):
        channel.queue_declare(name, durable=True)
    publish_and_wait(channel, "", queue, b"1", b"2", b"3")
    channel.basic_get(queue)
    found = seen_by_flower(server, management, "/", [queue, "no-such-queue"])
    assert found == {queue: (3, 1, 2, 0)}


def test_a_vhost_of_its_own(server, management, connect):
    vhost = "flowers"
    assert management.put(f"/vhosts/{vhost}") in (201, 204)
    channel = connect(f"{server.url.rsplit('/', 1)[0]}/{part(vhost)}").channel()
    channel.queue_declare("celery", durable=True)
    publish_and_wait(channel, "", "celery", b"1", b"2")
    expected = {"celery": (2, 0, 2, 0)}
    eventually(lambda: seen_by_flower(server, management, vhost, ["celery"]) == expected, 30)
    channel.connection.close()
    assert management.delete(f"/vhosts/{vhost}") == 204
