"""A publish over HTTP that is sent again with its key is done once, whatever became of the first answer."""

import base64
import json
import socket
import threading

import pytest

from management import Management
from steps import eventually

pytestmark = pytest.mark.postroom_only(reason="an API of its own")


@pytest.fixture
def api(own_server):
    api = Management.of(own_server)
    assert api.put("/v1/queues/q") == 201
    return api


def publish(api, body, key, queue="q"):
    headers = {"Idempotency-Key": key}
    return api.post(f"/v1/queues/{queue}/messages", body, headers=headers)


def ready(api, queue="q"):
    return api.get(f"/v1/queues/{queue}")["ready"]


def test_the_same_request_is_done_once(api):
    first = publish(api, {"body": "one"}, "k1")
    again = publish(api, {"body": "one"}, "k1")
    assert (first.status, first.json) == (again.status, again.json)
    # The message's id is the same, too.
    assert (first.status, first.json["published"], len(first.json["ids"])) == (201, 1, 1)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert ready(api) == 1
    assert publish(api, {"body": "one"}, "k2").status == 201
    assert ready(api) == 2


def test_a_list_of_which_some_were_published_is_not_done_again(api):
    assert api.put("/v1/queues/bound") == 201
    binding = {"source": "amq.direct", "destination": "bound", "routing_key": "a"}
    assert api.post("/v1/bindings", binding).status == 204
    messages = [{"routing_key": key, "body": key} for key in "ab"]
    for _ in range(2):
        said = api.post(
            "/v1/exchanges/amq.direct/messages",
            {"messages": messages},
            headers={"Idempotency-Key": "list"},
        )
        assert said.status == 207
        assert said.json["failed"] == [{"index": 1, "reason": "unroutable"}]
    assert ready(api, "bound") == 1


def test_another_request_has_another_key(api):
    assert publish(api, {"body": "one"}, "k").status == 201
    assert api.put("/v1/queues/other") == 201
    for refused in [
        publish(api, {"body": "two"}, "k"),
        publish(api, {"body": "one"}, "k", queue="other"),
    ]:
        assert refused.status == 422
        assert refused.json["field"] == "Idempotency-Key"
        assert refused.json["type"].endswith(":key_reused")
    assert (ready(api), ready(api, "other")) == (1, 0)


def test_keys_are_each_users_own(api):
    assert api.put("/v1/users/ada", {"password": "one"}) == 201
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    assert api.put("/v1/permissions/ada", everything) == 201
    assert publish(api, {"body": "one"}, "k").status == 201
    assert publish(api.as_user("ada", "one"), {"body": "other"}, "k").status == 201
    assert ready(api) == 2


def test_what_was_refused_may_be_tried_again(api):
    assert publish(api, {"body": "one"}, "k", queue="later").status == 404
    assert api.put("/v1/queues/later") == 201
    assert publish(api, {"body": "one"}, "k", queue="later").status == 201
    assert publish(api, {"body": "one"}, "k", queue="later").status == 201
    assert ready(api, "later") == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none_is_refused(api, key):
    refused = publish(api, {"body": "one"}, key)
    assert (refused.status, refused.json["field"]) == (400, "Idempotency-Key")


def test_many_at_the_same_time_are_one(api):
    answers = []
    everybody = threading.Barrier(16)

    def send():
        everybody.wait(30)
        answers.append(publish(api, {"body": "x" * 100_000}, "same"))

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status for answer in answers] == [201] * 16
    assert len({answer.body for answer in answers}) == 1
    replayed = [answer for answer in answers if "Idempotency-Replayed" in answer.headers]
    assert len(replayed) == 15
    assert ready(api) == 1


def test_who_hangs_up_and_comes_again_published_once(own_server, api):
    body = json.dumps({"body": "one"})
    login = base64.b64encode(b"guest:guest").decode()
    for number in range(20):
        key = f"hung-up-{number}"
        with socket.create_connection((own_server.host, own_server.http_port), 30) as wire:
            wire.sendall(
                "POST /v1/queues/q/messages HTTP/1.1\r\nhost: x\r\n"
                f"authorization: Basic {login}\r\nidempotency-key: {key}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
            )
        assert publish(api, {"body": "one"}, key).status == 201
    eventually(lambda: ready(api) == 20)


def test_a_restart_forgets_keys(own_server, api):
    assert publish(api, {"body": "one"}, "k").status == 201
    own_server.restart()
    api = Management.of(own_server)
    assert ready(api) == 1
    again = publish(api, {"body": "one"}, "k")
    assert again.status == 201 and "Idempotency-Replayed" not in again.headers
    assert ready(api) == 2
