"""What the native API shows: queues, exchanges, bindings, who is connected, the node; page by page, and to
whom it may concern."""

import uuid

import pytest

from management import Management, part
from steps import catch_up, eventually, publish_and_wait

pytestmark = pytest.mark.postroom_only(reason="an API of its own")


@pytest.fixture
def api(server):
    return Management.of(server)


def pages(api, path, limit):
    """All items, asked for page by page."""
    items, after = [], ""
    while True:
        page = api.get(f"{path}&limit={limit}{after}")
        items += page["items"]
        assert len(page["items"]) <= limit
        if "next" not in page:
            assert page["total"] == len(items)
            return items
        after = f"&after={part(page['next'])}"


@pytest.fixture
def five(channel, names):
    made = [names.queue("v1") for _ in range(5)]
    for number, name in enumerate(made):
        channel.queue_declare(name, durable=number != 4, arguments={"x-max-length": 10 + number})
        publish_and_wait(channel, "", name, *[b"x"] * ((number * 2) % 5))
    return names.stem, made


def test_queues_page_by_page(api, five):
    stem, made = five
    path = f"/v1/queues?name={stem}"
    for limit in (1, 2, 5, 1000):
        assert [it["name"] for it in pages(api, path, limit)] == made
    pattern = part(f"^{stem}.*[13]$")
    found = api.get(f"/v1/queues?pattern={pattern}&vhost=%2F")["items"]
    assert [it["name"] for it in found] == [made[1], made[3]]


def test_queues_in_order(api, five):
    stem, made = five
    depths = [it["ready"] for it in pages(api, f"/v1/queues?name={stem}&sort=depth", 2)]
    assert depths == [4, 3, 2, 1, 0]
    ages = pages(api, f"/v1/queues?name={stem}&sort=age", 2)
    assert "oldest_age_ms" not in ages[-1] and ages[-1]["name"] == made[0]
    aged = [it["oldest_age_ms"] for it in ages[:-1]]
    assert all(age >= 0 for age in aged)
    assert len(pages(api, f"/v1/queues?name={stem}&sort=rate", 2)) == 5


def test_queue(api, five, channel):
    _, made = five
    queue = made[2]
    channel.basic_get(queue)
    shown = api.get(f"/v1/queues/{queue}")
    expected = {
        "name": queue, "vhost": "/", "type": "classic", "durable": True, "auto_delete": False,
        "exclusive": False, "arguments": {"x-max-length": 12}, "ready": 3, "unacked": 1,
        "consumers": 0,
    }  # fmt: skip
    assert {field: shown[field] for field in expected} == expected
    assert shown["counts"]["published"] == 4 and shown["counts"]["delivered"] == 1
    assert set(shown["rates"]) == {
        "published_per_s", "delivered_per_s", "acknowledged_per_s", "requeued_per_s"
    }  # fmt: skip
    assert shown["oldest_age_ms"] >= 0 and shown["idle_ms"] >= 0


def test_what_an_autoscaler_asks(api, five, channel):
    _, made = five
    channel.basic_get(made[2])
    shown = api.get(f"/v1/queues/{made[2]}/scale")
    assert (shown["messages"], shown["ready"], shown["unacked"], shown["consumers"]) == (4, 3, 1, 0)
    assert shown["oldest_age_s"] >= 0
    assert api.get(f"/v1/queues/{made[0]}/scale")["oldest_age_s"] == 0
    for rate in ("published_per_s", "delivered_per_s", "acknowledged_per_s"):
        assert shown[rate] >= 0


def test_exchanges_and_bindings(api, channel, names):
    exchange, queue = names.exchange(), names.queue()
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.queue_declare(queue)
    for key in ("a.b", "a.*", ""):
        channel.queue_bind(queue, exchange, key)
    publish_and_wait(channel, exchange, "a.b", b"x")
    shown = api.get(f"/v1/exchanges/{exchange}")
    assert (shown["type"], shown["durable"], shown["internal"]) == ("topic", True, False)
    assert (shown["published_in"], shown["published_out"]) == (1, 1)
    [listed] = api.get(f"/v1/exchanges?name={exchange}")["items"]
    assert listed["name"] == exchange
    bindings = pages(api, f"/v1/bindings?destination={queue}", 2)
    found = {(it["source"], it["routing_key"], it["destination_type"]) for it in bindings}
    assert found == {
        ("", queue, "queue"), (exchange, "a.b", "queue"), (exchange, "a.*", "queue"),
        (exchange, "", "queue"),
    }  # fmt: skip
    assert len(api.get(f"/v1/bindings?source={exchange}&vhost=%2F")["items"]) == 3


