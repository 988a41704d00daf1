"""What became of messages, over HTTP: an export is started and its status polled, without a second
database; and nothing that was told of an end is lost or taken back by kill -9."""

import json
import threading
import time

import pika
import pytest
import requests

from test_v1_browse import Glass

pytestmark = pytest.mark.postroom_only(reason="an API of its own")

SECONDS_MAX = 30


@pytest.fixture
def exports(server, names):
    return Glass(server, names.queue()).declare(**{"x-done-max-length": 100})


def publish(glass, *bodies):
    """The ids."""
    batch = {"messages": [{"body": body} for body in bodies]}
    return glass.ask("POST", f"/v1/queues/{glass.queue}/messages", 201, json=batch)["ids"]


def done(glass, expect=200, **parameters):
    return glass.ask("GET", f"/v1/queues/{glass.queue}/done", expect, params=parameters)


def listed(glass, **parameters):
    return [(item["id"], item["outcome"]) for item in done(glass, **parameters)["items"]]


def test_an_export_is_started_and_its_status_polled(exports):
    (id,) = publish(exports, "export the year")
    assert exports.one(id)["state"] == "ready"
    (job,) = exports.lease(lease_ms=60_000)
    exports.settle(extend=[{"lease": job["lease"], "progress": {"percent": 40}}])
    seen = exports.one(id)
    assert (seen["state"], seen["progress"]) == ("leased", {"percent": 40})
    before = time.time() * 1000
    result = {"url": "https://example.org/export.csv", "rows": [1, 2.5, None, "ä"]}
    wished = {"ack": [{"lease": job["lease"], "result": result}]}
    (settled,) = exports.ask("POST", "/v1/leases", json=wished)["results"]
    assert (settled["status"], settled["result_kept"]) == ("ok", True)
    seen = exports.one(id)
    assert (seen["state"], seen["outcome"], seen["dead_lettered"]) == ("done", "acknowledged", False)
    assert (seen["result"], seen["progress"], seen["attempts"]) == (result, {"percent": 40}, 1)
    assert (seen["id"], seen["queue"], seen["vhost"]) == (id, exports.queue, "/")
    assert before - 5_000 < seen["done_at_ms"] < before + 60_000
    assert seen["published_at_ms"] <= seen["done_at_ms"]
    assert seen["kept_until_ms"] - seen["done_at_ms"] > 6 * 86_400_000, "a week, if nobody says"
    shown = exports.ask("GET", f"/v1/queues/{exports.queue}")
    assert shown["done"] == 1 and shown["done_bytes"] > 256


def test_every_end_is_told(server, names, channel):
    graves = Glass(server, names.queue()).declare()
    queue = Glass(server, names.queue()).declare(
        **{"x-done-ttl": 600_000, "x-dead-letter-exchange": "",
           "x-dead-letter-routing-key": graves.queue}
    )
    acked, failed, by_amqp, purged = publish(queue, "acked", "failed", "by amqp", "purged")
    first, second = queue.lease(max=2)
    error = {"type": "Timeout", "message": "no answer"}
    queue.settle(ack=[{"lease": first["lease"]}],
                 fail=[{"lease": second["lease"], "error": error, "retry": False}])
    channel.basic_ack(channel.basic_get(queue.queue)[0].delivery_tag)
    channel.queue_purge(queue.queue)
    assert listed(queue, order="oldest") == [
        (acked, "acknowledged"), (failed, "rejected"), (by_amqp, "acknowledged"), (purged, "purged"),
    ]
    seen = queue.one(failed)
    assert (seen["error"], seen["dead_lettered"], seen["attempts"]) == (error, True, 1)
    assert "result" not in seen and "error" not in queue.one(acked)
    (dead,) = graves.look()
    assert dead["id"] != failed and dead["headers"]["x-error-type"] == "Timeout"
    (short,) = queue.ask("POST", f"/v1/queues/{queue.queue}/messages", 201,
                         json={"messages": [{"body": "short", "ttl_ms": 1}]})["ids"]
    deadline = time.monotonic() + SECONDS_MAX
    while queue.one(short)["state"] != "done":
        assert time.monotonic() < deadline
    assert queue.one(short)["outcome"] == "expired"


def test_pages_and_forgetting(exports):
    ids = publish(exports, *map(str, range(7)))
    exports.settle(ack=[{"lease": message["lease"], "result": at}
                        for at, message in enumerate(exports.lease(max=7))])
    found, after = [], {}
    while True:
        page = done(exports, limit=3, **after)
        found += [item["id"] for item in page["items"]]
        if "next" not in page:
            break
        after = {"after": page["next"]}
    assert found == ids[::-1]
    assert [id for id, _ in listed(exports, order="oldest", after=ids[4])] == ids[5:]
    path = f"/v1/queues/{exports.queue}/done"
    assert exports.ask("DELETE", path) == {"forgotten": 7}
    assert exports.ask("DELETE", path) == {"forgotten": 0}
    assert done(exports) == {"items": []}
    assert "x-done-ttl" in exports.one(ids[0], 404)["remedy"]
    assert done(exports, 400, limit=0)["field"] == "limit"
    assert done(exports, 400, after="AAAA")["field"] == "after"
    assert done(exports, 400, order="odd")["status"] == 400


