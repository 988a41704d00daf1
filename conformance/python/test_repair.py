"""`postroom inspect` and `postroom repair`: what of a data directory is damaged, told, and given up."""

import json
import re
import shutil
import subprocess
import time

import pika
import pytest

from broker import Postroom, binary
from steps import PERSISTENT, counts, parameters

VHOST = "vhosts/%2F"
SIZE = 400


def run(command, data_dir, *more):
    words = [binary(), command, "--data-dir", data_dir, *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def contents(folder):
    """Every file and its bytes; but for the lock, which says who looked last."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def body(number):
    return (b"%06d" % number).ljust(SIZE, b".")


def drain(server, queue):
    """The numbers of all messages in a queue."""
    connection = pika.BlockingConnection(parameters(server.url))
    channel = connection.channel()
    ready = counts(channel, queue)[0]
    numbers = []
    if ready:
        for method, _, got in channel.consume(queue, inactivity_timeout=20):
            assert method, f"{queue}: {len(numbers)} of {ready} came"
            assert got == body(int(got[:6]))
            numbers.append(int(got[:6]))
            channel.basic_ack(method.delivery_tag)
            if len(numbers) == ready:
                break
    connection.close()
    return numbers


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A stopped broker's directory: `sealed` has 3,000 messages in a segment, `young` 20 in the journal."""
    folder = tmp_path_factory.mktemp("stored")
    server = Postroom(folder, ["--memory-bytes-max", str(1 << 20)]).start()
    try:
        connection = pika.BlockingConnection(parameters(server.url))
        channel = connection.channel()
        channel.queue_declare("sealed", durable=True)
        channel.queue_declare("young", durable=True)
        channel.tx_select()
        for number in range(3000):
            channel.basic_publish("", "sealed", body(number), PERSISTENT)
        channel.tx_commit()
        deadline = time.monotonic() + 20
        while not list((server.data_dir / VHOST).glob("segment-*")):
            assert time.monotonic() < deadline, "no segment"
            time.sleep(0.05)
        connection.close()
        # What was sealed goes into a checkpoint, and the frames of the start before it.
        server.restart()
        connection = pika.BlockingConnection(parameters(server.url))
        channel = connection.channel()
        channel.confirm_delivery()
        for number in range(20):
            channel.basic_publish("", "young", body(number), PERSISTENT)
        connection.close()
        assert server.stop() == 0
    finally:
        if server.process:
            server.kill()
    return server.data_dir


@pytest.fixture
def server(stored, tmp_path):
    """A broker that is not started, with a copy of the directory."""
    server = Postroom(tmp_path, ["--memory-bytes-max", str(1 << 20)])
    shutil.copytree(stored, server.data_dir)
    yield server
    if server.process:
        server.kill()


def refused(server):
    """Starts it, and what it says when it does not start."""
    with pytest.raises(AssertionError):
        server.start()
    server.process = None
    return server.log.read_text()


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def frames(server):
    """The frames of the journal, as `inspect` tells them to programs."""
    told = run("inspect", server.data_dir, "--vhost", "/", "--json")
    assert told.returncode == 0, told.stderr
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    return [line for line in lines if line["kind"] == "frame"]


def repaired(server):
    """Repairs: first what is said, and nothing done; then in earnest. What was said."""
    before = contents(server.data_dir)
    said = run("repair", server.data_dir)
    assert said.returncode == 1, said.stdout + said.stderr
    assert contents(server.data_dir) == before, "nothing changes without --yes"
    assert "Nothing was changed" in said.stdout
    done = run("repair", server.data_dir, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    after = contents(server.data_dir)
    asides = list(server.data_dir.glob("damaged-*"))
    for name, data in before.items():
        kept = [after.get(f"{aside.name}/{name}") for aside in asides]
        assert after.get(name) == data or data in kept, f"the original of {name} is kept"
    again = run("repair", server.data_dir)
    assert again.returncode == 0 and "nothing is damaged" in again.stdout
    return said.stdout


def test_nothing_is_done_to_what_is_whole(server):
    before = contents(server.data_dir)
    for more in ([], ["--yes"]):
        done = run("repair", server.data_dir, *more)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "nothing is damaged" in done.stdout
    assert contents(server.data_dir) == before
    assert not list(server.data_dir.glob("damaged-*"))


def test_a_lost_frame_takes_its_messages_and_no_others(server):
    chunks = [frame for frame in frames(server) if "enqueued" in frame["records"]]
    frame = chunks[-12]
    flip(server.data_dir / VHOST / frame["file"], frame["offset"] + 100)
    said = refused(server)
    assert "the frame's payload fails its checksum" in said
    assert "postroom repair --data-dir" in said
    looked = run("inspect", server.data_dir, "--vhost", "/")
    assert looked.returncode == 1
    assert f"DAMAGED {frame['file']}, offset {frame['offset']}" in looked.stdout
    assert f"the frame of position {frame['position']} is lost" in repaired(server)
    server.start()
    young = drain(server, "young")
    assert young == sorted(young) and len(young) == 19
    assert drain(server, "sealed") == list(range(3000))
    server.restart()


def test_a_damaged_block_takes_its_messages_and_no_others(server):
    (segment,) = (server.data_dir / VHOST).glob("segment-*")
    flip(segment, segment.stat().st_size // 2)
    server.start()  # blocks are not read at the start
    connection = pika.BlockingConnection(parameters(server.url))
    channel = connection.channel()
    with pytest.raises((pika.exceptions.AMQPError, AssertionError)):
        for method, _, _ in channel.consume("sealed", inactivity_timeout=10):
            assert method
    deadline = time.monotonic() + 10
    while "postroom repair --data-dir" not in server.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.kill()
    said = repaired(server)
    (lost,) = re.findall(r"queue 'sealed': (\d+) messages of segment-\d+ are lost", said)
    assert 0 < int(lost) < 400
    server.start()
    sealed = drain(server, "sealed")
    assert sealed == sorted(set(sealed)) and len(sealed) == 3000 - int(lost)
    assert sealed[0] == 0 and sealed[-1] == 2999
    assert drain(server, "young") == list(range(20))
    server.restart()


def test_without_its_index_a_segment_loses_nothing(server):
    (segment,) = (server.data_dir / VHOST).glob("segment-*")
    flip(segment, segment.stat().st_size - 30)
    assert "the trailer fails its checksum" in refused(server)
    said = repaired(server)
    assert "messages of segment" not in said and "0 messages in them are lost" in said
    server.start()
    assert drain(server, "sealed") == list(range(3000))
    assert drain(server, "young") == list(range(20))


def test_a_missing_segment_takes_no_other_messages(server):
    (segment,) = (server.data_dir / VHOST).glob("segment-*")
    segment.unlink()
    assert "postroom repair --data-dir" in refused(server)
    said = repaired(server)
    # Those that came last were not in it yet.
    (lost,) = re.findall(f"queue 'sealed': (\\d+) messages of {segment.name} are lost", said)
    assert int(lost) > 1000
    server.start()
    assert drain(server, "sealed") == list(range(int(lost), 3000))
    assert drain(server, "young") == list(range(20))


def test_a_virtual_host_without_its_journal_is_not_taken_for_an_empty_one(server):
    for journal in (server.data_dir / VHOST).glob("journal-*"):
        journal.unlink()
    before = contents(server.data_dir / VHOST)
    said = refused(server)
    assert "segment-0000000000" in said and "postroom repair --data-dir" in said
    assert contents(server.data_dir / VHOST) == before, "nothing is deleted"
    said = repaired(server)
    assert "whose messages come back" in said
    (back,) = re.findall(r"with --yes its (\d+) messages come back", said)
    assert int(back) > 1000
    server.start()
    connection = pika.BlockingConnection(parameters(server.url))
    names = [f"postroom.repaired.queue-{number}" for number in range(3)]
    found = []
    for name in names:
        channel = connection.channel()
        try:
            channel.queue_declare(name, passive=True)
            found.append(name)
        except pika.exceptions.ChannelClosedByBroker:
            pass
    connection.close()
    (queue,) = found
    assert drain(server, queue) == list(range(int(back)))
    server.restart()


def test_the_catalogue_keeps_the_virtual_hosts_that_have_folders(server):
    for journal in (server.data_dir / "catalogue").glob("journal-*"):
        data = journal.read_bytes()
        journal.write_bytes(bytes(64) + data[64:4096] + bytes(len(data) - 4096))
    assert "postroom repair --data-dir" in refused(server)
    said = repaired(server)
    assert "virtual host '/' is not in the catalogue any more" in said
    server.start()
    assert drain(server, "sealed") == list(range(3000))


def test_a_running_broker_is_not_repaired(server):
    server.start()
    done = run("repair", server.data_dir)
    assert done.returncode == 1
    assert "another Postroom" in done.stderr
    server.check_alive()


def test_another_directory_is_not_taken_for_one(tmp_path):
    for command in ("inspect", "repair"):
        done = run(command, tmp_path)
        assert done.returncode == 1
        assert "is no data directory" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bodies_are_shown_to_who_asks_only(server):
    secret = "000007."
    plain = run("inspect", server.data_dir, "--detail", "records")
    assert secret not in plain.stdout and "PasswordHash" not in plain.stdout
    assert "chunk" in plain.stdout and "block: offset" in plain.stdout
    shown = run("inspect", server.data_dir, "--detail", "bodies")
    assert secret in shown.stdout
