"""What Prometheus reads: both dialects, our own names and RabbitMQ's, and a bound on the series."""

import time
import urllib.error
import urllib.request
from base64 import b64encode

import pika
import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def get(server, path, accept="*/*", login="guest:guest"):
    headers = {"Accept": accept}
    if login:
        headers["Authorization"] = "Basic " + b64encode(login.encode()).decode()
    request = urllib.request.Request(f"http://{server.host}:{server.http_port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def samples(server, path="/metrics", accept="*/*"):
    """Every sample, by its name and labels."""
    content_type, text = get(server, path, accept)
    parse = openmetrics if content_type.startswith("application/openmetrics-text") else prometheus
    found = {}
    for family in parse(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(found, name, **labels):
    return found[name, tuple(sorted(labels.items()))]


def eventually(look, what):
    deadline = time.monotonic() + 20
    while not what(look()):
        assert time.monotonic() < deadline, "it did not come to be seen"
        time.sleep(0.05)


@pytest.fixture
def traffic(own_server):
    """Three messages in, two out: one acknowledged, one not."""
    connection = pika.BlockingConnection(pika.URLParameters(own_server.url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("some \"queue\"", durable=True)
    for body in (b"one", b"two", b"three"):
        properties = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", "some \"queue\"", body, properties)
    got = [channel.basic_get("some \"queue\"") for _ in range(2)]
    channel.basic_ack(got[0][0].delivery_tag)
    # The answer shows that what was before is done.
    channel.queue_declare("some \"queue\"", passive=True)
    yield own_server
    connection.close()


@pytest.mark.parametrize("accept", ["*/*", OPENMETRICS])
def test_both_dialects_say_the_same(traffic, accept):
    queue = {"vhost": "/", "queue": 'some "queue"'}
    found = samples(traffic, accept=accept)
    assert value(found, "postroom_queue_messages", state="ready", **queue) == 1
    assert value(found, "postroom_queue_messages", state="unacked", **queue) == 1
    assert value(found, "postroom_queue_events_total", event="entered", **queue) == 3
    assert value(found, "postroom_queue_events_total", event="got", **queue) == 2
    assert value(found, "postroom_queue_events_total", event="acknowledged", **queue) == 1
    assert value(found, "postroom_queue_backlog_without_consumers", **queue) == 1
    assert value(found, "postroom_vhost_events_total", event="confirmed", vhost="/") == 3
    assert value(found, "postroom_confirm_seconds_count", vhost="/") == 3
    assert value(found, "postroom_message_handling_seconds_count", vhost="/") == 1
    assert value(found, "postroom_message_attempts_bucket", vhost="/", le="1.0") == 1
    assert value(found, "postroom_journal_write_seconds_sum", vhost="/") > 0
    assert value(found, "postroom_alarm", resource="disk") == 0


def test_rabbitmqs_names_are_added_up(traffic):
    found = samples(traffic)
    for name, expected in {
        "rabbitmq_queue_messages_ready": 1,
        "rabbitmq_queue_messages_unacked": 1,
        "rabbitmq_queue_messages": 2,
        "rabbitmq_queues": 1,
        "rabbitmq_connections": 1,
        "rabbitmq_channels": 1,
        "rabbitmq_consumers": 0,
        "rabbitmq_channel_messages_published_total": 3,
        "rabbitmq_channel_get_ack_total": 2,
        "rabbitmq_channel_messages_acked_total": 1,
        "rabbitmq_channel_messages_unacked": 1,
        "rabbitmq_connections_opened_total": 1,
        "rabbitmq_queues_created_total": 1,
        "rabbitmq_alarms_memory_used_watermark": 0,
    }.items():
        assert value(found, name) == expected, name
    protocol = {"protocol": "amqp091"}
    assert value(found, "rabbitmq_global_messages_received_total", **protocol) == 3
    assert value(found, "rabbitmq_global_messages_routed_total", **protocol) == 3
    assert value(found, "rabbitmq_global_publishers", **protocol) == 1
    assert value(found, "rabbitmq_connection_incoming_bytes_total") > 0
    names = {name for name, _ in found}
    assert {"rabbitmq_identity_info", "rabbitmq_build_info"} <= names


def test_what_the_process_takes_is_known_after_a_moment(traffic):
    eventually(
        lambda: samples(traffic),
        lambda found: value(found, "rabbitmq_process_resident_memory_bytes") > 0
        and value(found, "rabbitmq_process_open_fds") > 0
        and value(found, "rabbitmq_disk_space_available_bytes") > 0,
    )


def test_each_object_has_its_series(traffic):
    queue = {"vhost": "/", "queue": 'some "queue"'}
    found = samples(traffic, "/metrics/per-object")
    assert value(found, "rabbitmq_queue_messages_ready", **queue) == 1
    channels = [labels for name, labels in found if name == "rabbitmq_channel_messages_unacked"]
    assert len(channels) == 1 and dict(channels[0])["channel"].endswith("-> 127.0.0.1:%d (1)" % traffic.port)
    detailed = samples(traffic, "/metrics/detailed?family=queue_coarse_metrics&family=nonsense")
    assert {name for name, _ in detailed} == {
        "rabbitmq_detailed_queue_messages_ready",
        "rabbitmq_detailed_queue_messages_unacked",
        "rabbitmq_detailed_queue_messages",
    }
    assert samples(traffic, "/metrics/detailed?family=queue_coarse_metrics&vhost=other") == {}


def test_too_many_queues_are_added_up(start_own):
    server = start_own("--metrics-queues-max", "2")
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    channel = connection.channel()
    for name in ("a", "b", "c", "d"):
        channel.queue_declare(name)
        channel.basic_publish("", name, b"x")
    channel.queue_declare("d", passive=True)
    found = samples(server)
    assert value(found, "postroom_queues_without_series") == 2
    assert value(found, "postroom_queue_messages", state="ready", vhost="/", queue="a") == 1
    assert value(found, "postroom_queue_messages", state="ready", vhost="", queue="") == 2
    assert value(found, "rabbitmq_queue_messages_ready") == 4
    each = samples(server, "/metrics/per-object")
    queues = {dict(labels)["queue"] for name, labels in each if name == "rabbitmq_queue_messages"}
    assert queues == {"a", "b", ""}
    connection.close()


def test_strangers_measure_nothing(own_server):
    for path in ("/metrics", "/metrics/per-object", "/metrics/detailed"):
        for login in (None, "guest:wrong"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(own_server, path, login=login)
            assert refused.value.code == 401


def test_each_queue_and_consumer_has_its_own(own_server):
    connection = pika.BlockingConnection(pika.URLParameters(own_server.url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=10)
    for queue in ("one", "two"):
        channel.queue_declare(queue, durable=True)
    for number in range(6):
        channel.basic_publish("", "one", b"x", pika.BasicProperties(delivery_mode=2))
    for method, _, _ in channel.consume("one"):
        if method.delivery_tag <= 3:
            channel.basic_ack(method.delivery_tag)
        elif method.delivery_tag == 4:
            channel.basic_reject(method.delivery_tag, requeue=False)
        elif method.delivery_tag == 5:
            channel.basic_nack(method.delivery_tag)
        elif method.redelivered:
            break
    channel.queue_declare("one", passive=True)
    found = samples(own_server, "/metrics/per-queue")
    one = {"vhost": "/", "queue": "one"}
    assert value(found, "postroom_queue_queued_seconds_count", **one) == 6
    assert value(found, "postroom_queue_handling_seconds_count", **one) == 5
    assert value(found, "postroom_queue_attempts_count", **one) == 3
    assert value(found, "postroom_queue_attempts_bucket", le="1.0", **one) == 3
    [events] = [
        {labels["event"]: count for key, count in found.items() if key[0] == name and (labels := dict(key[1]))}
        for name in ["postroom_consumer_events_total"]
    ]
    assert events == {"delivered": 7, "redelivered": 1, "acknowledged": 3, "requeued": 1, "rejected": 1}
    labels = next(dict(key[1]) for key in found if key[0] == "postroom_consumer_events_total")
    assert (labels["queue"], labels["channel"]) == ("one", "1")
    assert labels["consumer"].startswith("ctag1.")
    # Nothing happened to the other.
    assert not [key for key in found if ("queue", "two") in key[1]]
    connection.close()
    eventually(lambda: samples(own_server, "/metrics/per-queue"),
               lambda now: not [key for key in now if key[0] == "postroom_consumer_events_total"])


def test_errors_are_counted_by_class(own_server):
    url = f"http://{own_server.host}:{own_server.http_port}"
    asking = {"auth": ("guest", "guest"), "timeout": 20}
    assert requests.put(f"{url}/v1/queues/q", **asking).status_code < 300
    classes = ["Timeout", "Timeout", None, *(f"C{number}" for number in range(20))]
    messages = {"messages": [{"body": "x"} for _ in classes]}
    assert requests.post(f"{url}/v1/queues/q/messages", json=messages, **asking).status_code == 201
    leased = requests.post(f"{url}/v1/queues/q/lease", json={"max": 100}, **asking).json()["messages"]
    failed = [
        {"lease": lease["lease"], "retry": False, **({"error": {"type": name}} if name else {})}
        for lease, name in zip(leased, classes, strict=True)
    ]
    assert requests.post(f"{url}/v1/leases", json={"fail": failed}, **asking).status_code == 200
    found = samples(own_server)
    errors = {dict(key[1])["class"]: count for key, count in found.items() if key[0] == "postroom_queue_errors_total"}
    assert errors.pop("Timeout") == 2
    assert errors.pop("unnamed") == 1
    assert errors.pop("other") == 6
    assert errors == {f"C{number}": 1 for number in range(14)}
