"""`postroom backup`: a copy of a data directory that starts, taken while the broker is at work."""

import subprocess
import threading

import pika
import pytest

from broker import Postroom, binary
from steps import PERSISTENT, counts, parameters

LARGE = 64 << 10


def backup(data_dir, to):
    command = [binary(), "backup", "--data-dir", data_dir, "--to", to]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def start_copy(tmp_path):
    """Backs a server up and starts what came of it."""
    started = []

    def start(server):
        folder = tmp_path / f"copy-{len(started)}"
        folder.mkdir()
        copy = Postroom(folder)
        done = backup(server.data_dir, copy.data_dir)
        assert done.returncode == 0, done.stderr
        started.append(copy.start())
        return copy, done.stdout

    yield start
    for copy in started:
        if copy.process:
            copy.kill()


def drain(server, queue):
    """The bodies of all messages in a queue."""
    connection = pika.BlockingConnection(parameters(server.url))
    channel = connection.channel()
    ready = counts(channel, queue)[0]
    bodies = []
    for method, _, body in channel.consume(queue, inactivity_timeout=20):
        assert method, f"{queue}: {len(bodies)} of {ready} came"
        bodies.append(body)
        if len(bodies) == ready:
            break
    connection.close()
    return bodies


class Worker(threading.Thread):
    """Publishes one after the other with confirms: to `kept`, and large ones to `flow`, which it
    takes out again but for the last few."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.url = server.url
        self.confirmed = 0
        self.taken = 0  # of `flow`, before anything is asked to be settled
        self.over = threading.Event()
        self.error = None

    def run(self):
        try:
            self.work()
        except Exception as error:
            self.error = error

    def work(self):
        connection = pika.BlockingConnection(parameters(self.url))
        channel = connection.channel()
        channel.queue_declare("kept", durable=True)
        channel.queue_declare("flow", durable=True)
        channel.confirm_delivery()
        number = 0
        while not self.over.is_set():
            channel.basic_publish("", "kept", b"%08d" % number, PERSISTENT)
            channel.basic_publish("", "flow", (b"%08d" % number).ljust(LARGE, b"."), PERSISTENT)
            number += 1
            self.confirmed = number
            if number > 10:
                self.taken += 1
                method, _, body = channel.basic_get("flow")
                assert int(body[:8]) == self.taken - 1
                channel.basic_ack(method.delivery_tag)
        connection.close()


def test_a_backup_under_load_has_all_that_was_confirmed_before(own_server, start_copy):
    worker = Worker(own_server)
    worker.start()
    for wanted in (500, 1500, 2500):
        while worker.confirmed < wanted and worker.error is None:
            worker.join(0.01)
        before = worker.confirmed
        copy, said = start_copy(own_server)
        taken = worker.taken
        assert "vhost '/': 2 queues" in said
        kept = [int(body) for body in drain(copy, "kept")]
        assert kept == list(range(len(kept))), "a whole beginning, in order"
        assert len(kept) >= before
        flow = drain(copy, "flow")
        numbers = [int(body[:8]) for body in flow]
        assert all(body == (b"%08d" % int(body[:8])).ljust(LARGE, b".") for body in flow)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[0] <= taken, "only what was taken is gone"
        assert numbers[-1] >= before - 1
        assert copy.stop() == 0
    worker.over.set()
    worker.join(20)
    assert worker.error is None
    own_server.check_alive()


def test_a_stopped_broker_is_backed_up_too(own_server, start_copy):
    connection = pika.BlockingConnection(parameters(own_server.url))
    channel = connection.channel()
    channel.queue_declare("orders", durable=True)
    channel.confirm_delivery()
    for number in range(100):
        channel.basic_publish("", "orders", b"%d" % number, PERSISTENT)
    connection.close()
    own_server.stop()
    copy, said = start_copy(own_server)
    assert "vhost '/': 1 queues, 100 messages" in said
    assert drain(copy, "orders") == [b"%d" % number for number in range(100)]
    own_server.start()
    assert drain(own_server, "orders") == [b"%d" % number for number in range(100)]


def test_users_come_along(start_copy, tmp_path):
    first = {"POSTROOM_DEFAULT_USER": "ana", "POSTROOM_DEFAULT_PASS": "a password of hers"}
    folder = tmp_path / "hers"
    folder.mkdir()
    server = Postroom(folder, environment=first).start()
    try:
        copy, _ = start_copy(server)
    finally:
        server.kill()
    login = pika.PlainCredentials("ana", "a password of hers")
    where = pika.ConnectionParameters(copy.host, copy.port, credentials=login)
    pika.BlockingConnection(where).close()
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(parameters(copy.url))


def test_a_backup_does_not_write_over_anything(own_server, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    refused = backup(own_server.data_dir, taken)
    assert refused.returncode == 1
    assert f"{taken} exists already" in refused.stderr
    refused = backup(tmp_path, tmp_path / "new")
    assert refused.returncode == 1
    assert "is no data directory" in refused.stderr
    assert not (tmp_path / "new").exists()


def filled(server):
    connection = pika.BlockingConnection(parameters(server.url))
    channel = connection.channel()
    channel.queue_declare("orders", durable=True)
    channel.confirm_delivery()
    for number in range(20):
        channel.basic_publish("", "orders", b"%d" % number, PERSISTENT)
    connection.close()


@pytest.mark.parametrize("folder", ["vhosts/%2F", "catalogue"])
def test_of_a_damaged_directory_there_is_no_backup(own_server, start_copy, tmp_path, folder):
    filled(own_server)
    own_server.stop()
    [journal] = (own_server.data_dir / folder).glob("journal-*")
    whole = journal.read_bytes()
    # A byte of the first frame; others behind it know that it was durable.
    journal.write_bytes(whole[:4166] + bytes([whole[4166] ^ 1]) + whole[4167:])
    refused = backup(own_server.data_dir, tmp_path / "new" / "copy")
    assert refused.returncode == 1, "its parent is missing"
    refused = backup(own_server.data_dir, tmp_path / "copy")
    assert refused.returncode == 1
    for word in (f"{folder}: ", journal.name, "offset 4096", "checksum"):
        assert word in refused.stderr, refused.stderr
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")]
    journal.write_bytes(whole)
    copy, _ = start_copy(own_server)
    assert len(drain(copy, "orders")) == 20


def test_a_target_that_can_not_be_written_gets_nothing(own_server, tmp_path):
    filled(own_server)
    # A name so long that it fits, but not with what it is called before it is whole.
    long = tmp_path / ("c" * 250)
    for to, said in ((tmp_path / "a" / "b", "No such file"), (long, "name too long")):
        before = sorted(tmp_path.iterdir())
        refused = backup(own_server.data_dir, to)
        assert refused.returncode == 1
        assert said in refused.stderr, refused.stderr
        assert sorted(tmp_path.iterdir()) == before
    own_server.check_alive()
