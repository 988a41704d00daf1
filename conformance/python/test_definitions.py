"""Definitions that a RabbitMQ exported: the file of this test was made on Debian's RabbitMQ 3.10.8 with
two virtual hosts, users of all hashes, permissions, every exchange type, arguments of every kind,
bindings between exchanges and by headers, and policies."""

import json
import subprocess
from pathlib import Path

import pika
import pytest

from broker import Postroom, binary
from tenants import Tenants, serving, user, write

FILE = Path(__file__).parent / "data/rabbitmq_definitions.json"
EXPORTED = json.loads(FILE.read_text())
ORDERS, WEST = "df-orders", "df/eu west"

# Who is in the file, with the passwords that its hashes were made of.
PASSWORDS = {
    "df-shop": "shop secret",
    "df-admin": "ädmin",
    "df-sha512": "five twelve",
    "df-md5": "old one",
}


@pytest.fixture(scope="module")
def imported(session_server, tmp_path_factory):
    definitions = EXPORTED
    if not session_server.is_postroom:
        # The identity of a cluster stays its own.
        definitions = {**EXPORTED, "global_parameters": []}
    yield from serving(session_server, tmp_path_factory.mktemp("definitions"), definitions)


def as_admin(tenants, vhost=ORDERS):
    return tenants.connect("df-admin", PASSWORDS["df-admin"], vhost).channel()


def counts(channel, queues):
    """How many messages each queue got; they are dropped."""
    return {name: channel.queue_purge(name).method.message_count for name in queues}


QUEUES = ["shop.orders", "shop.events", "lost", "eu", "any", "transient"]

# Exchange, routing key, headers, and the queues that get it: as RabbitMQ routes them.
ROUTES = [
    ("direct.x", "order", {}, ["shop.orders"]),
    ("direct.x", "order.again", {}, ["shop.orders"]),
    ("direct.x", "order.none", {}, []),
    # On to the topic exchange, and from there to the one by headers.
    ("direct.x", "order.1.created", {}, ["shop.events"]),
    ("direct.x", "order.1.created", {"region": "us"}, ["shop.events", "any"]),
    ("fan", "whatever", {}, ["shop.orders", "shop.events"]),
    ("events", "order.7.created", {}, ["shop.events"]),
    ("events", "a.b.paid", {}, ["shop.orders"]),
    ("events", "paid", {"region": "eu", "priority": 1}, ["shop.orders", "eu"]),
    ("by headers", "", {"region": "eu", "priority": 1}, ["eu"]),
    ("by headers", "", {"region": "eu"}, []),
    ("by headers", "", {"vip": True}, ["any"]),
    ("amq.topic", "t.x.y", {}, ["any"]),
    ("transient.x", "t", {}, ["transient"]),
    ("", "shop.events", {}, ["shop.events"]),
]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]}-{route[1]}-{route[2]}")
def test_the_topology_routes_as_where_it_came_from(imported, route):
    exchange, key, headers, expected = route
    channel = as_admin(imported)
    counts(channel, QUEUES)
    channel.confirm_delivery()
    channel.basic_publish(exchange, key, b"m", pika.BasicProperties(headers=headers))
    found = counts(channel, QUEUES)
    assert found == {name: int(name in expected) for name in QUEUES}


def test_the_other_vhost_is_another(imported):
    channel = as_admin(imported, WEST)
    channel.confirm_delivery()
    channel.basic_publish("audit", "ü.x", b"m")
    assert counts(channel, ["audit.all", "audit.ü"]) == {"audit.all": 1, "audit.ü": 1}
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="no queue 'shop.orders'"):
        channel.queue_declare("shop.orders", passive=True)


def test_arguments_came_along(imported):
    """Declared again with what the file says, they are the same; without it, they are not."""
    channel = as_admin(imported)
    channel.queue_declare("shop.orders", durable=True, arguments={"x-queue-mode": "lazy"})
    channel.exchange_declare(
        "events", "topic", durable=True, arguments={"alternate-exchange": "unrouted"}
    )
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="alternate-exchange"):
        channel.exchange_declare("events", "topic", durable=True)


