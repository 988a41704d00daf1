"""Makes a stored data directory: small, with every kind of record in it, written by this version.

    POSTROOM_BINARY=target/release/postroom python store.py stores/NAME

NAME is the format's or the version's. What is in it is written down beside it, in expected.json, which
test_store.py holds every later version to. A store is made once and never again: what is written anew is
not what the old version wrote.

Store 1 has the records of the first format. Store 2 has also leases, delays, deletions and limits in the
catalogue, tokens, a segment with several levels of one queue, and the void frame of a repair.
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pika

from broker import Postroom, binary
from management import Management
from steps import parameters

DEFINITIONS = Path(__file__).parent / "data" / "rabbitmq_definitions.json"
SIZE = 400
FAR = str(40 * 24 * 3600 * 1000)  # milliseconds; less than the longest that RabbitMQ takes

# What a virtual host's journal and the catalogue's can have in them; see crates/broker/src/journaled.rs.
KINDS = {"vhosts/%2F": [*range(1, 20), 30], "catalogue": [*range(20, 26), *range(40, 51)]}

LEASE_MS = 60_000
LOST = 999_999  # the body of the message in the frame that is lost


def body(number):
    return (b"%06d" % number).ljust(SIZE, b".")


def frames(folder):
    """The frames of a folder's journal, as docs/formats/journal.md has it: file, offset, payload."""
    for file in sorted(folder.glob("journal-*")):
        data = file.read_bytes()
        at = 4096
        while data[at : at + 4] == b"PoFr":
            (length,) = struct.unpack_from("<Q", data, at + 40)
            yield file, at, data[at + 64 : at + 64 + length]
            at = -(-(at + 64 + length) // 4096) * 4096


def kinds(folder):
    """The kinds of the records in a folder's journal."""
    found = set()
    for _, _, payload in frames(folder):
        record = 0
        while record < len(payload):
            found.add(payload[record])
            record += 8 + int.from_bytes(payload[record + 1 : record + 8], "little")
    return found


def persistent(**more):
    return pika.BasicProperties(delivery_mode=2, **more)


def everything_once(channel, mark):
    """Every kind of change, small; names and bodies carry the mark of the round."""
    declare = channel.queue_declare
    declare(f"plain-{mark}", durable=True)
    declare(f"levels-{mark}", durable=True, arguments={"x-max-priority": 5})
    declare(f"counted-{mark}", durable=True, arguments={"x-queue-type": "quorum"})
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"letters-{mark}"}
    declare(f"strict-{mark}", durable=True, arguments=letters)
    declare(f"letters-{mark}", durable=True)
    declare(f"doomed-{mark}", durable=True)
    for kind in ("direct", "fanout", "topic", "headers"):
        channel.exchange_declare(f"{kind}-{mark}", kind, durable=True)
    channel.exchange_declare(f"doomed-{mark}", "direct", durable=True)
    channel.queue_bind(f"plain-{mark}", f"topic-{mark}", "a.#")
    channel.queue_bind(f"plain-{mark}", f"topic-{mark}", "b.*")
    channel.queue_bind(f"plain-{mark}", f"headers-{mark}", "", {"x-match": "all", "colour": "red"})
    channel.exchange_bind(f"fanout-{mark}", f"direct-{mark}", "all")
    channel.queue_unbind(f"plain-{mark}", f"topic-{mark}", "b.*")
    for number in range(20):
        channel.basic_publish(f"topic-{mark}", "a.b", body(number), persistent())
        levels = persistent(priority=number % 5, expiration=FAR)
        channel.basic_publish("", f"levels-{mark}", body(number), levels)
        channel.basic_publish("", f"counted-{mark}", body(number), persistent())
        channel.basic_publish("", f"strict-{mark}", body(number), persistent())
        channel.basic_publish("", f"doomed-{mark}", body(number), persistent())
    for queue, requeue in ((f"counted-{mark}", True), (f"strict-{mark}", False)):
        for _ in range(3):
            method, _, _ = channel.basic_get(queue)
            channel.basic_reject(method.delivery_tag, requeue=requeue)
    for _ in range(4):
        method, _, _ = channel.basic_get(f"plain-{mark}")
        channel.basic_ack(method.delivery_tag)
    channel.queue_delete(f"doomed-{mark}")
    channel.exchange_delete(f"doomed-{mark}")
    return {
        f"plain-{mark}": list(range(4, 20)),
        f"levels-{mark}": [n for level in (4, 3, 2, 1, 0) for n in range(20) if n % 5 == level],
        f"counted-{mark}": list(range(20)),
        f"strict-{mark}": list(range(3, 20)),
        f"letters-{mark}": [0, 1, 2],
    }


