"""Users, permissions and virtual hosts over the native API: who may do what changes at once, stays over a
restart, and no password is told."""

import pika
import pytest

from management import Management, part
from steps import eventually

pytestmark = pytest.mark.postroom_only(reason="an API of its own")


@pytest.fixture
def api(own_server):
    return Management.of(own_server)


def enter(server, user, password, vhost="/"):
    parameters = pika.ConnectionParameters(
        server.host, server.port, vhost, pika.PlainCredentials(user, password)
    )
    return pika.BlockingConnection(parameters)


def names(api, path):
    return [it["name"] for it in api.get(path)["items"]]


def test_users_are_made_changed_and_deleted(own_server, api):
    assert api.put("/v1/users/ada", {"password": "one", "tags": ["monitoring"]}) == 201
    shown = {
        "name": "ada",
        "tags": ["monitoring"],
        "has_password": True,
        "only_from_this_machine": False,
    }
    assert api.get("/v1/users/ada") == shown
    assert names(api, "/v1/users") == ["ada", "guest"]
    assert names(api, "/v1/users?name=g") == ["guest"]
    ada = api.as_user("ada", "one")
    assert ada.get("/v1/whoami") == {"name": "ada", "tags": ["monitoring"]}

    # What is not said stays.
    assert api.put("/v1/users/ada", {"tags": []}) == 204
    assert ada.get("/v1/whoami") == {"name": "ada", "tags": []}
    assert api.put("/v1/users/ada", {"password": "two"}) == 204
    assert api.get("/v1/users/ada")["tags"] == []
    assert ada.ask("GET", "/v1/whoami").status == 401
    assert api.as_user("ada", "two").get("/v1/whoami")["name"] == "ada"
    assert api.put("/v1/users/ada", {"password": ""}) == 204
    assert api.get("/v1/users/ada")["has_password"] is False

    assert api.delete("/v1/users/ada") == 204
    assert api.delete("/v1/users/ada") == 404
    assert api.ask("GET", "/v1/users/ada").status == 404


def test_a_hash_of_rabbitmq_is_taken_and_none_is_told(own_server, api):
    # Salted SHA-256 of "password".
    hashed = "c2FsdBNgG9pOp45VoHuYhm0r5r4HROOGbxPADIEcq2CKKPMi"
    assert api.put("/v1/users/bob", {"password_hash": hashed}) == 201
    assert api.as_user("bob", "password").get("/v1/whoami")["name"] == "bob"
    for path in ["/v1/users", "/v1/users/bob"]:
        said = api.ask("GET", path).body.decode()
        assert hashed not in said and "hash" not in said
    refused = api.ask("PUT", "/v1/users/bob", {"password_hash": hashed, "password": "x"})
    assert (refused.status, refused.json["field"]) == (400, "password_hash")
    refused = api.ask("PUT", "/v1/users/bob", {"password_hash": "no hash"})
    assert (refused.status, refused.json["field"]) == (400, "password_hash")
    refused = api.ask("PUT", "/v1/users/bob", {"tag": ["administrator"]})
    assert (refused.status, refused.json["field"]) == (400, "tag")


def test_a_user_that_is_deleted_is_put_out(own_server, api):
    api.put("/v1/users/ada", {"password": "one"})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    assert api.put("/v1/permissions/ada", everything) == 201
    connection = enter(own_server, "ada", "one")
    assert api.delete("/v1/users/ada") == 204
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        connection.process_data_events(time_limit=10)
    assert closed.value.reply_code == 320


def test_permissions_count_at_once(own_server, api):
    api.put("/v1/users/ada", {"password": "one"})
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
        enter(own_server, "ada", "one")
    permission = {"configure": "^ada\\.", "write": ".*", "read": ""}
    assert api.put("/v1/permissions/ada?vhost=%2F", permission) == 201
    [shown] = api.get("/v1/permissions?user=ada")["items"]
    assert shown == {"user": "ada", "vhost": "/", **permission}
    assert api.get("/v1/permissions?user=ada&vhost=elsewhere")["items"] == []
    connection = enter(own_server, "ada", "one")
    channel = connection.channel()
    channel.queue_declare("ada.q")
    assert api.put("/v1/permissions/ada", {**permission, "configure": ""}) == 204
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        channel.queue_declare("ada.r")
    assert closed.value.reply_code == 403
    connection.close()
    assert api.delete("/v1/permissions/ada") == 204
    assert api.delete("/v1/permissions/ada") == 404
    refused = api.ask("PUT", "/v1/permissions/nobody", permission)
    assert refused.status == 400 and "nobody" in refused.json["detail"]
    refused = api.ask("PUT", "/v1/permissions/ada", {**permission, "read": "("})
    assert refused.status == 400