def test_an_unrouted_message_goes_to_the_alternate(imported):
    channel = as_admin(imported)
    counts(channel, QUEUES)
    channel.exchange_unbind("by headers", "events", "#")
    channel.confirm_delivery()
    channel.basic_publish("events", "nothing.fits", b"m")
    assert counts(channel, QUEUES)["lost"] == 1
    channel.exchange_bind("by headers", "events", "#")


def test_permissions_came_along(imported):
    channel = imported.connect("df-shop", PASSWORDS["df-shop"], ORDERS).channel()
    channel.confirm_delivery()
    channel.basic_publish("events", "df-shop.sold", b"m")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="topic 'order.1.created'"):
        channel.basic_publish("events", "order.1.created", b"m")
    channel = imported.connect("df-shop", PASSWORDS["df-shop"], ORDERS).channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="access to exchange 'fan'"):
        channel.basic_publish("fan", "", b"m")
        channel.exchange_declare("fan", passive=True)
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
        imported.connect("df-shop", PASSWORDS["df-shop"], WEST)


@pytest.mark.parametrize("name", ["df-shop", "df-admin"])
def test_exported_hashes_log_in(imported, name):
    imported.connect(name, PASSWORDS[name], ORDERS).close()


@pytest.mark.parametrize("name", ["df-sha512", "df-md5"])
def test_hashes_of_other_modules_log_in(imported, name):
    imported.connect(name, PASSWORDS[name], WEST).close()


# From here on: what only a Postroom of one's own can be asked.

own = pytest.mark.postroom_only(reason="its command line is its own")


