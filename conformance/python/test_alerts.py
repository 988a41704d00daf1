"""Alerts without Prometheus: what begins and what is over is posted to a webhook, in the shape that
Prometheus' Alertmanager uses, and comes although the webhook is away for a while."""

import re

import pika
import pytest

from receivers import Receiver
from steps import PERSISTENT, parameters

pytestmark = pytest.mark.postroom_only(reason="RabbitMQ posts no alerts")


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def alerts(receiver):
    return [alert for notice in receiver.jsons() for alert in notice["alerts"]]


def alert(receiver, name, status, **labels):
    """That alert, once it is there."""
    def look():
        wanted = {"alertname": name, **labels}.items()
        return [it for it in alerts(receiver) if it["status"] == status and wanted <= it["labels"].items()]

    return receiver.wait_for(look)[0]


def test_a_backlog_begins_and_ends(start_own, receiver):
    receiver.statuses = [503]
    server = start_own("--alert-webhook", receiver.url + "/hook?key=telling", "--alert-after-ms", "0",
                       "--alert-headers", "authorization=Bearer telling")
    connection = pika.BlockingConnection(parameters(server.url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("orders", durable=True)
    channel.queue_declare("others", durable=True)
    channel.basic_publish("", "orders", b"x", PERSISTENT)
    begun = alert(receiver, "PostroomBacklogWithoutConsumers", "firing", queue="orders", vhost="/")
    assert begun["labels"]["severity"] == "warning"
    assert begun["annotations"]["summary"] == "1 messages wait in queue orders, and nobody consumes"
    assert "worker" in begun["annotations"]["description"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", begun["startsAt"])
    path, headers, _, status = receiver.requests[0]
    assert (path, status) == ("/hook?key=telling", 503)
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer telling"
    channel.basic_get("orders", auto_ack=True)
    over = alert(receiver, "PostroomBacklogWithoutConsumers", "resolved", queue="orders")
    assert over["fingerprint"] == begun["fingerprint"]
    assert over["startsAt"] == begun["startsAt"] <= over["endsAt"]
    assert [it["status"] for it in alerts(receiver) if it["labels"].get("queue")] == ["firing", "resolved"]
    for notice in receiver.jsons():
        assert notice["version"] == "4"
        assert notice["status"] in ("firing", "resolved")
    connection.close()
    assert server.stop() == 0
    assert "telling" not in server.log.read_text()


def test_blocked_publishers_are_told(start_own, receiver):
    server = start_own("--alert-webhook", receiver.url, "--memory-high-watermark", "0",
                       "--alert-after-ms", "0")
    begun = alert(receiver, "PostroomPublishersBlocked", "firing", resource="memory")
    assert begun["labels"]["severity"] == "critical"
    assert server.stop() == 0


def test_dead_letters_that_go_nowhere_are_told_at_once(start_own, receiver):
    server = start_own("--alert-webhook", receiver.url)
    connection = pika.BlockingConnection(parameters(server.url))
    channel = connection.channel()
    channel.queue_declare("dying", arguments={"x-dead-letter-exchange": "nowhere"})
    channel.basic_publish("", "dying", b"x")
    # A publish is not confirmed here: ask until it is there.
    for method, _, _ in channel.consume("dying"):
        channel.basic_reject(method.delivery_tag, requeue=False)
        break
    begun = alert(receiver, "PostroomDeadLettersDropped", "firing", vhost="/")
    assert begun["annotations"]["summary"] == "1 dead letters of virtual host / went nowhere"
    # What has to last for a while is not told yet.
    assert {it["labels"]["alertname"] for it in alerts(receiver)} == {"PostroomDeadLettersDropped"}
    connection.close()


def test_a_webhook_that_refuses_is_not_asked_for_ever(start_own, receiver):
    receiver.statuses = [400]
    server = start_own("--alert-webhook", receiver.url, "--alert-after-ms", "0")
    connection = pika.BlockingConnection(parameters(server.url))
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.basic_publish("", "q", b"x", PERSISTENT)
    receiver.wait_for(lambda: receiver.requests)
    channel.queue_purge("q")
    alert(receiver, "PostroomBacklogWithoutConsumers", "resolved", queue="q")
    assert [status for *_, status in receiver.requests] == [400, 200]
    connection.close()
    assert server.stop() == 0
    assert "alerts were refused and are dropped" in server.log.read_text()
