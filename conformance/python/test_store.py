"""Data directories that earlier versions wrote, and this one must read: see store.py."""

import json
import shutil
from pathlib import Path

import pika
import pytest

from broker import Postroom
from management import Management
from steps import counts, parameters
from store import KINDS, SIZE, body, kinds

STORES = sorted(path for path in (Path(__file__).parent / "stores").iterdir() if path.is_dir())


@pytest.fixture(params=STORES, ids=lambda path: path.name)
def store(request):
    return request.param


@pytest.fixture
def server(store, tmp_path):
    """A broker on a copy of the store."""
    shutil.copytree(store / "data", tmp_path / "data")
    started = Postroom(tmp_path).start()
    yield started
    if started.process:
        started.kill()


@pytest.mark.postroom_only(reason="another broker has another format")
def test_a_stored_directory_is_read(server, store):
    expected = json.loads((store / "expected.json").read_text())
    connection = pika.BlockingConnection(parameters(server.url))
    channel = connection.channel()
    for mark in ("before", "after"):
        for kind in ("direct", "fanout", "topic", "headers"):
            channel.exchange_declare(f"{kind}-{mark}", passive=True)
        channel.confirm_delivery()
        # What is unbound, deleted or bound reads back as such.
        channel.basic_publish(f"topic-{mark}", "b.c", b"to nobody")
        channel.basic_publish(f"topic-{mark}", "a", body(100))
        red = pika.BasicProperties(headers={"colour": "red"}, delivery_mode=2)
        channel.basic_publish(f"headers-{mark}", "", body(101), red)
        expected["queues"][f"plain-{mark}"] += [100, 101]
    for queue, numbers in expected["queues"].items():
        assert counts(channel, queue)[0] == len(numbers), queue
        came = []
        for _ in numbers:
            method, properties, got = channel.basic_get(queue, auto_ack=True)
            assert len(got) == SIZE and got == body(int(got[:6]))
            came.append(int(got[:6]))
            if queue.startswith("letters"):
                assert properties.headers["x-death"][0]["reason"] == "rejected"
        assert came == numbers, queue
    for mark in ("before", "after"):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as gone:
            connection.channel().queue_declare(f"doomed-{mark}", passive=True)
        assert gone.value.reply_code == 404
    connection.close()
    assert server.stop() == 0
    server.start()


@pytest.mark.postroom_only(reason="another broker has another format")
def test_a_stored_catalogue_is_read(server, store):
    expected = json.loads((store / "expected.json").read_text())
    api = Management.of(server)
    for user in expected["users"]:
        assert api.ask("GET", f"/users/{user}").status == 200, user
    for path, wanted in expected.get("asked", {}).items():
        answer = api.ask("GET", path)
        if isinstance(wanted, dict):
            assert wanted.items() <= answer.json.items(), (path, answer)
        elif wanted is None:
            assert answer.status == 404, (path, answer)
        else:
            assert answer.json == wanted, path
    for secret, status in expected.get("tokens", {}).items():
        asked = Management.of(server, token=secret).ask("GET", "/v1/whoami")
        assert asked.status == status, asked


def test_a_store_has_every_kind_of_record(store):
    """Kinds that came later are in later stores."""
    found = {part: kinds(store / "data" / part) for part in KINDS}
    assert all(found.values())
    if store.name == "1":
        assert found == {"vhosts/%2F": set(range(1, 18)), "catalogue": set(range(20, 26))}
    if store.name == "2":
        assert found == {part: set(wanted) for part, wanted in KINDS.items()}


def test_a_store_of_this_format_tells_that_it_was_repaired(tmp_path):
    """The void frame in it, whose message is gone."""
    shutil.copytree(STORES[1] / "data", tmp_path / "data")
    server = Postroom(tmp_path).start()
    server.kill()
    assert "the journal was repaired" in server.log.read_text()
