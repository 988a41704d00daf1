"""Traces: the context in a message's headers passes through untouched, and what the broker did with
the message is told by OTLP, to a receiver that reads it with OpenTelemetry's own messages."""

import json
import secrets
import socket
import subprocess
import time

import pika
import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from broker import binary
from receivers import Receiver
from steps import parameters
from test_metrics import samples, value

pytestmark = pytest.mark.postroom_only(reason="RabbitMQ makes no spans")

AUTH = ("guest", "guest")


def context(flags="01"):
    """A trace and a span of a publisher, and its header."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{flags}"


def properties(header=None, **more):
    headers = {"traceparent": header, "tracestate": "a=1,b@c=2"} if header else {}
    return pika.BasicProperties(delivery_mode=2, headers={**headers, **more})


def attributes(span):
    def plain(value):
        return getattr(value, value.WhichOneof("value"))

    return {it.key: plain(it.value) for it in span.attributes}


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


class Traced:
    """A broker that exports to a receiver, and a channel to it."""

    def __init__(self, start_own, receiver, *arguments):
        self.receiver = receiver
        self.server = start_own("--otlp-endpoint", receiver.url, *arguments)
        self.connection = pika.BlockingConnection(parameters(self.server.url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def spans(self, trace=None):
        found = []
        for body in self.receiver.accepted():
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found += [it for it in scope.spans if trace in (None, it.trace_id.hex())]
        return found

    def wait_for(self, trace, count):
        """The spans of a trace, once there are so many, by name."""
        def look():
            found = self.spans(trace)
            return found if len(found) >= count else None

        found = self.receiver.wait_for(look)
        assert len(found) == count, [it.name for it in found]
        return {it.name: it for it in found}


@pytest.fixture
def traced(start_own, receiver):
    made = Traced(start_own, receiver)
    yield made
    if made.connection.is_open:
        made.connection.close()


def url(server, path):
    return f"http://{server.host}:{server.http_port}{path}"


def test_the_context_passes_through_untouched(connection, names):
    channel = connection.channel()
    queue = names.queue()
    channel.queue_declare(queue, durable=True)
    headers = {
        "traceparent": context()[2],
        "tracestate": "vendor=t61rcWkgMzE, other@tenant=x",
        "baggage": "k=v",
        "x": [1, {"traceparent": True}],
    }
    for given in (headers, {"traceparent": "no context at all"}, {"traceparent": 7}):
        sent = pika.BasicProperties(headers=given)
        channel.basic_publish("", queue, b"x", sent)
        _, got, _ = channel.basic_get(queue, auto_ack=True)
        assert got.headers == given


def test_a_request_brings_its_context_along(server, connection, names):
    queue = names.queue()
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    _, _, asked = context()
    _, _, own = context()
    post = {"auth": AUTH, "timeout": 30}
    to = url(server, f"/v1/queues/{queue}/messages")
    trace = {"traceparent": asked, "tracestate": "a=1"}
    many = {"messages": [{"body": "two"}, {"body": "three", "headers": {"traceparent": own}}]}
    for answer in (
        requests.post(to, data=b"one", headers={"Content-Type": "text/plain", **trace}, **post),
        requests.post(to, json=many, headers=trace, **post),
        requests.post(to, data=b"four", headers={"Content-Type": "text/plain"}, **post),
        requests.post(to, data=b"five", headers={"Content-Type": "text/plain", "traceparent": "x"}, **post),
    ):
        assert answer.status_code == 201, answer.text
    headers = []
    for _ in range(4):
        _, got, _ = channel.basic_get(queue, auto_ack=True)
        headers.append(got.headers or {})
    assert headers == [trace, trace, {"traceparent": own}, {}]
    # Whoever leases sees it, too.
    leased = requests.post(url(server, f"/v1/queues/{queue}/lease"), **post).json()["messages"]
    assert "headers" not in leased[0]
    requests.post(url(server, "/v1/leases"), json={"ack": [{"lease": leased[0]["lease"]}]}, **post)
    requests.post(to, json={"body": "six"}, headers=trace, **post)
    leased = requests.post(url(server, f"/v1/queues/{queue}/lease"), **post).json()["messages"]
    assert leased[0]["headers"] == trace
    # A request under the management API does the same.
    to = url(server, "/api/exchanges/%2F/amq.default/publish")
    body = {"routing_key": queue, "payload": "six", "payload_encoding": "string"}
    for properties in ({}, {"headers": {"x": 1}}, {"headers": {"traceparent": own}}):
        answer = requests.post(to, json=body | {"properties": properties}, headers=trace, **post)
        assert answer.json() == {"routed": True}, answer.text
        _, got, _ = channel.basic_get(queue, auto_ack=True)
        expected = properties.get("headers", {})
        assert got.headers == (expected if "traceparent" in expected else expected | trace)


def test_a_publish_and_its_queue_are_told(traced):
    channel = traced.channel
    channel.exchange_declare("shop", "topic")
    channel.queue_declare("orders", durable=True)
    channel.queue_bind("orders", "shop", "order.#")
    trace, parent, header = context()
    before = time.time_ns()
    channel.basic_publish("shop", "order.new", b"12345", properties(header))
    method, got, _ = next(channel.consume("orders"))
    assert got.headers["traceparent"] == header
    channel.basic_nack(method.delivery_tag)
    method, _, _ = next(channel.consume("orders"))
    channel.basic_ack(method.delivery_tag)
    channel.cancel()
    spans = traced.wait_for(trace, 2)
    after = time.time_ns()
    publish, queued = spans["publish shop"], spans["queue orders"]
    slack = 50_000_000
    for span in (publish, queued):
        assert span.parent_span_id.hex() == parent
        assert span.kind == Span.SPAN_KIND_SERVER
        assert span.trace_state == "a=1,b@c=2"
        [link] = span.links
        assert (link.trace_id.hex(), link.span_id.hex()) == (trace, parent)
        assert before - slack <= span.start_time_unix_nano <= span.end_time_unix_nano <= after + slack
        found = attributes(span)
        assert found["messaging.system"] == "postroom"
        assert found["messaging.message.body.size"] == 5
        assert found["messaging.rabbitmq.destination.routing_key"] == "order.new"
        assert found["postroom.vhost"] == "/"
        assert span.status.code == Status.STATUS_CODE_UNSET
    assert publish.span_id != queued.span_id
    assert attributes(publish)["postroom.outcome"] == "taken"
    assert attributes(publish)["messaging.destination.name"] == "shop"
    assert attributes(queued)["postroom.outcome"] == "acknowledged"
    assert attributes(queued)["messaging.destination.name"] == "orders"
    assert attributes(queued)["postroom.deliveries"] == 2
    first, last = [event.time_unix_nano for event in queued.events]
    assert queued.start_time_unix_nano <= first <= last <= queued.end_time_unix_nano
    [resource] = {
        it.resource.attributes[0].value.string_value
        for body in traced.receiver.accepted()
        for it in ExportTraceServiceRequest.FromString(body).resource_spans
    }
    assert resource == "postroom"
    path, headers, _, _ = traced.receiver.requests[0]
    assert path == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"


def test_every_way_to_leave_is_told(traced):
    channel = traced.channel
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue_declare("plain", durable=True)
    channel.queue_declare("short", durable=True, arguments={"x-max-length": 1})
    channel.queue_declare("dying", durable=True, arguments=dead)
    channel.queue_declare("dead", durable=True)
    traces = {}

    def publish(what, queue):
        traces[what], _, header = context()
        try:
            channel.basic_publish("", queue, b"x", properties(header), mandatory=queue == "nowhere")
        except pika.exceptions.UnroutableError:
            assert queue == "nowhere"

    def outcome(what, name, count=2):
        found = attributes(traced.wait_for(traces[what], count)[name])
        return found["postroom.outcome"], found.get("postroom.reason")

    publish("unroutable", "nowhere")
    assert outcome("unroutable", "publish nowhere", 1) == ("unroutable", None)
    publish("sent", "plain")
    channel.basic_get("plain", auto_ack=True)
    assert outcome("sent", "queue plain") == ("sent", None)
    publish("rejected", "plain")
    channel.basic_reject(channel.basic_get("plain")[0].delivery_tag, requeue=False)
    assert outcome("rejected", "queue plain") == ("dropped", "rejected")
    publish("purged", "plain")
    channel.queue_purge("plain")
    assert outcome("purged", "queue plain") == ("purged", None)
    publish("overflowed", "short")
    publish("gone", "short")
    assert outcome("overflowed", "queue short") == ("dropped", "maxlen")
    channel.queue_delete("short")
    assert outcome("gone", "queue short") == ("purged", None)
    publish("dying", "dying")
    channel.basic_reject(channel.basic_get("dying")[0].delivery_tag, requeue=False)
    # The dead letter is the same message, and goes on with the same context.
    channel.basic_get("dead", auto_ack=True)
    assert outcome("dying", "queue dying", 3) == ("dead_lettered", "rejected")
    assert outcome("dying", "queue dead", 3) == ("sent", None)
    publish("leased", "plain")
    post = {"auth": AUTH, "timeout": 30}
    lease = requests.post(url(traced.server, "/v1/queues/plain/lease"), **post).json()["messages"][0]
    requests.post(url(traced.server, "/v1/leases"), json={"ack": [{"lease": lease["lease"]}]}, **post)
    assert outcome("leased", "queue plain") == ("acknowledged", None)


def test_only_recorded_traces_are_told(traced):
    channel = traced.channel
    channel.queue_declare("q", durable=True)
    trace, _, header = context()
    _, _, unsampled = context("00")
    for given in (unsampled, None, "no context", header):
        channel.basic_publish("", "q", b"x", properties(given))
        channel.basic_get("q", auto_ack=True)
    traced.wait_for(trace, 2)
    assert {it.trace_id.hex() for it in traced.spans()} == {trace}
    deadline = time.monotonic() + 20
    while value(samples(traced.server), "postroom_spans_total", outcome="exported") < 2:
        assert time.monotonic() < deadline
    assert value(samples(traced.server), "postroom_spans_total", outcome="dropped") == 0


def test_a_share_of_none_is_none(start_own, receiver):
    traced = Traced(start_own, receiver, "--otlp-sample-share", "0")
    traced.channel.queue_declare("q")
    traced.channel.basic_publish("", "q", b"x", properties(context()[2]))
    traced.channel.basic_get("q", auto_ack=True)
    traced.connection.close()
    assert traced.server.stop() == 0
    assert receiver.requests == []


def test_what_waits_is_told_at_the_end(traced):
    traced.channel.queue_declare("q", durable=True)
    trace, _, header = context()
    traced.channel.basic_publish("", "q", b"x", properties(header))
    traced.channel.basic_get("q", auto_ack=True)
    traced.connection.close()
    assert traced.server.stop() == 0
    assert {it.name for it in traced.spans(trace)} == {"publish q", "queue q"}


def test_a_busy_receiver_is_asked_again(start_own, receiver):
    receiver.statuses = [503, 429]
    traced = Traced(start_own, receiver, "--otlp-headers", "authorization=Bearer telling,x-tenant=t")
    traced.channel.queue_declare("q", durable=True)
    trace, _, header = context()
    traced.channel.basic_publish("", "q", b"x", properties(header))
    traced.wait_for(trace, 1)
    assert [status for *_, status in receiver.requests[:3]] == [503, 429, 200]
    assert receiver.requests[0][2] == receiver.requests[2][2]
    assert receiver.requests[0][1]["authorization"] == "Bearer telling"
    assert receiver.requests[0][1]["x-tenant"] == "t"
    traced.connection.close()
    assert traced.server.stop() == 0
    assert "telling" not in traced.server.log.read_text()


def test_nobody_listens_and_the_broker_goes_on(start_own):
    gone = Receiver()
    gone.close()
    traced = Traced(start_own, gone)
    traced.channel.queue_declare("q", durable=True)
    for _ in range(100):
        traced.channel.basic_publish("", "q", b"x", properties(context()[2]))
        traced.channel.basic_get("q", auto_ack=True)
    traced.connection.close()
    assert traced.server.stop() == 0
    log = traced.server.log.read_text()
    assert "traces can't be exported" in log
    assert "exported=0 dropped=200" in log


def test_a_receiver_that_hangs_holds_nobody_up(start_own):
    # It takes connections and requests, and never answers.
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        class Deaf:
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"

        traced = Traced(start_own, Deaf())
        traced.channel.queue_declare("q", durable=True)
        for _ in range(500):
            traced.channel.basic_publish("", "q", b"x", properties(context()[2]))
            assert traced.channel.basic_get("q", auto_ack=True)[0]
        traced.connection.close()
        assert traced.server.stop() == 0
        assert "exported=0 dropped=1000" in traced.server.log.read_text()


def test_a_virtual_host_that_is_made_later_is_traced(traced):
    post = {"auth": AUTH, "timeout": 30}
    assert requests.put(url(traced.server, "/api/vhosts/later"), **post).status_code == 201
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    where = url(traced.server, "/api/permissions/later/guest")
    assert requests.put(where, json=rights, **post).status_code in (201, 204)
    assert requests.put(url(traced.server, "/v1/queues/q?vhost=later"), **post).status_code < 300
    trace, _, header = context()
    to = url(traced.server, "/v1/queues/q/messages?vhost=later")
    assert requests.post(to, json={"body": "x"}, headers={"traceparent": header}, **post).status_code == 201
    [span] = traced.wait_for(trace, 1).values()
    assert attributes(span)["postroom.vhost"] == "later"


def test_a_transaction_is_traced_when_it_is_committed(traced):
    traced.channel.queue_declare("q", durable=True)
    channel = traced.connection.channel()
    channel.tx_select()
    trace, _, header = context()
    channel.basic_publish("", "q", b"x", properties(header))
    channel.tx_rollback()
    channel.basic_publish("", "q", b"y", properties(header))
    channel.tx_commit()
    traced.channel.basic_get("q", auto_ack=True)
    assert set(traced.wait_for(trace, 2)) == {"publish q", "queue q"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--otlp-endpoint", "ftp://host"], "a URL begins with http:// or https:// and a host"),
        (["--otlp-endpoint", "http://u:telling@host"], "a URL names no user"),
        (["--otlp-sample-share", "2"], "a number from 0 to 1"),
        (["--otlp-endpoint", "http://host", "--otlp-headers", "telling"], "headers are written NAME=VALUE"),
    ],
)
def test_wrong_settings_are_named(tmp_path, arguments, words):
    serve = [binary(), "serve", "--data-dir", tmp_path / "data", "--amqp-port", "0", "--http-port", "0"]
    done = subprocess.run([*serve, *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert words in done.stderr


def test_spans_are_readable_as_otlp_json(traced):
    """The receiver's own library finds no field that it does not know."""
    traced.channel.queue_declare("q", durable=True)
    trace, _, header = context()
    traced.channel.basic_publish("", "q", b"x", properties(header))
    traced.wait_for(trace, 1)
    for body in traced.receiver.accepted():
        request = ExportTraceServiceRequest.FromString(body)
        assert request.SerializeToString(deterministic=True) == body
        assert json.dumps(str(request))
