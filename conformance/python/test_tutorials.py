"""RabbitMQ's six tutorials in Python, run as a reader would run them."""

import pytest

from broker import ROOT
from programs import Receivers, run
from raw import RawConnection
from steps import eventually

TUTORIALS = ROOT / "examples/python/tutorials"


def remove_names_of_tutorials(url):
    connection = RawConnection.open(url)
    connection.channel(1)
    for queue in ("hello", "task_queue", "rpc_queue"):
        connection.call("queue.delete", 1, queue=queue)
    for exchange in ("logs", "direct_logs", "topic_logs"):
        connection.call("exchange.delete", 1, exchange=exchange)
    connection.close()


@pytest.fixture
def clean(server):
    """Everybody uses the same names here; the examples know a queue `hello` of other settings."""
    remove_names_of_tutorials(server.url)
    yield
    remove_names_of_tutorials(server.url)


@pytest.fixture
def receive(server, clean):
    receivers = Receivers(server.url, TUTORIALS)
    yield receivers
    receivers.end()


@pytest.fixture
def send(server):
    return lambda script, *arguments: run(server.url, TUTORIALS / script, *arguments)


def test_hello_world(receive, send):
    assert send("send.py") == ["sent Hello World!"]
    receiver = receive("receive.py")
    assert receiver.next_line() == "received Hello World!"
    send("send.py")
    assert receiver.next_line() == "received Hello World!"
    assert receiver.rest() == []


def test_work_queues(receive, send):
    workers = [receive("worker.py") for _ in range(2)]
    tasks = ["first.", "second..", "third...", "fourth...."]
    for task in tasks:
        assert send("new_task.py", task) == [f"sent {task}"]
    printed = {worker: [] for worker in workers}

    def all_done():
        for worker in workers:
            while not worker.lines.empty():
                printed[worker].append(worker.lines.get())
        return sum(line.startswith("done") for lines in printed.values() for line in lines) == 4

    eventually(all_done, seconds=15)
    for number, worker in enumerate(workers):
        # One worker gets the first and the third task, the other what is between.
        mine = tasks[number::2]
        assert sorted(printed[worker]) == sorted(
            f"{word} {task}" for task in mine for word in ("received", "done")
        )
        assert worker.rest() == []


def test_work_queues_lose_no_task_of_a_killed_worker(receive, send):
    first = receive("worker.py")
    send("new_task.py", "long" + 30 * ".")
    assert first.next_line().startswith("received long")
    assert first.kill() == []
    second = receive("worker.py")
    assert second.next_line().startswith("received long")
    second.kill()


def test_publish_subscribe(receive, send):
    receivers = [receive("receive_logs.py") for _ in range(2)]
    send("emit_log.py", "we", "close", "at", "six")
    for receiver in receivers:
        assert receiver.next_line() == "we close at six"
        assert receiver.rest() == []


def test_routing(receive, send):
    serious = receive("receive_logs_direct.py", "warning", "error")
    errors = receive("receive_logs_direct.py", "error")
    for severity in ("info", "warning", "error"):
        send("emit_log_direct.py", severity, "the", "roof")
    assert serious.next_lines(2) == ["warning: the roof", "error: the roof"]
    assert errors.next_line() == "error: the roof"
    assert serious.rest() == [] and errors.rest() == []


def test_topics(receive, send):
    critical = receive("receive_logs_topic.py", "*.critical")
    roof = receive("receive_logs_topic.py", "roof.*", "#.leak")
    for key in ("roof.critical", "cellar.critical", "roof.info", "cellar.water.leak", "cellar.info"):
        send("emit_log_topic.py", key, "look")
    assert critical.next_lines(2) == ["roof.critical: look", "cellar.critical: look"]
    assert roof.next_lines(3) == [
        "roof.critical: look",
        "roof.info: look",
        "cellar.water.leak: look",
    ]
    assert critical.rest() == [] and roof.rest() == []


def test_rpc(receive, send):
    server = receive("rpc_server.py")
    assert send("rpc_client.py", "30", "10") == ["fibonacci(30) = 832040", "fibonacci(10) = 55"]
    assert server.next_lines(2) == ["fibonacci(30) = 832040", "fibonacci(10) = 55"]
    assert server.rest() == []