def many(channel):
    """More than the memory that messages may take: they move to a segment. Some of them go again."""
    channel.queue_declare("many", durable=True)
    channel.tx_select()  # one frame of the journal, not thousands
    for number in range(2500):
        channel.basic_publish("", "many", body(number), persistent())
    channel.tx_commit()
    gone = []
    for _ in range(300):
        method, _, got = channel.basic_get("many")
        number = int(got[:6])
        if number % 3 == 0:
            channel.basic_ack(method.delivery_tag)
            gone.append(number)
    channel.tx_commit()
    return {"many": [number for number in range(2500) if number not in gone]}


def many_levels(channel):
    """As `many`, of several priorities."""
    channel.queue_declare("many-levels", durable=True, arguments={"x-max-priority": 3})
    channel.tx_select()
    for number in range(2500):
        channel.basic_publish("", "many-levels", body(number), persistent(priority=number % 4))
    channel.tx_commit()
    return {"many-levels": [n for level in (3, 2, 1, 0) for n in range(2500) if n % 4 == level]}


def leases(api, channel, mark):
    """Messages that are leased, settled and given back without a connection."""
    queue = f"jobs-{mark}"
    channel.queue_declare(queue, durable=True)
    for number in range(12):
        channel.basic_publish("", queue, body(number), persistent())
    wanted = {"max": 8, "lease_ms": LEASE_MS}
    leased = api.ask("POST", f"/v1/queues/{queue}/lease", wanted).json["messages"]
    held = [{"lease": message["lease"]} for message in leased]
    settled = {
        "ack": held[:2],
        "fail": [{**held[2], "delay_ms": LEASE_MS}, held[3]],
        "extend": [{**held[4], "lease_ms": LEASE_MS}],
        "release": [held[5]],
    }
    answer = api.ask("POST", "/v1/leases", settled)
    assert answer.status == 200 and len(answer.json["results"]) == 6, answer
    return {queue: list(range(2, 12))}


def catalogue(api):
    """Every kind of change of the catalogue that definitions do not make."""

    def ask(method, path, body=None):
        answer = api.ask(method, path, body)
        assert answer.status in (200, 201, 204), (method, path, answer)
        return answer.json if answer.body else None

    rights = {"configure": ".*", "write": ".*", "read": "^a"}
    events = {"exchange": "amq.topic", "write": "^a", "read": ".*"}
    parameter = {"value": {"is": [1, "two"]}}
    token = {"scopes": ["read"], "vhost": "/"}
    secrets = {}
    for name in ("kept", "doomed"):
        ask("PUT", f"/v1/vhosts/{name}", {"description": f"it is {name}", "tags": ["a", "b"]})
        ask("PUT", f"/v1/users/{name}", {"password": f"the password of {name}"})
        ask("PUT", f"/permissions/%2F/{name}", rights)
        ask("PUT", f"/permissions/kept/{name}", rights)
        ask("PUT", f"/topic-permissions/%2F/{name}", events)
        ask("PUT", f"/global-parameters/{name}", parameter)
        secrets[name] = ask("POST", "/v1/tokens", {"name": name, **token})["secret"]
    for of in ("/vhost-limits/kept", "/user-limits/kept"):
        ask("PUT", f"{of}/max-connections", {"value": 7})
    ask("PUT", "/vhost-limits/kept/max-queues", {"value": 8})
    ask("DELETE", "/vhost-limits/kept/max-queues")
    ask("DELETE", "/v1/tokens/doomed")
    ask("DELETE", "/global-parameters/doomed")
    ask("DELETE", "/topic-permissions/%2F/doomed")
    ask("DELETE", "/permissions/%2F/doomed")
    ask("DELETE", "/v1/users/doomed")
    ask("DELETE", "/v1/vhosts/doomed")
    return {
        "/v1/vhosts/kept": {"description": "it is kept", "tags": ["a", "b"]},
        "/v1/vhosts/doomed": None,
        "/v1/users/kept": {"has_password": True},
        "/v1/users/doomed": None,
        "/permissions/%2F/kept": rights,
        "/permissions/%2F/doomed": None,
        "/topic-permissions/%2F/kept": [{"user": "kept", "vhost": "/", **events}],
        "/global-parameters/kept": parameter,
        "/global-parameters/doomed": None,
        "/vhost-limits/kept": [{"vhost": "kept", "value": {"max-connections": 7}}],
        "/user-limits/kept": [{"user": "kept", "value": {"max-connections": 7}}],
    }, {secrets["kept"]: 200, secrets["doomed"]: 401}


