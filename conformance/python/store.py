"""Makes a stored data directory: small, with every kind of record in it, written by this version.

    POSTROOM_BINARY=target/release/postroom python store.py stores/NAME

NAME is the format's or the version's. What is in it is written down beside it, in expected.json, which
test_store.py holds every later version to. A store is made once and never again: what is written anew is
not what the old version wrote.
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
from steps import parameters

DEFINITIONS = Path(__file__).parent / "data" / "rabbitmq_definitions.json"
SIZE = 400
FAR = str(40 * 24 * 3600 * 1000)  # milliseconds; less than the longest that RabbitMQ takes

# What a virtual host's journal and the catalogue's can have in them; see crates/broker/src/journaled.rs.
KINDS = {"vhosts/%2F": range(1, 18), "catalogue": range(20, 26)}


def body(number):
    return (b"%06d" % number).ljust(SIZE, b".")


def kinds(folder):
    """The kinds of the records in a folder's journal, as docs/formats/journal.md has it."""
    found = set()
    for file in sorted(folder.glob("journal-*")):
        data = file.read_bytes()
        at = 4096
        while data[at : at + 4] == b"PoFr":
            (length,) = struct.unpack_from("<Q", data, at + 40)
            record, end = at + 64, at + 64 + length
            while record < end:
                found.add(data[record])
                record += 8 + int.from_bytes(data[record + 1 : record + 8], "little")
            at = -(-end // 4096) * 4096
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
            vhost = server.data_dir / "vhosts" / "%2F"
            for _ in range(200):
                if list(vhost.glob("segment-*")):
                    break
                time.sleep(0.1)
            connection.close()
            server.arguments = memory
            server.restart()
            connection = pika.BlockingConnection(parameters(server.url))
            channel = connection.channel()
            channel.confirm_delivery()
            queues |= everything_once(channel, "after")
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
    for part, wanted in KINDS.items():
        missing = set(wanted) - kinds(store / part)
        if missing:
            shutil.rmtree(target)
            sys.exit(f"no record of the kinds {sorted(missing)} in {part}")
    assert list((store / "vhosts" / "%2F").glob("segment-*")), "no segment"
    expected = {"queues": queues, "users": ["guest", "df-shop", "df-admin"]}
    (target / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
