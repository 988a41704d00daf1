"""The requests by which RabbitMQ's clients steer a broker, status by status.

Every line holds for RabbitMQ 3.10 too: MANAGEMENT_URL=http://localhost:15672
CONFORMANCE_URL=amqp://guest:guest@localhost/%2F runs them there. What is only Postroom's is marked.
"""

import uuid
from urllib.parse import unquote

import pika
import pytest

from management import Management, part
from steps import eventually

ALL = {"configure": ".*", "write": ".*", "read": ".*"}
HASH = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"  # of test12


@pytest.fixture
def api(server):
    return Management.of(server)


@pytest.fixture
def vhost(api):
    """A virtual host of the test's own; its name needs escaping."""
    name = f"v/{uuid.uuid4().hex[:12]}"
    assert api.put(f"/vhosts/{part(name)}") == 201
    yield part(name)
    api.delete(f"/vhosts/{part(name)}")


@pytest.fixture
def user(api):
    name = f"u-{uuid.uuid4().hex[:12]}"
    assert api.put(f"/users/{name}", {"password": "secret", "tags": "management"}) == 201
    yield name
    api.delete(f"/users/{name}")


def table(api, lines):
    for line in lines:
        method, path, body, status = line
        answer = api.ask(method, path, body)
        assert answer.status == status, f"{method} {path} {body}: {answer}, not {status}"


def test_users(api, user):
    table(api, [
        ("PUT", f"/users/{user}", {"password": "x"}, 400),
        ("PUT", f"/users/{user}", {"password": "a", "password_hash": HASH, "tags": ""}, 400),
        ("PUT", f"/users/{user}", {"password_hash": "!!", "tags": ""}, 400),
        ("PUT", f"/users/{user}", {"password": "secret", "tags": "management,monitoring"}, 204),
        ("GET", "/users/nobody-at-all", None, 404),
        ("GET", f"/users/{user}/permissions", None, 200),
        ("GET", "/users/nobody-at-all/permissions", None, 404),
        ("POST", "/users/bulk-delete", {}, 400),
        ("POST", "/users/bulk-delete", {"users": ["nobody-at-all", user]}, 400),
    ])  # fmt: skip
    shown = api.get(f"/users/{user}")
    assert shown["name"] == user and shown["tags"] == ["management", "monitoring"]
    assert set(shown) >= {"password_hash", "hashing_algorithm", "limits"}
    assert user in [it["name"] for it in api.get("/users")]
    assert user in [it["name"] for it in api.get("/users/without-permissions")]
    assert api.ask("PUT", f"/users/{user}", raw=b"no json").status == 400
    assert api.put(f"/users/{user}", {"password_hash": HASH, "tags": ["administrator"]}) == 204
    assert api.get(f"/users/{user}")["password_hash"] == HASH
    assert api.as_user(user, "test12").get("/whoami")["tags"] == ["administrator"]
    assert api.as_user(user, "secret").ask("GET", "/whoami").status == 401
    assert api.put(f"/users/{user}", {"tags": ""}) == 204
    assert api.as_user(user, "test12").ask("GET", "/whoami").status == 401
    table(api, [
        ("POST", "/users/bulk-delete", {"users": [user]}, 204),
        ("DELETE", f"/users/{user}", None, 404),
    ])  # fmt: skip


def test_tags_decide_what_may_be_asked(api, user):
    theirs = api.as_user(user, "secret")
    assert theirs.get("/whoami") == {"name": user, "tags": ["management"]}
    for path in ("/users", "/permissions", "/definitions"):
        assert theirs.ask("GET", path).status == 401, path
    assert theirs.get("/vhosts") == []
    assert api.put(f"/users/{user}", {"password": "secret", "tags": ""}) == 204
    assert theirs.ask("GET", "/whoami").status == 401


