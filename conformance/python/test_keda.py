"""KEDA's RabbitMQ scaler over HTTP: its requests to the letter, and what it reads from the answers.

Paths are made as KEDA makes them (pkg/scalers/rabbitmq_scaler.go): the virtual host and the queue are
escaped as in a query, so that a blank comes as `+`.
"""

import base64
import http.client
import json
import uuid
from urllib.parse import quote_plus

import pytest

from management import Management, part
from steps import eventually, publish_and_wait

COUNTED_SECONDS = 30


class Keda:
    """What the scaler does with its `host` and `vhostName`."""

    def __init__(self, management, vhost="/"):
        self.management, self.vhost = management, vhost

    def ask(self, path):
        management = self.management
        connection = http.client.HTTPConnection(management.host, management.port, timeout=30)
        # Name and password of the URL; Go sends no more headers than these.
        both = base64.b64encode(f"{management.user}:{management.password}".encode()).decode()
        headers = {"Authorization": f"Basic {both}", "User-Agent": "Go-http-client/1.1"}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        assert response.status == 200, f"error requesting RabbitMQ API status: {response.status} {body}"
        return json.loads(body)

    def queue(self, name):
        return self.read(self.ask(f"/api/queues/{quote_plus(self.vhost)}/{quote_plus(name)}"))

    def queues(self, pattern, page_size=100):
        query = f"page=1&use_regex=true&pagination=false&name={quote_plus(pattern)}"
        found = self.ask(f"/api/queues/{quote_plus(self.vhost)}?{query}&page_size={page_size}")
        assert found["page_count"] <= 1, "regex matches more queues than can be recovered at once"
        return [self.read(queue) for queue in found["items"]]

    @staticmethod
    def read(queue):
        """Go's zero values stand for what is not there; other types than these are errors."""
        stats = queue.get("message_stats", {})

        def rate(details):
            found = stats.get(details, {}).get("rate", 0)
            assert isinstance(found, (int, float))
            return found

        for count in ("messages", "messages_ready", "messages_unacknowledged"):
            assert isinstance(queue.get(count, 0), int)
        return {
            "name": queue["name"],
            "messages": queue.get("messages", 0),
            "messages_unacknowledged": queue.get("messages_unacknowledged", 0),
            "publish_rate": rate("publish_details"),
            "deliver_rate": rate("deliver_get_details"),
        }


@pytest.fixture
def management(server):
    return Management.of(server)


def test_queue_length_counts_what_is_being_worked_on(management, channel, names):
    queue = names.queue()
    channel.queue_declare(queue, durable=True)
    publish_and_wait(channel, "", queue, *[b"x"] * 5)
    for _ in range(2):
        channel.basic_get(queue)
    keda = Keda(management)

    def is_counted():
        found = keda.queue(queue)
        return (found["messages"], found["messages_unacknowledged"]) == (5, 2)

    eventually(is_counted, COUNTED_SECONDS)


def test_message_rates(management, connection, names):
    queue = names.queue()
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.basic_consume(queue, lambda *_: None, auto_ack=True)
    keda = Keda(management)

    def is_fast():
        publish_and_wait(channel, "", queue, *[b"x"] * 50)
        connection.process_data_events(0)
        found = keda.queue(queue)
        return found["publish_rate"] > 0 and found["deliver_rate"] > 0

    eventually(is_fast, COUNTED_SECONDS)


def test_a_pattern_of_queues(management, channel, names):
    for number in range(3):
        queue = names.queue("work")
        channel.queue_declare(queue, durable=True)
        publish_and_wait(channel, "", queue, *[b"x"] * number)
    channel.queue_declare(names.queue("rest"))
    keda = Keda(management)
    pattern = f"^{names.stem}-work-.*$"

    def lengths():
        return sorted(it["messages"] for it in keda.queues(pattern))

    eventually(lambda: lengths() == [0, 1, 2], COUNTED_SECONDS)
    assert keda.queues("^nothing is called so$") == []


def test_virtual_hosts_and_names_with_slashes(management, connect, server):
    vhost = f"team/{uuid.uuid4().hex[:8]}"
    assert management.put(f"/vhosts/{part(vhost)}") == 201
    channel = connect(f"{server.url.rsplit('/', 1)[0]}/{part(vhost)}").channel()
    for name in ("a/b", "a+b", "a:b&c"):
        channel.queue_declare(name, durable=True)
        assert Keda(management, vhost).queue(name)["name"] == name
    channel.connection.close()
    assert management.delete(f"/vhosts/{part(vhost)}") == 204


@pytest.mark.postroom_only(reason="RabbitMQ takes the + of KEDA's path for a +")
def test_blanks(management, connect, server):
    vhost = f"team {uuid.uuid4().hex[:8]}"
    assert management.put(f"/vhosts/{part(vhost)}") == 201
    channel = connect(f"{server.url.rsplit('/', 1)[0]}/{part(vhost)}").channel()
    channel.queue_declare("a b", durable=True)
    assert Keda(management, vhost).queue("a b")["name"] == "a b"
    assert [it["name"] for it in Keda(management, vhost).queues("a b")] == ["a b"]
    channel.connection.close()
    assert management.delete(f"/vhosts/{part(vhost)}") == 204