def test_a_consumer_goes_on_without_the_right_to_begin(own_server, api):
    api.put("/v1/users/ada", {"password": "one"})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    api.put("/v1/permissions/ada", everything)
    channel = enter(own_server, "ada", "one").channel()
    channel.queue_declare("q", durable=True)
    came = []
    channel.basic_consume("q", lambda *delivery: came.append(delivery[3]), auto_ack=True)
    assert api.put("/v1/permissions/ada", {**everything, "read": ""}) == 204
    assert api.post("/v1/queues/q/messages", {"body": "one"}).status == 201
    while not came:
        channel.connection.process_data_events(time_limit=10)
    assert came == [b"one"]
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        channel.basic_get("q")
    assert closed.value.reply_code == 403


def test_routing_keys_are_limited(own_server, api):
    api.put("/v1/users/ada", {"password": "one"})
    api.put("/v1/permissions/ada", {"configure": ".*", "write": ".*", "read": ".*"})
    limits = {"write": "^{username}\\.", "read": ".*"}
    assert api.put("/v1/topic-permissions/ada/amq.topic", limits) == 201
    assert api.put("/v1/topic-permissions/ada/events", limits) == 201
    found = api.get("/v1/topic-permissions?user=ada")["items"]
    assert [it["exchange"] for it in found] == ["amq.topic", "events"]
    assert found[0] == {"user": "ada", "vhost": "/", "exchange": "amq.topic", **limits}
    ada = api.as_user("ada", "one")
    ada.put("/v1/queues/mine")
    binding = {"source": "amq.topic", "destination": "mine", "routing_key": "#"}
    assert ada.post("/v1/bindings", binding).status == 204
    to = "/v1/exchanges/amq.topic/messages?routing_key="
    assert ada.post(f"{to}ada.x", {"body": "x"}).status == 201
    assert ada.post(f"{to}bob.x", {"body": "x"}).status == 403
    assert api.delete("/v1/topic-permissions/ada/amq.topic") == 204
    assert ada.post(f"{to}bob.x", {"body": "x"}).status == 201
    assert api.delete("/v1/topic-permissions/ada") == 204
    assert api.delete("/v1/topic-permissions/ada") == 404


def test_virtual_hosts_are_made_noted_and_deleted(own_server, api):
    name = "shop / Köln"
    path = f"/v1/vhosts/{part(name)}"
    assert api.put(path, {"description": "the shop", "tags": ["eu"]}) == 201
    assert api.put(path, {"tags": ["eu", "live"]}) == 204
    assert api.put(path) == 204
    shown = api.get(path)
    assert (shown["name"], shown["description"]) == (name, "the shop")
    assert shown["tags"] == ["eu", "live"]
    assert names(api, "/v1/vhosts") == ["/", name]
    # Whoever made it may do everything in it.
    assert api.put(f"/v1/queues/q?vhost={part(name)}") == 201
    # Lists may be a moment old.
    eventually(lambda: api.get(path)["queues"] == 1)
    api.put("/v1/users/ada", {"password": "one"})
    ada = api.as_user("ada", "one")
    assert names(ada, "/v1/vhosts") == []
    assert ada.ask("GET", path).status == 403
    assert ada.ask("DELETE", path).status == 401
    assert api.delete(path) == 204
    assert api.delete(path) == 404
    assert names(api, "/v1/vhosts") == ["/"]


def test_tenants_survive_a_kill(own_server, api):
    assert api.put("/v1/vhosts/shop", {"description": "the shop"}) == 201
    assert api.put("/v1/users/ada", {"password": "one", "tags": ["management"]}) == 201
    permission = {"configure": "", "write": "^x", "read": ".*"}
    assert api.put("/v1/permissions/ada?vhost=shop", permission) == 201
    assert api.put("/v1/topic-permissions/ada/e?vhost=shop", {"write": "a", "read": "b"}) == 201
    paths = ["/v1/users", "/v1/permissions", "/v1/topic-permissions", "/v1/vhosts/shop"]
    before = [api.get(path) for path in paths]
    own_server.kill()
    own_server.start()
    api = Management.of(own_server)
    assert [api.get(path) for path in paths] == before
    assert api.as_user("ada", "one").get("/v1/whoami")["tags"] == ["management"]


