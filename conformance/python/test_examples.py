"""The example programs of `examples/python`, run as a reader would run them."""

import pika
import pytest

from broker import ROOT
from programs import Receivers, run
from steps import counts, eventually, parameters

EXAMPLES = ROOT / "examples/python"


@pytest.fixture
def receive(server):
    receivers = Receivers(server.url, EXAMPLES)
    yield receivers
    receivers.end()


@pytest.fixture
def send(server):
    return lambda script, *arguments: run(server.url, EXAMPLES / script, *arguments)


def test_hello(receive, send):
    receiver = receive("hello_receive.py")
    assert send("hello_send.py", "Anna") == ["sent a greeting to Anna"]
    assert receiver.next_line() == "received: Hello, Anna!"
    assert receiver.rest() == []


@pytest.fixture
def parcels(server):
    """A channel to look at the queue of parcels, which is deleted before and after."""
    channel = pika.BlockingConnection(parameters(server.url)).channel()
    channel.queue_delete("parcels")
    yield channel
    channel.queue_delete("parcels")
    channel.connection.close()


def test_work_queue(parcels, receive, send):
    workers = [receive("work_queue_worker.py") for _ in range(2)]
    assert send("work_queue_send.py", "10") == ["10 parcels are safe"]
    done = []

    def all_done():
        for worker in workers:
            while not worker.lines.empty():
                done.append((worker, worker.lines.get()))
        return len(done) == 10

    eventually(all_done, seconds=15)
    assert sorted(line for _, line in done) == sorted(f"sorted parcel {n}" for n in range(1, 11))
    assert {worker for worker, _ in done} == set(workers), "both had work"
    eventually(lambda: counts(parcels, "parcels") == (0, 2))
    for worker in workers:
        assert worker.rest() == []


def test_work_queue_passes_on_the_work_of_one_who_died(parcels, receive, send):
    send("work_queue_send.py", "6")
    first = receive("work_queue_worker.py")
    sorted_by_first = [first.next_line()]
    sorted_by_first += first.kill()
    second = receive("work_queue_worker.py")
    # What it had printed and not yet acknowledged is sorted once more.
    done = set(sorted_by_first)
    while done != {f"sorted parcel {n}" for n in range(1, 7)}:
        done.add(second.next_line())
    second.rest()


def test_publish_subscribe(receive, send):
    receivers = [receive("publish_subscribe_receive.py") for _ in range(3)]
    send("publish_subscribe_send.py", "We", "close", "at", "six")
    for receiver in receivers:
        assert receiver.next_line() == "notice: We close at six"
        assert receiver.rest() == []


def test_routing(receive, send):
    serious = receive("routing_receive.py", "warning", "error")
    everything = receive("routing_receive.py")
    for severity, text in (
        ("info", "fine"),
        ("error", "fire"),
        ("warning", "smoke"),
        ("debug", "noise"),
    ):
        assert send("routing_send.py", severity, text) == [f"reported as {severity}"]
    assert serious.next_lines(2) == ["error: fire", "warning: smoke"]
    assert everything.next_lines(3) == ["info: fine", "error: fire", "warning: smoke"]
    assert serious.rest() == [] and everything.rest() == []


def test_topics(receive, send):
    oslo = receive("topics_receive.py", "*.oslo.#")
    rain_or_france = receive("topics_receive.py", "#.rain", "france.#")
    for key in ("norway.oslo.wind", "norway.bergen.rain", "france.paris.rain", "norway.oslo"):
        send("topics_send.py", key, "reading")
    assert oslo.next_lines(2) == ["norway.oslo.wind: reading", "norway.oslo: reading"]
    assert rain_or_france.next_lines(2) == [
        "norway.bergen.rain: reading",
        "france.paris.rain: reading",
    ]
    assert oslo.rest() == [] and rain_or_france.rest() == []


def test_rpc(receive, send):
    server = receive("rpc_server.py")
    assert send("rpc_client.py", "20", "750") == ["20 g cost 100", "750 g cost 660"]
    assert server.next_lines(2) == ["20 g cost 100", "750 g cost 660"]
    assert server.rest() == []