def test_permissions(api, vhost, user):
    path = f"/permissions/{vhost}/{user}"
    table(api, [
        ("GET", path, None, 404),
        ("PUT", path, {"configure": ".*", "write": ".*"}, 400),
        ("PUT", path, {**ALL, "read": "("}, 400),
        ("PUT", path, ALL, 201),
        ("PUT", path, {**ALL, "configure": "^a"}, 204),
        ("PUT", f"/permissions/{vhost}/nobody-at-all", ALL, 400),
        ("PUT", f"/permissions/nowhere-at-all/{user}", ALL, 400),
    ])  # fmt: skip
    shown = api.get(path)
    assert shown == {"user": user, "vhost": shown["vhost"], **ALL, "configure": "^a"}
    assert api.get(f"/users/{user}/permissions") == [shown]
    assert {it["user"] for it in api.get(f"/vhosts/{vhost}/permissions")} == {"guest", user}
    theirs = api.as_user(user, "secret")
    table(theirs, [
        ("PUT", f"/queues/{vhost}/a", {}, 201),
        ("PUT", f"/queues/{vhost}/b", {}, 401),
    ])  # fmt: skip
    assert len(theirs.get("/vhosts")) == 1
    topics = f"/topic-permissions/{vhost}/{user}"
    table(api, [
        ("GET", topics, None, 404),
        ("PUT", topics, {"write": ".*", "read": ".*"}, 400),
        ("PUT", topics, {"exchange": "t", "write": "^a", "read": ".*"}, 201),
    ])  # fmt: skip
    granted = [{"user": user, "vhost": shown["vhost"], "exchange": "t", "write": "^a", "read": ".*"}]
    assert api.get(topics) == granted
    assert api.get(f"/users/{user}/topic-permissions") == granted
    table(api, [
        ("DELETE", topics, None, 204),
        ("DELETE", topics, None, 404),
        ("DELETE", path, None, 204),
    ])  # fmt: skip
    assert theirs.ask("PUT", f"/queues/{vhost}/a", {}).status == 401


def test_vhosts(api, vhost):
    notes = {"description": "for tests", "tags": "a,b"}
    assert api.put(f"/vhosts/{vhost}", notes) == 204
    shown = api.get(f"/vhosts/{vhost}")
    assert (shown["description"], shown["tags"]) == ("for tests", ["a", "b"])
    assert shown["name"] in [it["name"] for it in api.get("/vhosts")]
    table(api, [
        ("GET", "/vhosts/nowhere-at-all", None, 404),
        ("PUT", f"/queues/{vhost}/q", {"durable": True}, 201),
        ("DELETE", f"/vhosts/{vhost}", None, 204),
        ("DELETE", f"/vhosts/{vhost}", None, 404),
        ("PUT", f"/queues/{vhost}/q", {}, 404),
        ("PUT", f"/vhosts/{vhost}", None, 201),
        ("DELETE", f"/queues/{vhost}/q/contents", None, 404),
    ])  # fmt: skip


def parameters(server, vhost, user, password):
    from urllib.parse import unquote

    credentials = pika.PlainCredentials(user, password)
    return pika.ConnectionParameters(server.host, server.port, unquote(vhost), credentials)


@pytest.mark.parametrize("what", ["vhost", "user", "connections"])
def test_whoever_is_connected_has_to_go(server, api, vhost, user, what):
    assert api.put(f"/permissions/{vhost}/{user}", ALL) == 201
    connection = pika.BlockingConnection(parameters(server, vhost, user, "secret"))
    if what == "vhost":
        assert api.delete(f"/vhosts/{vhost}") == 204
    elif what == "user":
        assert api.delete(f"/users/{user}") == 204
    else:
        # RabbitMQ's list of connections lags behind.
        def closed():
            assert api.delete(f"/connections/username/{user}") == 204
            try:
                connection.process_data_events(0.2)
            except pika.exceptions.ConnectionClosedByBroker:
                return True
            return False

        eventually(closed, seconds=15)
        return
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        connection.process_data_events(20)
        connection.channel()
    assert closed.value.reply_code == 320


