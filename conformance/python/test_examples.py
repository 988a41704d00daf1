"""The example programs of `examples/python`, run as a reader would run them."""

import os
import queue
import signal
import subprocess
import sys
import threading

import pika
import pytest

from broker import ROOT
from steps import counts, eventually, parameters

EXAMPLES = ROOT / "examples/python"


class Receiver:
    """A program that runs until it is told to end, with what it prints."""

    def __init__(self, url, script, *arguments):
        self.lines = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, EXAMPLES / script, *arguments],
            env=os.environ | {"AMQP_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def next_line(self, seconds=15):
        return self.lines.get(timeout=seconds)

    def next_lines(self, count):
        return [self.next_line() for _ in range(count)]

    def rest(self):
        """End it as Ctrl-C does; what it had printed besides its farewell."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(10) == 0
        *lines, farewell = self.printed_to_the_end()
        assert farewell == "bye"
        return lines

    def kill(self):
        """End it at once; what it had printed besides."""
        self.process.kill()
        self.process.wait()
        return self.printed_to_the_end()

    def printed_to_the_end(self):
        self.reader.join()
        return list(self.lines.queue)


@pytest.fixture
def receive(server):
    started = []

    def start(script, *arguments):
        receiver = Receiver(server.url, script, *arguments)
        started.append(receiver)
        first = receiver.next_line()
        assert first.startswith("waiting for "), "\n".join([first, *receiver.kill()])
        return receiver

    yield start
    for receiver in started:
        if receiver.process.poll() is None:
            receiver.process.kill()
        receiver.process.wait()


@pytest.fixture
def send(server):
    def run(script, *arguments):
        done = subprocess.run(
            [sys.executable, EXAMPLES / script, *arguments],
            env=os.environ | {"AMQP_URL": server.url},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


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