def serve(folder, *arguments):
    ports = ["--amqp-port", "0", "--http-port", "0"]
    return subprocess.run(
        [binary(), "serve", "--data-dir", folder / "data", *ports, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def dry_run(folder, file):
    return serve(folder, "--log", "error", "--definitions", file, "--definitions-mode", "dry-run")


@own
def test_a_dry_run_lists_and_does_nothing(tmp_path):
    for _ in range(2):
        run = dry_run(tmp_path, FILE)
        assert run.returncode == 0, run.stderr
        lines = run.stdout.splitlines()
        assert f"make    vhost '{ORDERS}'" in lines
        assert f"make    queue 'shop.orders' in vhost '{ORDERS}'" in lines
        assert lines[-1].startswith("50 to make, 0 to change, 0 to leave")
    assert [path.name for path in (tmp_path / "data/vhosts").iterdir()] == ["%2F"]


@own
def test_importing_twice_changes_nothing_and_a_restart_keeps_it(tmp_path):
    postroom = Postroom(tmp_path, ["--definitions", FILE]).start()
    assert "made=50 changed=0" in postroom.log_tail()
    assert "are kept, but do not act yet" in postroom.log_tail()
    channel = as_admin(Tenants(postroom))
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish("direct.x", "order", b"kept", properties)
    # A kill, not a stop: the import itself is on disk.
    postroom.kill_and_start()
    # What does not survive a restart is made again: an exchange, a queue and their binding.
    assert "made=3 changed=0 differing=0 there_before=47" in postroom.log_tail()
    channel = as_admin(Tenants(postroom))
    assert channel.basic_get("shop.orders", auto_ack=True)[2] == b"kept"
    assert postroom.stop() == 0
    assert "0 to change" in dry_run(tmp_path, FILE).stdout
    # Without the file everything is still there.
    postroom = Postroom(tmp_path).start()
    channel = as_admin(Tenants(postroom))
    channel.confirm_delivery()
    channel.basic_publish("events", "x.paid", b"m")
    assert channel.queue_declare("shop.orders", passive=True).method.message_count == 1
    assert postroom.stop() == 0
    names = sorted(path.name for path in (tmp_path / "data/vhosts").iterdir())
    assert names == ["%2F", "df%2Feu%20west", "df-orders"]


@own
def test_nothing_is_removed_and_what_differs_stays(tmp_path):
    def file(durable, password):
        queue = {"vhost": "/", "name": "q", "durable": durable, "arguments": {}}
        return {"users": [user("u", password)], "queues": [queue]}

    assert dry_run(tmp_path, write(tmp_path, file(True, "one"))).returncode == 0
    postroom = Postroom(tmp_path, ["--definitions", tmp_path / "definitions.json"]).start()
    postroom.stop()
    again = dry_run(tmp_path, write(tmp_path, file(False, "two"))).stdout.splitlines()
    assert again[:2] == [
        "change  user 'u'",
        "leave   queue 'q' in vhost '/', which is there with other settings",
    ]
    postroom.start()
    assert "stays as it is" in postroom.log_tail()
    connection = pika.BlockingConnection(pika.URLParameters(postroom.url))
    connection.channel().queue_declare("q", durable=True)
    connection.close()
    postroom.stop()


def changed(section, index, **fields):
    definitions = json.loads(FILE.read_text())
    entry = definitions[section][index]
    for name, value in fields.items():
        if value is None:
            del entry[name]
        else:
            entry[name] = value
    return definitions


def added(section, **entry):
    definitions = json.loads(FILE.read_text())
    definitions[section].append(entry)
    return definitions


BAD = [
    ("not json {", "at line 1 column 2", "export_definitions"),
    ([], "the file: it must be an object"),
    ({"queues": {}}, "queues: it must be an array"),
    ({"queues": [1]}, "queues[0]: it must be an object"),
    (changed("queues", 0, name=None), "queues[0].name: it is missing"),
    (changed("queues", 0, durable="yes"), "queues[0].durable", "it must be true or false"),
    (changed("queues", 0, name="n" * 256), "queues[0].name", "at most 255 bytes"),
    (changed("queues", 0, vhost="nope"), "queues[0]", 'no vhost \'nope\': add it to "vhosts"'),
    (changed("queues", 1, arguments={"a": {"b": None}}), "queues[1].arguments.a.b", "null"),
    (changed("queues", 1, arguments={"a": 2**64 - 1}), "queues[1].arguments.a", "64 bits"),
    (changed("queues", 1, arguments={"x-expires": 0}), "queues[1]", "invalid arg 'x-expires'"),
    (changed("exchanges", 0, type="x-random"), "exchanges[0].type", "no exchange type 'x-random'"),
    (changed("exchanges", 0, name="amq.mine"), "exchanges[0]", "reserved prefix"),
    (changed("bindings", 0, source="nope"), "bindings[0]", "no exchange 'nope'"),
    (changed("bindings", 0, destination="nope"), "bindings[0]", "no queue 'nope'"),
    (changed("bindings", 0, destination_type="topic"), "bindings[0].destination_type"),
    (changed("users", 0, password_hash="??"), "users[0].password_hash", "not base64"),
    (changed("users", 0, hashing_algorithm="x"), "users[0].password_hash", "algorithm is none of"),
    (changed("users", 0, password="p"), "users[0].password", "hash_password"),
    (changed("permissions", 0, user="nope"), "permissions[0]", "no user 'nope'"),
    (changed("permissions", 0, read="("), "permissions[0]", '"(" is no regular expression'),
    (changed("topic_permissions", 0, write="["), "topic_permissions[0]", "no regular expression"),
    (added("policies", vhost="/", name="p"), "policies[1].pattern", "it is missing"),
    (added("vhosts", name=""), "vhosts[2]", "needs a name"),
]


@own
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[1])
def test_a_bad_file_is_refused_and_nothing_of_it_done(tmp_path, bad):
    definitions, *expected = bad
    file = write(tmp_path, definitions)
    run = serve(tmp_path, "--log", "error", "--definitions", file)
    assert run.returncode == 1
    assert str(file) in run.stderr
    for text in expected:
        assert text in run.stderr, run.stderr
    assert [path.name for path in (tmp_path / "data/vhosts").iterdir()] == ["%2F"]
    assert "0 there already" in dry_run(tmp_path, FILE).stdout


@own
def test_all_faults_are_told_at_once(tmp_path):
    definitions = changed("queues", 0, vhost="nope")
    definitions["bindings"][3]["source"] = "nope"
    run = serve(tmp_path, "--log", "error", "--definitions", write(tmp_path, definitions))
    assert "queues[0]" in run.stderr and "bindings[3]" in run.stderr