def test_queues(api, vhost):
    q = f"/queues/{vhost}"
    table(api, [
        ("PUT", f"{q}/q", {}, 201),
        ("PUT", f"{q}/q", None, 204),
        ("PUT", f"{q}/q", {"durable": True}, 400),
        ("PUT", f"{q}/s", {"durable": "true", "auto_delete": "false", "arguments": []}, 201),
        ("PUT", f"{q}/t", {"durable": True, "arguments": {"x-max-length": "a"}}, 400),
        ("PUT", f"{q}/t", {"durable": True, "arguments": {"x-max-length": 5}}, 201),
        ("PUT", f"{q}/amq.x", {}, 401),
        ("PUT", "/queues/nowhere-at-all/q", {}, 404),
        ("DELETE", f"{q}/nothing/contents", None, 404),
        ("DELETE", f"{q}/q/contents", None, 204),
        ("POST", f"{q}/q/actions", {"action": "no such"}, 400),
        ("DELETE", f"{q}/q?if-empty=true&if-unused=true", None, 204),
        ("DELETE", f"{q}/q", None, 404),
    ])  # fmt: skip


def test_exchanges(api, vhost):
    e = f"/exchanges/{vhost}"
    table(api, [
        ("PUT", f"{e}/x", {}, 201),
        ("PUT", f"{e}/x", {"type": "direct"}, 204),
        ("PUT", f"{e}/x", {"type": "topic"}, 400),
        ("PUT", f"{e}/y", {"type": "no such"}, 400),
        ("PUT", f"{e}/amq.direct", {"type": "direct", "durable": True}, 204),
        ("PUT", f"{e}/amq.mine", {"type": "direct"}, 401),
        ("PUT", f"/queues/{vhost}/q", {}, 201),
        ("POST", f"/bindings/{vhost}/e/x/q/q", {}, 201),
        ("DELETE", f"{e}/x?if-unused=true", None, 400),
        ("DELETE", f"{e}/x", None, 204),
        ("DELETE", f"{e}/x", None, 404),
        ("DELETE", f"{e}/amq.direct", None, 401),
    ])  # fmt: skip


@pytest.mark.parametrize("key, location", [
    ("", "~"),
    ("k", "k"),
    ("a b/c", "a%2Bb%252Fc"),
])  # fmt: skip
def test_bindings_are_removed_where_their_making_said(api, vhost, key, location):
    b = f"/bindings/{vhost}/e/amq.topic"
    assert api.put(f"/queues/{vhost}/q", {}) == 201
    made = api.post(f"{b}/q/q", {"routing_key": key, "arguments": {}})
    assert (made.status, made.headers["location"]) == (201, f"q/{location}")
    with_arguments = api.post(f"{b}/q/q", {"routing_key": key, "arguments": {"n": 1}})
    other = with_arguments.headers["location"].removeprefix("q/")
    assert other != location
    for place in (other, location):
        assert api.delete(f"{b}/q/q/{place}") == 204, place
        assert api.delete(f"{b}/q/q/{place}") == 404, place
    table(api, [
        ("POST", f"{b}/q/nothing", {"routing_key": key}, 404),
        ("POST", f"/bindings/{vhost}/e/nothing/q/q", {"routing_key": key}, 404),
        ("POST", f"{b}/e/amq.fanout", {"routing_key": key}, 201),
        ("DELETE", f"{b}/e/amq.fanout/{location}", None, 204),
    ])  # fmt: skip


def message(payload="hé", encoding="string", properties=None, **further):
    return {
        "properties": properties or {},
        "routing_key": "q",
        "payload": payload,
        "payload_encoding": encoding,
        **further,
    }


def test_publish(api, vhost):
    publish = f"/exchanges/{vhost}/amq.default/publish"
    assert api.put(f"/queues/{vhost}/q", {}) == 201
    assert api.post(publish, message()).json == {"routed": True}
    assert api.post(publish, message(routing_key="nothing")).json == {"routed": False}
    table(api, [
        ("POST", publish, {"routing_key": "q"}, 400),
        ("POST", publish, message("!!", "base64"), 400),
        ("POST", publish, message("!!", "hex"), 400),
        ("POST", publish, message(properties={"priority": "x"}), 400),
        ("POST", publish, message(properties={"user_id": "bob"}), 400),
        ("POST", publish, message(properties={"no such": "x"}), 200),
    ])  # fmt: skip