def has_levels(store):
    """Whether a segment has several runs of one queue: each is of another level."""
    command = [binary(), "inspect", "--data-dir", store, "--json"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    runs = [line for line in map(json.loads, told.splitlines()) if line["kind"] == "run"]
    places = [(line["file"], line["queue"]) for line in runs]
    return len(set(places)) < len(places)


def lose_a_frame(store):
    """A frame of the virtual host rots, and `postroom repair` gives it up."""
    [(file, at)] = [
        (file, at) for file, at, payload in frames(store / "vhosts" / "%2F") if body(LOST) in payload
    ]
    data = bytearray(file.read_bytes())
    data[at + 70] ^= 1
    file.write_bytes(data)
    subprocess.run([binary(), "repair", "--data-dir", store, "--yes"], check=True)
    for aside in store.glob("damaged-*"):
        shutil.rmtree(aside)
    (store / "lock").unlink(missing_ok=True)


def main(target):
    target = Path(target)
    assert not target.exists(), f"{target} is there already, and stays as it is"
    with tempfile.TemporaryDirectory() as folder:
        memory = ["--memory-bytes-max", str(1 << 20)]
        server = Postroom(folder, [*memory, "--definitions", DEFINITIONS]).start()
        try:
            queues = {}
            connection = pika.BlockingConnection(parameters(server.url))
            channel = connection.channel()
            channel.confirm_delivery()
            queues |= everything_once(channel, "before")
            queues |= many(connection.channel())
            queues |= many_levels(connection.channel())
            queues |= leases(Management.of(server), channel, "before")
            vhost = server.data_dir / "vhosts" / "%2F"
            for _ in range(200):
                if len(list(vhost.glob("segment-*"))) > 1:
                    break
                time.sleep(0.1)
            connection.close()
            server.arguments = memory
            server.restart()
            connection = pika.BlockingConnection(parameters(server.url))
            channel = connection.channel()
            channel.confirm_delivery()
            queues |= everything_once(channel, "after")
            queues |= leases(Management.of(server), channel, "after")
            asked, tokens = catalogue(Management.of(server))
            channel.basic_publish("", "plain-after", body(LOST), persistent())
            # Whatever was acknowledged is on the disk once something behind it is confirmed.
            channel.basic_publish("", "plain-after", body(20), persistent())
            queues["plain-after"].append(20)
            store = target / "data"
            target.mkdir(parents=True)
            command = [binary(), "backup", "--data-dir", server.data_dir, "--to", store]
            subprocess.run(command, check=True)
            connection.close()
        finally:
            server.kill()
    lose_a_frame(store)
    for part, wanted in KINDS.items():
        missing = set(wanted) - kinds(store / part)
        if missing:
            shutil.rmtree(target)
            sys.exit(f"no record of the kinds {sorted(missing)} in {part}")
    assert list((store / "vhosts" / "%2F").glob("segment-*")), "no segment"
    assert has_levels(store), "no segment with several levels of one queue"
    expected = {
        "queues": queues,
        "users": ["guest", "df-shop", "df-admin", "kept"],
        "asked": asked,
        "tokens": tokens,
    }
    (target / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