def test_bounds_hold(server, names):
    few = Glass(server, names.queue()).declare(**{"x-done-max-length": 2})
    ids = publish(few, "one", "two", "three")
    few.settle(ack=[{"lease": message["lease"]} for message in few.lease(max=3)])
    assert [id for id, _ in listed(few, order="oldest")] == ids[1:]
    few.one(ids[0], 404)
    small = Glass(server, names.queue()).declare(**{"x-done-max-length-bytes": 1_000})
    ids = publish(small, "one", "two", "three")
    for message in small.lease(max=3):
        small.settle(ack=[{"lease": message["lease"], "result": "x" * 200}])
    assert [id for id, _ in listed(small, order="oldest")] == ids[1:]
    brief = Glass(server, names.queue()).declare(**{"x-done-ttl": 300})
    (id,) = publish(brief, "one")
    brief.settle(ack=[{"lease": message["lease"]} for message in brief.lease()])
    deadline = time.monotonic() + SECONDS_MAX
    while brief.http.get(brief.url(f"/v1/messages/{id}"), timeout=30).status_code == 200:
        assert time.monotonic() < deadline
    assert brief.ask("GET", f"/v1/queues/{brief.queue}")["done"] == 0


def test_too_long_a_result_is_refused_and_nothing_settled(exports):
    (id,) = publish(exports, "one")
    (message,) = exports.lease(lease_ms=60_000)
    wished = {"ack": [{"lease": message["lease"], "result": "x" * (64 << 10)}]}
    problem = exports.ask("POST", "/v1/leases", 400, json=wished)
    assert problem["field"] == "ack[0].result" and "65536" in problem["detail"], problem
    assert exports.one(id)["state"] == "leased"
    wished = {"ack": [{"lease": message["lease"], "result": "x" * ((64 << 10) - 2)}]}
    assert exports.ask("POST", "/v1/leases", json=wished)["results"][0]["status"] == "ok"


def test_a_queue_that_was_not_asked_says_so(server, names):
    plain = Glass(server, names.queue()).declare()
    (id,) = publish(plain, "one")
    (message,) = plain.lease()
    wished = {"ack": [{"lease": message["lease"], "result": 1}]}
    (settled,) = plain.ask("POST", "/v1/leases", json=wished)["results"]
    assert (settled["status"], settled["result_kept"]) == ("ok", False)
    plain.one(id, 404)
    assert done(plain) == {"items": []}
    assert "done" not in plain.ask("GET", f"/v1/queues/{plain.queue}")


def test_declarations_are_compared_and_exported(server, names, connection):
    queue = names.queue()
    arguments = {"x-done-ttl": 60_000, "x-done-max-length": 10, "x-done-max-length-bytes": 1 << 20}
    channel = connection.channel()
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.queue_declare(queue, durable=True, arguments=arguments)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        channel.queue_declare(queue, durable=True, arguments=arguments | {"x-done-ttl": 60_001})
    assert refused.value.reply_code == 406 and "x-done-ttl" in refused.value.reply_text
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        connection.channel().queue_declare(names.queue(), arguments={"x-done-max-length": 0})
    assert refused.value.reply_code == 406 and "x-done-max-length" in refused.value.reply_text
    auth = ("guest", "guest")
    base = f"http://{server.host}:{server.http_port}"
    exported = requests.get(f"{base}/api/definitions", auth=auth, timeout=30).json()["queues"]
    (found,) = [it for it in exported if it["name"] == queue]
    assert found["arguments"] == arguments
    shown = requests.get(f"{base}/api/queues/%2F/{queue}", auth=auth, timeout=30).json()
    assert shown["arguments"] == arguments


def test_an_end_needs_the_right_to_read(own_server):
    exports = Glass(own_server, "exports").declare(**{"x-done-max-length": 9})
    (id,) = publish(exports, "one")
    exports.settle(ack=[{"lease": message["lease"], "result": "secret"} for message in exports.lease()])
    exports.ask("PUT", "/v1/users/writer", 201, json={"password": "writers know"})
    permission = {"configure": "", "write": ".*", "read": "^other$"}
    exports.ask("PUT", "/v1/permissions/writer", 201, json=permission)
    writer = Glass(own_server, "exports", ("writer", "writers know"))
    writer.one(id, 403)
    done(writer, 403)
    writer.ask("DELETE", "/v1/queues/exports/done", 403)


def test_what_was_told_survives_kill_9(own_server):
    exports = Glass(own_server, "exports").declare(**{"x-done-max-length": 1_000})
    ids = publish(exports, *map(str, range(300)))
    told, asked = {}, threading.Event()

    def work():
        worker = Glass(own_server, "exports")
        try:
            while True:
                for message in worker.lease(max=3, lease_ms=500):
                    wished = {"ack": [{"lease": message["lease"], "result": message["body"]}]}
                    (settled,) = worker.ask("POST", "/v1/leases", json=wished)["results"]
                    if settled["status"] == "ok":
                        told[message["id"]] = message["body"]
                    if len(told) >= 60:
                        asked.set()
        except requests.ConnectionError:
            pass

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert asked.wait(SECONDS_MAX)
    own_server.kill()
    for worker in workers:
        worker.join()
    own_server.start()
    exports = Glass(own_server, "exports")
    for id, body in told.items():
        seen = exports.one(id)
        assert (seen["state"], seen["result"]) == ("done", body)
    # Each is done or there, and none is both.
    ended = {id for id, _ in listed(exports, limit=1_000)}
    there = {item["id"] for item in exports.look()}
    assert not ended & there
    assert ended | there == set(ids)
    assert own_server.restart() is None
    assert {id for id, _ in listed(Glass(own_server, "exports"), limit=1_000)} == ended


def test_progress_survives_kill_9(own_server):
    exports = Glass(own_server, "exports").declare()
    (id,) = publish(exports, "one")
    (message,) = exports.lease(lease_ms=600_000)
    progress = [{"lease": message["lease"], "lease_ms": 600_000, "progress": {"percent": 70}}]
    exports.settle(extend=progress)
    own_server.kill()
    own_server.start()
    exports = Glass(own_server, "exports")
    seen = exports.one(id)
    assert (seen["state"], seen["progress"], seen["attempts"]) == ("leased", {"percent": 70}, 1)