def test_get_shows_messages_as_they_were_published(api, vhost):
    publish, get = f"/exchanges/{vhost}/amq.default/publish", f"/queues/{vhost}/q/get"
    assert api.put(f"/queues/{vhost}/q", {}) == 201
    properties = {
        "delivery_mode": 2,
        "headers": {"a": 1, "b": ["c", {"d": True}]},
        "content_type": "text/plain",
        "timestamp": 5,
        "expiration": "600000",
        "priority": 3,
        "type": "kind",
        "message_id": "m",
    }
    assert api.post(publish, message()).json == {"routed": True}
    assert api.post(publish, message("/w==", "base64", properties)).json == {"routed": True}
    wanted = {"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"}
    first, second = api.post(get, wanted).json
    assert first == {
        "payload_bytes": 3,
        "redelivered": False,
        "exchange": "",
        "routing_key": "q",
        "message_count": 1,
        "properties": [],
        "payload": "hé",
        "payload_encoding": "string",
    }
    assert second["properties"] == properties
    assert (second["payload"], second["payload_encoding"]) == ("/w==", "base64")
    assert second["message_count"] == 0

    again = api.post(get, {**wanted, "count": 1, "truncate": 1, "ackmode": "reject_requeue_true"})
    assert (again.json[0]["payload"], again.json[0]["payload_bytes"]) == ("h", 3)
    assert again.json[0]["redelivered"] is True
    taken = api.post(get, {"count": 1, "ackmode": "ack_requeue_false", "encoding": "base64"}).json
    assert taken[0]["payload"] == "aMOp"
    dropped = api.post(get, {"count": 9, "ackmode": "reject_requeue_false", "encoding": "auto"})
    assert len(dropped.json) == 1
    assert api.post(get, wanted).json == []
    table(api, [
        ("POST", get, {"count": 1, "encoding": "auto"}, 400),
        ("POST", get, {"ackmode": "ack_requeue_true", "encoding": "auto"}, 400),
        ("POST", get, {**wanted, "count": "x"}, 400),
        ("POST", get, {**wanted, "encoding": "hex"}, 400),
        ("POST", f"/queues/{vhost}/nothing/get", wanted, 404),
    ])  # fmt: skip


def test_definitions_of_a_vhost_go_out_and_come_in(api, vhost):
    table(api, [
        ("PUT", f"/queues/{vhost}/q", {"durable": True, "arguments": {"x-max-length": 5}}, 201),
        ("PUT", f"/exchanges/{vhost}/x", {"type": "headers", "durable": True}, 201),
        ("POST", f"/bindings/{vhost}/e/x/q/q", {"routing_key": "k", "arguments": {"n": 1}}, 201),
    ])  # fmt: skip
    exported = api.get(f"/definitions/{vhost}")
    assert [it["name"] for it in exported["queues"]] == ["q"]
    assert [(it["source"], it["arguments"]) for it in exported["bindings"]] == [("x", {"n": 1})]
    assert "vhost" not in exported["queues"][0] and "users" not in exported
    assert api.delete(f"/vhosts/{vhost}") == 204
    assert api.put(f"/vhosts/{vhost}") == 201
    assert api.post(f"/definitions/{vhost}", exported).status in (200, 204)
    again = api.get(f"/definitions/{vhost}")
    for section in ("queues", "exchanges", "bindings"):
        assert again[section] == exported[section]


def test_definitions_of_the_node(api, vhost, user):
    exported = api.get("/definitions")
    assert user in [it["name"] for it in exported["users"]]
    sections = {"users", "vhosts", "permissions", "topic_permissions", "parameters"}
    assert set(exported) > sections | {"global_parameters", "policies", "queues", "exchanges"}
    table(api, [
        ("DELETE", f"/users/{user}", None, 204),
        ("POST", "/definitions", {"queues": [{"vhost": "nowhere-at-all", "name": "q",
            "durable": True, "auto_delete": False, "arguments": {}}]}, 400),
    ])  # fmt: skip
    theirs = [it for it in exported["users"] if it["name"] == user]
    assert api.post("/definitions", {"users": theirs}).status in (200, 204)
    assert api.as_user(user, "secret").get("/whoami")["name"] == user
    assert api.ask("POST", "/definitions", raw=b"x").status == 400