def test_who_is_connected(api, connect, names):
    own = connect(client_properties={"connection_name": names.stem})
    channel = own.channel()
    queue = names.queue()
    channel.queue_declare(queue)
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=7)
    channel.basic_consume(queue, lambda *_: None, consumer_tag="tag")
    catch_up(channel)

    def mine():
        listed = api.get("/v1/connections?limit=1000")["items"]
        found = [it for it in listed if it.get("client_provided_name") == names.stem]
        return found and found[0]

    eventually(mine)
    connection = mine()
    assert (connection["user"], connection["vhost"], connection["state"]) == ("guest", "/", "running")
    assert connection["received_bytes"] > 0 and connection["sent_bytes"] > 0

    def its(path):
        found = api.get(f"{path}?limit=1000&vhost=%2F")["items"]
        return [it for it in found if it["connection"] == connection["name"]]

    eventually(lambda: its("/v1/channels") and its("/v1/consumers"))
    [shown] = its("/v1/channels")
    assert (shown["number"], shown["confirms"], shown["consumers"]) == (1, True, 1)
    [consumer] = its("/v1/consumers")
    found = (consumer["consumer_tag"], consumer["queue"], consumer["prefetch"], consumer["active"])
    assert found == ("tag", queue, 7, True)


def test_the_whole(api):
    overview = api.get("/v1/overview")
    assert overview["vhosts"] >= 1 and overview["publishers_blocked"] is False
    node = api.get("/v1/node")
    assert node["memory_max_bytes"] > 0 and node["uptime_ms"] > 0 and node["disk_alarm"] is False
    assert "/" in {it["name"] for it in api.get("/v1/vhosts")["items"]}


@pytest.mark.parametrize(
    "path, field",
    [
        ("/v1/queues?limit=0", "limit"),
        ("/v1/queues?limit=1001", "limit"),
        ("/v1/queues?pattern=%28", "pattern"),
        ("/v1/queues?pattern=%28a%7B999%7D%29%7B999%7D", "pattern"),
        ("/v1/bindings?after=%00", "after"),
        ("/v1/queues?sort=beauty", None),
        ("/v1/queues?limits=1", None),
    ],
)
def test_what_cannot_be_asked(api, path, field):
    answer = api.ask("GET", path)
    assert answer.status == 400, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json.get("field") == field and answer.json["detail"]


def test_what_is_not_there(api):
    for path in (
        "/v1/queues/no-such-queue", "/v1/queues/no-such-queue/scale", "/v1/exchanges/no-such",
        "/v1/queues?vhost=no-such", "/v1/queues/q?vhost=no-such", "/v1/consumers?vhost=no-such",
    ):  # fmt: skip
        answer = api.ask("GET", path)
        assert answer.status == 404 and answer.json["detail"], (path, answer)


def test_who_sees_what(api, channel, names):
    user = f"u-{uuid.uuid4().hex[:12]}"
    assert api.put(f"/users/{user}", {"password": "secret", "tags": ""}) == 201
    somebody = api.as_user(user, "secret")
    queue = names.queue()
    channel.queue_declare(queue)
    lists = ("queues", "exchanges", "bindings", "connections", "channels", "consumers", "vhosts")
    for path in lists:
        assert somebody.get(f"/v1/{path}")["items"] == [], path
        assert somebody.ask("GET", f"/v1/{path}?vhost=%2F").status == 403, path
    for path in (f"queues/{queue}", f"queues/{queue}/scale", "exchanges/amq.direct"):
        assert somebody.ask("GET", f"/v1/{path}").status == 403, path
    assert somebody.ask("GET", "/v1/node").status == 401
    assert somebody.get("/v1/overview")["queues"] == 0
    nothing = {"configure": "", "write": "", "read": ""}
    assert api.put(f"/permissions/%2F/{user}", nothing) == 201
    assert somebody.get(f"/v1/queues/{queue}")["name"] == queue
    assert somebody.get("/v1/connections")["items"] == []
    assert api.delete(f"/users/{user}") == 204