def test_users_come_page_by_page(own_server, api):
    for number in range(5):
        api.put(f"/v1/users/u{number}")
    found, after = [], ""
    while after is not None:
        page = api.get(f"/v1/users?limit=2&pattern=^u{after}")
        found += [it["name"] for it in page["items"]]
        assert page["total"] == 5
        after = f"&after={part(page['next'])}" if "next" in page else None
    assert found == [f"u{number}" for number in range(5)]


def test_vhosts_and_users_are_limited(own_server, api):
    assert api.get("/v1/vhost-limits") == {"items": [], "total": 0}
    assert api.put("/v1/vhosts/shop") == 201
    assert api.put("/v1/users/ada", {"password": "one"}) == 201
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    assert api.put("/v1/permissions/ada?vhost=shop", everything) == 201
    assert api.put("/v1/vhost-limits/shop/max-queues", {"max": 1}) == 204
    assert api.put("/v1/vhost-limits/%2F/max-connections", {"max": None}) == 204
    assert api.put("/v1/user-limits/ada/max-channels", {"max": 1}) == 204
    slash = {"vhost": "/", "limit": "max-connections", "max": None}
    shop = {"vhost": "shop", "limit": "max-queues", "max": 1}
    assert api.get("/v1/vhost-limits")["items"] == [slash, shop]
    assert api.get("/v1/vhost-limits?vhost=shop")["items"] == [shop]
    of_ada = {"user": "ada", "limit": "max-channels", "max": 1}
    assert api.get("/v1/user-limits?user=ada")["items"] == [of_ada]
    assert api.get("/v1/user-limits?user=guest")["items"] == []

    ada = api.as_user("ada", "one")
    # Each sees what is of its virtual hosts, and sets nothing.
    assert ada.get("/v1/vhost-limits")["items"] == [shop]
    assert ada.ask("GET", "/v1/user-limits").status == 401
    assert ada.put("/v1/vhost-limits/shop/max-queues", {"max": 9}) == 401
    assert ada.delete("/v1/user-limits/ada/max-channels") == 401

    connection = enter(own_server, "ada", "one", "shop")
    channel = connection.channel()
    channel.queue_declare("one")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="user limit of .1."):
        connection.channel()
    refused = api.ask("PUT", "/v1/queues/two?vhost=shop")
    assert refused.status == 400 and "queue limit" in refused.json["detail"]

    for path, body, field in [
        ("/v1/vhost-limits/shop/max-queues", {}, None),
        ("/v1/vhost-limits/shop/max-queues", {"max": -1}, "max"),
        ("/v1/vhost-limits/shop/max-queues", {"max": 1 << 32}, "max"),
        ("/v1/vhost-limits/shop/max-queues", {"max": 1, "value": 1}, "value"),
        ("/v1/vhost-limits/shop/max-channels", {"max": 1}, None),
        ("/v1/user-limits/ada/max-queues", {"max": 1}, None),
    ]:
        refused = api.ask("PUT", path, body)
        assert (refused.status, refused.json.get("field")) == (400, field), (path, body, refused)
        words = "missing field `max`" if not body else "there is no limit 'max-"
        assert field or words in refused.json["detail"]
    assert api.put("/v1/vhost-limits/nowhere/max-queues", {"max": 1}) == 404
    assert api.put("/v1/user-limits/nobody/max-channels", {"max": 1}) == 404

    own_server.restart()
    api = Management.of(own_server)
    assert api.get("/v1/vhost-limits")["items"] == [slash, shop]
    assert api.get("/v1/user-limits")["items"] == [of_ada]
    connection = enter(own_server, "ada", "one", "shop")
    connection.channel()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="user limit of .1."):
        connection.channel()
    for _ in range(2):
        assert api.delete("/v1/user-limits/ada/max-channels") == 204
    assert api.delete("/v1/vhost-limits/shop/max-queues") == 204
    assert api.get("/v1/vhost-limits")["items"] == [slash]
    assert api.put("/v1/queues/two?vhost=shop") == 201
    # A user's limits go with it.
    assert api.put("/v1/user-limits/ada/max-connections", {"max": 1}) == 204
    assert api.delete("/v1/users/ada") == 204
    assert api.get("/v1/user-limits")["items"] == []