def test_parameters(api, vhost):
    path = f"/global-parameters/p-{uuid.uuid4().hex[:12]}"
    table(api, [
        ("PUT", path, {"value": {"a": 1}}, 201),
        ("PUT", path, {"value": {"a": 2}}, 204),
        ("PUT", path, {}, 400),
        ("PUT", f"/parameters/no-such/{vhost}/n", {"value": {}}, 400),
        ("GET", f"/parameters/shovel/{vhost}/n", None, 404),
        ("GET", f"/policies/{vhost}/p", None, 404),
        ("DELETE", f"/policies/{vhost}/p", None, 404),
    ])  # fmt: skip
    assert api.get(path)["value"] == {"a": 2}
    assert path.rsplit("/", 1)[1] in [it["name"] for it in api.get("/global-parameters")]
    table(api, [("DELETE", path, None, 204), ("DELETE", path, None, 404)])
    for empty in (f"/policies/{vhost}", f"/vhost-limits/{vhost}", f"/parameters/shovel/{vhost}"):
        assert api.get(empty) == []


def test_limits_of_a_vhost(server, api, vhost):
    limits = f"/vhost-limits/{vhost}"
    table(api, [
        ("PUT", f"{limits}/max-queues", {"value": 2}, 204),
        ("PUT", f"{limits}/max-connections", {"value": 1}, 204),
        ("PUT", f"{limits}/max-queues", {"value": "many"}, 400),
        ("PUT", f"{limits}/max-queues", {}, 400),
        ("PUT", "/vhost-limits/nowhere-at-all/max-queues", {"value": 2}, 404),
        ("GET", "/vhost-limits/nowhere-at-all", None, 404),
    ])  # fmt: skip
    name = unquote(vhost)
    value = {"max-queues": 2, "max-connections": 1}
    assert api.get(limits) == [{"vhost": name, "value": value}]
    assert {"vhost": name, "value": value} in api.get("/vhost-limits")
    where = parameters(server, vhost, "guest", "guest")
    connection = pika.BlockingConnection(where)
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="connection limit"):
        pika.BlockingConnection(where)
    channel = connection.channel()
    for queue in ("a", "b", "a"):
        channel.queue_declare(queue)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="queue limit") as refused:
        channel.queue_declare("c")
    assert refused.value.reply_code == 406
    channel = connection.channel()
    assert api.put(f"{limits}/max-queues", {"value": -1}) == 204
    for queue in ("c", "d"):
        channel.queue_declare(queue)
    assert api.delete(f"{limits}/max-connections") == 204
    pika.BlockingConnection(where).close()
    assert api.get(limits) == [{"vhost": name, "value": {"max-queues": -1}}]
    assert api.delete(f"{limits}/max-queues") == 204
    assert api.get(limits) == []
    connection.close()


def test_limits_of_a_user(server, api, vhost, user):
    limits = f"/user-limits/{user}"
    assert api.put(f"/permissions/{vhost}/{user}", ALL) == 201
    table(api, [
        ("PUT", f"{limits}/max-connections", {"value": 1}, 204),
        ("PUT", f"{limits}/max-connections", {"value": None}, 400),
        ("GET", "/user-limits/nobody-at-all", None, 404),
    ])  # fmt: skip
    assert api.get(limits) == [{"user": user, "value": {"max-connections": 1}}]
    assert {"user": user, "value": {"max-connections": 1}} in api.get("/user-limits")
    assert api.get(f"/users/{user}")["limits"] == {"max-connections": 1}
    where = parameters(server, vhost, user, "secret")
    connection = pika.BlockingConnection(where)
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="user connection limit"):
        pika.BlockingConnection(where)
    assert api.delete(f"{limits}/max-connections") == 204
    pika.BlockingConnection(where).close()
    connection.close()
    assert api.get(limits) == []


def test_a_user_that_is_connected_loses_rights_and_is_deleted(server, api, vhost, user):
    assert api.put(f"/permissions/{vhost}/{user}", ALL) == 201
    assert api.put(f"/queues/{vhost}/q", {}) == 201
    where = parameters(server, vhost, user, "secret")
    connection = pika.BlockingConnection(where)
    channel = connection.channel()
    got = []
    channel.basic_consume("q", lambda *delivery: got.append(delivery[3]), auto_ack=True)

    def publish(body):
        message = {"properties": {}, "routing_key": "q", "payload": body, "payload_encoding": "string"}
        assert api.post(f"/exchanges/{vhost}/amq.default/publish", message).status == 200

    def arrives(body):
        connection.process_data_events(0.1)
        return body in got

    # A consumer that runs goes on; one that begins is refused.
    assert api.put(f"/permissions/{vhost}/{user}", {**ALL, "read": "^$"}) == 204
    publish("one")
    eventually(lambda: arrives(b"one"))
    other = pika.BlockingConnection(where).channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="access to queue 'q'") as closed:
        other.basic_consume("q", print)
    assert closed.value.reply_code == 403
    # So it is without any permission, and with another password.
    assert api.delete(f"/permissions/{vhost}/{user}") == 204
    publish("two")
    eventually(lambda: arrives(b"two"))
    assert api.put(f"/users/{user}", {"password": "another", "tags": ""}) == 204
    publish("three")
    eventually(lambda: arrives(b"three"))
    assert api.delete(f"/users/{user}") == 204
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        eventually(lambda: arrives(b"never"))
    assert (closed.value.reply_code, closed.value.reply_text) == (
        320,
        f"CONNECTION_FORCED - user '{user}' is deleted",
    )


def test_channels_of_a_user_are_limited_over_all_its_connections(server, api, vhost, user):
    limit = f"/user-limits/{user}/max-channels"
    assert api.put(f"/permissions/{vhost}/{user}", ALL) == 201
    assert api.put(limit, {"value": 2}) == 204
    assert api.get(f"/users/{user}")["limits"] == {"max-channels": 2}
    where = parameters(server, vhost, user, "secret")
    one, other = pika.BlockingConnection(where), pika.BlockingConnection(where)
    channel = one.channel()
    other.channel()
    words = f"number of channels opened for user '{user}' has reached the maximum allowed user limit of"
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match=f"{words} .2.") as closed:
        other.channel()
    assert closed.value.reply_code == 530
    # The others go on, and there is room again.
    channel.queue_declare("", exclusive=True)
    eventually(lambda: one.channel().is_open or True)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match=words):
        one.channel()
    assert api.put(limit, {"value": 0}) == 204
    one = pika.BlockingConnection(where)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match=f"{words} .0."):
        one.channel()
    assert api.put(limit, {"value": -1}) == 204
    one = pika.BlockingConnection(where)
    channels = [one.channel() for _ in range(3)]
    # What is open stays.
    assert api.put(limit, {"value": 1}) == 204
    for channel in channels:
        channel.queue_declare("", exclusive=True)
    assert api.delete(limit) == 204
    assert api.get(f"/user-limits/{user}") == []
    one.channel()
    one.close()


@pytest.mark.postroom_only(reason="the test reads what only a dry run tells")
def test_limits_are_defined(api, vhost, user):
    assert api.put(f"/vhost-limits/{vhost}/max-queues", {"value": 3}) == 204
    assert api.put(f"/user-limits/{user}/max-connections", {"value": -1}) == 204
    everything = api.get("/definitions")
    entry = {"component": "vhost-limits", "name": "limits", "value": {"max-queues": 3}}
    assert {**entry, "vhost": unquote(vhost)} in everything["parameters"]
    (theirs,) = (it for it in everything["users"] if it["name"] == user)
    assert theirs["limits"] == {"max-connections": -1}
    assert api.get(f"/definitions/{vhost}")["parameters"] == [entry]
    theirs["limits"] = {"max-connections": 4}
    told = api.post("/definitions?dry_run=true", {"users": [theirs]}).json
    assert [it["what"] for it in told["effects"]] == [f"max-connections of user '{user}'"]
    assert api.post("/definitions", {"users": [theirs]}).status == 204
    assert api.get(f"/user-limits/{user}")[0]["value"] == {"max-connections": 4}
    entry["value"] = {"max-queues": 0}
    assert api.post(f"/definitions/{vhost}", {"parameters": [entry]}).status == 204
    assert api.get(f"/vhost-limits/{vhost}")[0]["value"] == {"max-queues": 0}
    refused = api.ask("PUT", f"/queues/{vhost}/q", {})
    assert refused.status == 400 and "queue limit" in refused.json["reason"]


def test_checks(server, api, vhost):
    checks = "/health/checks"
    for name in ("alarms", "local-alarms", "virtual-hosts", "node-is-quorum-critical"):
        assert api.get(f"{checks}/{name}")["status"] == "ok"
    assert api.get(f"{checks}/port-listener/{server.port}")["status"] == "ok"
    assert api.get(f"{checks}/protocol-listener/amqp091")["protocol"] == "amqp"
    table(api, [
        ("GET", f"{checks}/certificate-expiration/1/weeks", None, 200),
        ("GET", f"{checks}/certificate-expiration/x/weeks", None, 400),
        ("GET", f"{checks}/certificate-expiration/1/foo", None, 400),
        ("GET", f"{checks}/port-listener/1", None, 503),
        ("GET", f"{checks}/port-listener/x", None, 400),
        ("GET", f"{checks}/protocol-listener/mqtt", None, 503),
        ("GET", "/aliveness-test/nowhere-at-all", None, 404),
        ("GET", "/healthchecks/node/nowhere-at-all", None, 404),
        ("GET", "/nothing-at-all", None, 404),
    ])  # fmt: skip
    assert api.get(f"/aliveness-test/{vhost}") == {"status": "ok"}
    node = api.get("/overview")["node"]
    assert api.get("/healthchecks/node") == api.get(f"/healthchecks/node/{node}") == {"status": "ok"}


@pytest.mark.postroom_only(reason="RabbitMQ has no dry run")
def test_a_dry_run_says_what_an_import_would_do(api, vhost):
    queue = {"name": "dry", "durable": True, "auto_delete": False, "arguments": {}}
    told = api.post(f"/definitions/{vhost}?dry_run=true", {"queues": [queue]})
    assert told.json["make"] == 1 and "dry" in told.json["effects"][0]["what"]
    assert api.get(f"/definitions/{vhost}")["queues"] == []


@pytest.mark.postroom_only(reason="RabbitMQ has policies")
def test_what_could_not_act_is_not_taken(api, vhost):
    policy = {"pattern": "^q", "definition": {"max-length": 5}}
    table(api, [
        ("PUT", f"/policies/{vhost}/p", policy, 400),
        ("POST", "/rebalance/queues", {}, 400),
    ])  # fmt: skip


@pytest.mark.postroom_only(reason="tokens are Postroom's")
def test_tokens(server, api, vhost, user):
    assert api.put(f"/permissions/{vhost}/{user}", ALL) == 201
    assert api.put(f"/queues/{vhost}/q", {"durable": True}) == 201
    theirs = api.as_user(user, "secret")
    table(theirs, [
        ("POST", "/v1/tokens", {"name": "t", "scopes": []}, 400),
        ("POST", "/v1/tokens", {"name": "t", "scopes": ["root"]}, 400),
        ("POST", "/v1/tokens", {"name": "t", "scopes": ["read"], "user": "guest"}, 403),
    ])  # fmt: skip
    secrets = {}
    for scope in ("read", "publish", "manage"):
        made = theirs.post("/v1/tokens", {"name": scope, "scopes": [scope]})
        assert made.status == 201, made
        secrets[scope] = made.json["secret"]
    assert theirs.post("/v1/tokens", {"name": "read", "scopes": ["read"]}).status == 409

    def by(scope):
        return Management(server.host, server.http_port, token=secrets[scope])

    publish = f"/v1/queues/q/messages?vhost={vhost}"
    for scope, expected in [
        ("read", {"whoami": 200, "make": 401, "publish": 403}),
        ("publish", {"whoami": 401, "make": 401, "publish": 201}),
        ("manage", {"whoami": 200, "make": 201, "publish": 201}),
    ]:
        found = {
            "whoami": by(scope).ask("GET", "/whoami").status,
            "make": by(scope).put(f"/queues/{vhost}/made", {}),
            "publish": by(scope).post(publish, {"body": "x"}).status,
        }
        assert found == expected, scope
    assert by("manage").post("/v1/tokens", {"name": "x", "scopes": ["read"]}).status == 403
    assert [it["name"] for it in theirs.ask("GET", "/v1/tokens").json] == [
        "manage",
        "publish",
        "read",
    ]
    assert theirs.delete("/v1/tokens/read") == 204
    assert theirs.delete("/v1/tokens/read") == 404
    assert by("read").ask("GET", "/whoami").status == 401
