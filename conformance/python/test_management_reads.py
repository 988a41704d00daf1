"""What RabbitMQ's management API shows: the shapes of lists and of single things, pages, columns, order,
rates, and who sees what.

All but what is marked holds for RabbitMQ 3.10, too: see docs/management-api.md for the command.
"""

import re
import uuid

import pytest

from management import OTHER_URL, Management, part
from steps import catch_up, eventually

# RabbitMQ counts every five seconds, Postroom too.
COUNTED_SECONDS = 30

NUMBER, TEXT, FLAG, OBJECT, LIST = (int, float), str, bool, dict, list
RATE = {"rate": NUMBER}


@pytest.fixture
def api(server):
    return Management.of(server)


@pytest.fixture
def user(api):
    name = f"u-{uuid.uuid4().hex[:12]}"
    assert api.put(f"/users/{name}", {"password": "secret", "tags": "management"}) == 201
    yield name
    api.delete(f"/users/{name}")


@pytest.fixture
def vhost(api):
    """A virtual host of the test's own; its name needs escaping."""
    name = f"v/{uuid.uuid4().hex[:12]}"
    assert api.put(f"/vhosts/{part(name)}") == 201
    yield name
    api.delete(f"/vhosts/{part(name)}")


def has(thing, shape, where=""):
    """Every field is there, with a value of its JSON type."""
    for field, expected in shape.items():
        assert field in thing, f"{where}.{field} is missing: {thing}"
        value = thing[field]
        if isinstance(expected, dict):
            has(value, expected, f"{where}.{field}")
        elif isinstance(expected, tuple) or isinstance(expected, type):
            is_flag = isinstance(value, bool)
            right = isinstance(value, expected) and (expected is FLAG or not is_flag)
            assert right, f"{where}.{field} is {value!r}"
        else:
            assert value == expected, f"{where}.{field} is {value!r}"


QUEUE = {
    "name": TEXT, "vhost": "/", "type": "classic", "node": TEXT, "state": "running",
    "durable": True, "auto_delete": False, "exclusive": False, "arguments": OBJECT,
    "messages": NUMBER, "messages_details": RATE,
    "messages_ready": NUMBER, "messages_ready_details": RATE,
    "messages_unacknowledged": NUMBER, "messages_unacknowledged_details": RATE,
    "consumers": NUMBER, "consumer_capacity": NUMBER, "consumer_utilisation": NUMBER,
    "policy": None, "operator_policy": None, "effective_policy_definition": OBJECT,
    "exclusive_consumer_tag": None, "single_active_consumer_tag": None,
    "head_message_timestamp": None,
}  # fmt: skip

CHANNEL_DETAILS = {
    "name": TEXT, "number": NUMBER, "connection_name": TEXT, "node": TEXT, "user": "guest",
    "peer_host": TEXT, "peer_port": NUMBER,
}  # fmt: skip

CONSUMER = {
    "consumer_tag": TEXT, "queue": {"name": TEXT, "vhost": "/"}, "channel_details": CHANNEL_DETAILS,
    "ack_required": FLAG, "active": FLAG, "activity_status": TEXT, "exclusive": FLAG,
    "prefetch_count": NUMBER, "arguments": OBJECT,
}  # fmt: skip

CHANNEL = {
    "name": TEXT, "number": NUMBER, "user": "guest", "vhost": "/", "node": TEXT, "state": "running",
    "connection_details": {"name": TEXT, "peer_host": TEXT, "peer_port": NUMBER},
    "confirm": FLAG, "transactional": FLAG, "prefetch_count": NUMBER,
    "global_prefetch_count": NUMBER, "consumer_count": NUMBER,
    "messages_unacknowledged": NUMBER, "messages_unconfirmed": NUMBER,
    "messages_uncommitted": NUMBER, "acks_uncommitted": NUMBER,
}  # fmt: skip

CONNECTION = {
    "name": TEXT, "user": "guest", "vhost": "/", "node": TEXT, "protocol": "AMQP 0-9-1",
    "type": "network", "state": "running", "auth_mechanism": "PLAIN", "ssl": False,
    "host": TEXT, "port": NUMBER, "peer_host": TEXT, "peer_port": NUMBER,
    "connected_at": NUMBER, "timeout": NUMBER, "frame_max": NUMBER, "channel_max": NUMBER,
    "channels": NUMBER, "client_properties": OBJECT, "user_provided_name": TEXT,
    "recv_oct": NUMBER, "recv_oct_details": RATE, "recv_cnt": NUMBER,
    "send_oct": NUMBER, "send_oct_details": RATE, "send_cnt": NUMBER, "send_pend": NUMBER,
}  # fmt: skip

OVERVIEW = {
    "management_version": TEXT, "rabbitmq_version": TEXT, "product_name": TEXT,
    "product_version": TEXT, "cluster_name": TEXT, "node": TEXT, "rates_mode": "basic",
    "exchange_types": LIST, "listeners": LIST, "contexts": LIST, "churn_rates": OBJECT,
    "statistics_db_event_queue": NUMBER, "disable_stats": False, "enable_queue_totals": False,
    "object_totals": {
        "channels": NUMBER, "connections": NUMBER, "consumers": NUMBER, "exchanges": NUMBER,
        "queues": NUMBER,
    },
    "queue_totals": OBJECT,
}  # fmt: skip

NODE = {
    "name": TEXT, "running": True, "type": "disc", "os_pid": TEXT, "uptime": NUMBER,
    "processors": NUMBER, "mem_used": NUMBER, "mem_limit": NUMBER, "mem_alarm": False,
    "disk_free": NUMBER, "disk_free_limit": NUMBER, "disk_free_alarm": False,
    "fd_used": NUMBER, "fd_total": NUMBER, "sockets_used": NUMBER, "sockets_total": NUMBER,
    "partitions": [], "exchange_types": LIST, "auth_mechanisms": LIST, "applications": LIST,
    "rates_mode": "basic",
}  # fmt: skip


def test_overview_and_nodes(api):
    overview = api.get("/overview")
    has(overview, OVERVIEW)
    assert {it["name"] for it in overview["exchange_types"]} >= {"direct", "fanout", "topic", "headers"}
    has(overview["listeners"][0], {"protocol": TEXT, "ip_address": TEXT, "port": NUMBER, "node": TEXT})
    [node] = api.get("/nodes")
    has(node, NODE)
    assert node["name"] == overview["node"]
    has(api.get(f"/nodes/{part(node['name'])}"), NODE)
    assert set(api.get("/nodes?columns=name,uptime")[0]) == {"name", "uptime"}


@pytest.fixture
def busy(connect, names, api):
    """A named connection, with a queue, an exchange, a consumer with deliveries, and some counts."""
    # Names are RabbitMQ's way to find one's own connection again.
    connection = connect(client_properties={"connection_name": names.stem})
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=3)
    queue, exchange = names.queue("busy"), names.exchange()
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 2})
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.queue_bind(queue, exchange, "a.b/c d")
    channel.basic_consume(queue, lambda *_: None, consumer_tag="tag-1")
    for number in range(10):
        channel.basic_publish(exchange, "a.b/c d", b"message %d" % number)
    connection.process_data_events(0)
    catch_up(channel)

    def counted():
        connection.process_data_events(0)
        shown = api.get(f"/queues/%2F/{queue}")
        stats = shown.get("message_stats", {})
        return stats.get("publish") == 10 and stats.get("deliver") == 3 and shown.get("consumers") == 1

    eventually(counted, COUNTED_SECONDS)

    def seen():
        found = own_connection(api, names)
        stats = found and found["channels"] == 1 and api.get(f"/connections/{part(found['name'])}/channels")
        return stats and stats[0].get("consumer_count") == 1 and "message_stats" in stats[0]

    eventually(seen, COUNTED_SECONDS)
    return names, queue, exchange


def own_connection(api, names):
    found = [it for it in api.get("/connections") if it.get("user_provided_name") == names.stem]
    return found and found[0]


def test_queue(api, busy):
    _, queue, _ = busy
    expected = {
        **QUEUE, "name": queue, "messages": 10, "messages_ready": 7, "messages_unacknowledged": 3,
        "consumers": 1, "arguments": {"x-max-priority": 2},
        "message_stats": {
            "publish": 10, "publish_details": RATE, "deliver": 3, "deliver_details": RATE,
            "deliver_get": 3, "deliver_get_details": RATE, "ack": 0, "ack_details": RATE,
            "redeliver": 0, "get": 0, "get_no_ack": 0, "get_empty": 0, "deliver_no_ack": 0,
        },
    }  # fmt: skip
    single = api.get(f"/queues/%2F/{queue}")
    has(single, {**expected, "incoming": LIST, "deliveries": LIST})
    [consumer] = single["consumer_details"]
    has(consumer, {**CONSUMER, "consumer_tag": "tag-1", "prefetch_count": 3})
    for path in ("/queues", "/queues/%2F"):
        [listed] = [it for it in api.get(path) if it["name"] == queue]
        has(listed, expected)
        assert "consumer_details" not in listed


def test_a_queue_at_rest_has_no_message_stats(api, channel, names):
    queue = names.queue()
    channel.queue_declare(queue, durable=True)
    eventually(lambda: "messages" in api.get(f"/queues/%2F/{queue}"), COUNTED_SECONDS)
    shown = api.get(f"/queues/%2F/{queue}")
    assert shown["messages"] == 0 and "message_stats" not in shown
    shown = api.get(f"/queues/%2F/{queue}?columns=name,message_stats.publish")
    assert shown == {"name": queue}


def test_exclusive_and_single_active(api, connection, names):
    channel = connection.channel()
    # It goes with its connection.
    exclusive, single = f"{names.stem}-exclusive", names.queue("single")
    channel.queue_declare(exclusive, exclusive=True)
    channel.queue_declare(single, arguments={"x-single-active-consumer": True}, durable=True)
    for tag in ("first", "second"):
        channel.basic_consume(single, lambda *_: None, consumer_tag=tag)

    def is_counted():
        shown = api.get(f"/queues/%2F/{single}")
        return shown.get("single_active_consumer_tag") == "first" and shown.get("consumers") == 2

    eventually(is_counted, COUNTED_SECONDS)
    channel.basic_consume(exclusive, lambda *_: None, consumer_tag="alone", exclusive=True)
    alone = f"/queues/%2F/{exclusive}"
    eventually(lambda: api.get(alone).get("exclusive_consumer_tag") == "alone", COUNTED_SECONDS)
    assert "exclusive_consumer_tag" in api.get(f"/queues/%2F/{single}")
    assert api.get(f"/queues/%2F/{single}")["exclusive_consumer_tag"] is None
    shown = api.get(alone)
    assert shown["exclusive"] is True
    has(shown["owner_pid_details"], {"name": TEXT, "peer_host": TEXT, "peer_port": NUMBER})
    details = api.get(f"/queues/%2F/{single}")["consumer_details"]
    found = {it["consumer_tag"]: (it["active"], it["activity_status"]) for it in details}
    assert found == {"first": (True, "single_active"), "second": (False, "waiting")}


def test_connection_channels_and_consumers(api, busy):
    names, queue, _ = busy
    connection = own_connection(api, names)
    has(connection, {**CONNECTION, "channels": 1})
    name = part(connection["name"])
    # Single connections have texts where lists have null.
    has(api.get(f"/connections/{name}"), {**CONNECTION, "name": connection["name"]})
    assert re.fullmatch(r"\S+:\d+ -> \S+:\d+", connection["name"])
    for path in ("/vhosts/%2F/connections", "/connections/username/guest"):
        assert connection["name"] in {it["name"] for it in api.get(path)}
    assert api.get("/connections/username/nobody-at-all") == []

    [channel] = api.get(f"/connections/{name}/channels")
    stats = {
        "publish": 10, "publish_details": RATE, "confirm": 10, "deliver": 3, "deliver_get": 3,
        "return_unroutable": 0, "drop_unroutable": 0,
    }  # fmt: skip
    expected = {
        **CHANNEL, "name": f"{connection['name']} (1)", "number": 1, "confirm": True,
        "prefetch_count": 3, "consumer_count": 1, "messages_unacknowledged": 3,
        "message_stats": stats,
    }  # fmt: skip
    has(channel, expected)
    single = api.get(f"/channels/{part(channel['name'])}")
    has(single, expected)
    has(single["consumer_details"][0], {**CONSUMER, "consumer_tag": "tag-1"})
    for path in ("/channels", "/vhosts/%2F/channels"):
        assert channel["name"] in {it["name"] for it in api.get(path)}

    for path in ("/consumers", "/consumers/%2F"):
        [consumer] = [it for it in api.get(path) if it["queue"]["name"] == queue]
        has(consumer, {**CONSUMER, "consumer_tag": "tag-1", "activity_status": "up"})


def test_exchanges(api, busy):
    _, _, exchange = busy
    shape = {
        "name": exchange, "vhost": "/", "type": "topic", "durable": True, "auto_delete": False,
        "internal": False, "arguments": {},
        "message_stats": {"publish_in": 10, "publish_in_details": RATE, "publish_out": 10},
    }  # fmt: skip
    has(api.get(f"/exchanges/%2F/{exchange}"), {**shape, "incoming": LIST, "outgoing": LIST})
    for path in ("/exchanges", "/exchanges/%2F"):
        listed = api.get(path)
        [found] = [it for it in listed if it["name"] == exchange]
        has(found, shape)
        types = {it["name"]: it["type"] for it in listed if it["vhost"] == "/"}
        assert types[""] == "direct" and types["amq.match"] == "headers"
    has(api.get("/exchanges/%2F/amq.default"), {"name": "", "type": "direct"})


def test_bindings(api, busy, channel, names):
    _, queue, exchange = busy
    other = names.exchange("other")
    channel.exchange_declare(other, "fanout")
    channel.exchange_bind(other, exchange, "k")
    channel.queue_bind(queue, exchange, "", arguments={"n": 1})
    plain = {
        "source": exchange, "vhost": "/", "destination": queue, "destination_type": "queue",
        "routing_key": "a.b/c d", "arguments": {}, "properties_key": "a.b%2Fc+d",
    }  # fmt: skip
    default = {
        "source": "", "vhost": "/", "destination": queue, "destination_type": "queue",
        "routing_key": queue, "arguments": {}, "properties_key": queue,
    }  # fmt: skip
    between = api.get(f"/bindings/%2F/e/{exchange}/q/{queue}")
    assert len(between) == 2 and plain in between
    [with_arguments] = [it for it in between if it != plain]
    assert with_arguments["arguments"] == {"n": 1}
    assert re.fullmatch(r"~[\w-]+", with_arguments["properties_key"])
    for binding in between:
        key = part(binding["properties_key"])
        assert api.get(f"/bindings/%2F/e/{exchange}/q/{queue}/{key}") == binding
    for path in ("/bindings", "/bindings/%2F", f"/queues/%2F/{queue}/bindings"):
        listed = api.get(path)
        assert plain in listed and default in listed and with_arguments in listed
    to_exchange = {
        "source": exchange, "vhost": "/", "destination": other, "destination_type": "exchange",
        "routing_key": "k", "arguments": {}, "properties_key": "k",
    }  # fmt: skip
    assert api.get(f"/bindings/%2F/e/{exchange}/e/{other}") == [to_exchange]
    assert api.get(f"/bindings/%2F/e/{exchange}/e/{other}/k") == to_exchange
    assert api.get(f"/exchanges/%2F/{other}/bindings/destination") == [to_exchange]
    from_exchange = api.get(f"/exchanges/%2F/{exchange}/bindings/source")
    assert len(from_exchange) == 3 and to_exchange in from_exchange
    assert default in api.get("/exchanges/%2F/amq.default/bindings/source")


def test_vhosts(api, vhost):
    has(api.get(f"/vhosts/{part(vhost)}"), {"name": vhost, "tracing": False, "tags": []})
    [found] = [it for it in api.get("/vhosts") if it["name"] == vhost]
    has(found, {"name": vhost, "cluster_state": OBJECT, "metadata": OBJECT})
    shown = api.get("/vhosts/%2F?columns=name,nothing")
    assert shown == {"name": "/"}


@pytest.fixture
def five(channel, names):
    """Five queues: of four the names begin alike; the messages in them are 0 to 4."""
    made = []
    for number in range(5):
        name = names.queue("Odd" if number == 3 else "even")
        channel.queue_declare(name, durable=True)
        for _ in range(number):
            channel.basic_publish("", name, b"x")
        made.append(name)
    catch_up(channel)
    return names.stem, made


def paged(api, query):
    return api.get(f"/queues/%2F?{query}")


def test_pages(api, five):
    stem, made = five
    page = paged(api, f"page=1&page_size=2&name={stem}")
    assert set(page) == {
        "items", "page", "page_size", "page_count", "item_count", "filtered_count", "total_count"
    }  # fmt: skip
    counts = {"page": 1, "page_size": 2, "page_count": 3, "item_count": 2, "filtered_count": 5}
    has(page, counts)
    assert page["total_count"] >= 5
    names = []
    for number in (1, 2, 3):
        names += [it["name"] for it in paged(api, f"page={number}&page_size=2&name={stem}")["items"]]
    assert names == sorted(made)
    # Names are found in any case, and anywhere; patterns too.
    assert [it["name"] for it in paged(api, f"page=1&name={stem.upper()}-ODD")["items"]] == [made[3]]
    found = paged(api, f"page=1&use_regex=true&pagination=false&name=%5E{stem}.*%5B02%5D%24")
    assert [it["name"] for it in found["items"]] == [made[0], made[2]]
    assert found["page_count"] == 1 and found["page_size"] == 100
    # A name without a page asks for everything.
    assert len(paged(api, "name=nothing-is-called-so&columns=name")) >= 5
    nothing = paged(api, "page=1&name=nothing-is-called-so")
    has(nothing, {"items": [], "item_count": 0, "filtered_count": 0})


@pytest.mark.parametrize(
    "query, error",
    [
        ("page=0", "invalid_pagination_parameters"),
        ("page=1&page_size=0", "invalid_pagination_parameters"),
        ("page=1&page_size=501", "invalid_pagination_parameters"),
        ("page=1000000", "page_out_of_range"),
        ("page=one", "bad_request"),
        ("page=1&name=%28&use_regex=true", "bad_request"),
    ],
)
def test_pages_that_cannot_be(api, query, error):
    answer = api.ask("GET", f"/queues?{query}")
    assert (answer.status, answer.json["error"]) == (400, error)
    assert isinstance(answer.json["reason"], str)


def test_columns_and_order(api, five):
    stem, made = five
    counted = f"page=1&name={stem}&columns=name,messages"

    def messages():
        return [it.get("messages") for it in paged(api, counted)["items"]]

    eventually(lambda: sorted(filter(None, messages())) == [1, 2, 3, 4], COUNTED_SECONDS)
    for order, expected in [
        ("sort=messages", [0, 1, 2, 3, 4]),
        ("sort=messages&sort_reverse=true", [4, 3, 2, 1, 0]),
        ("sort=name&sort_reverse=true", [4, 2, 1, 0, 3]),
        ("sort=message_stats.publish&sort_reverse=true", [4, 3, 2, 1, 0]),
    ]:
        items = paged(api, f"{counted}&{order}")["items"]
        assert [it["messages"] for it in items] == expected, order
        assert all(set(it) == {"name", "messages"} for it in items)
    columns = "name,message_stats.publish_details.rate"
    shown = api.get(f"/queues/%2F/{made[4]}?columns={columns}")
    has(shown, {"name": made[4], "message_stats": {"publish_details": RATE}})
    assert set(shown["message_stats"]) == {"publish_details"}


def test_without_statistics(api, five):
    stem, made = five
    query = f"page=1&name={stem}&disable_stats=true"
    [first, *_] = paged(api, query)["items"]
    assert set(first) == {
        "name", "vhost", "durable", "auto_delete", "exclusive", "arguments", "type", "node", "state"
    }  # fmt: skip

    def totals():
        items = paged(api, f"{query}&enable_queue_totals=true")["items"]
        return sorted((it.get("messages"), it.get("messages_ready")) for it in items)

    # Without pages RabbitMQ leaves the totals out of single queues.
    eventually(lambda: totals() == [(n, n) for n in range(5)], COUNTED_SECONDS)
    assert len(made) == 5


def test_rates_come_from_samples(api, channel, names):
    queue = names.queue()
    channel.queue_declare(queue, durable=True)

    def is_fast():
        for _ in range(50):
            channel.basic_publish("", queue, b"x")
        catch_up(channel)
        shown = api.get(f"/queues/%2F/{queue}")
        rate = shown.get("message_stats", {}).get("publish_details", {}).get("rate", 0)
        return rate > 0 and shown["messages_details"]["rate"] > 0

    def is_at_rest():
        stats = api.get(f"/queues/%2F/{queue}")["message_stats"]
        return stats["publish_details"]["rate"] == 0 and stats["publish"] > 0

    eventually(is_fast, COUNTED_SECONDS)
    eventually(is_at_rest, COUNTED_SECONDS)
    overview = api.get("/overview")
    has(overview["message_stats"], {"publish": NUMBER, "publish_details": RATE, "confirm": NUMBER})


MISSING = [
    "/queues/%2F/no-such-queue", "/queues/no-such-vhost", "/queues/no-such-vhost/q",
    "/exchanges/%2F/no-such-exchange",
    "/exchanges/no-such-vhost", "/bindings/no-such-vhost", "/connections/no-such-connection",
    "/channels/no-such-channel", "/vhosts/no-such-vhost", "/consumers/no-such-vhost",
    "/bindings/%2F/e/amq.direct/e/amq.fanout/no-such-key", "/no-such-thing",
]  # fmt: skip


@pytest.mark.parametrize("path", MISSING)
def test_what_is_not_there(api, path):
    answer = api.ask("GET", path)
    assert answer.status == 404, answer
    assert isinstance(answer.json["error"], str) and isinstance(answer.json["reason"], str)


def test_who_sees_what(api, user, vhost, server, connect, names):
    """Tags: none, management, monitoring."""
    somebody = api.as_user(user, "secret")
    mine = names.queue("mine")
    own = connect(client_properties={"connection_name": names.stem})
    own.channel().queue_declare(mine, durable=True)

    # No permission anywhere: nothing is there.
    assert somebody.get("/queues") == [] and somebody.get("/vhosts") == []
    for path in ("/queues/%2F", f"/queues/%2F/{mine}", "/exchanges/%2F", "/bindings/%2F"):
        assert somebody.ask("GET", path).status == 401, path
    assert somebody.ask("GET", "/nodes").status == 401
    eventually(lambda: own_connection(api, names), COUNTED_SECONDS)
    assert somebody.get("/connections") == []
    of_guest = part(own_connection(api, names)["name"])
    assert somebody.ask("GET", f"/connections/{of_guest}").status == 401
    assert somebody.get("/channels") == [] and somebody.get("/consumers") == []
    assert somebody.get("/overview")["object_totals"]["queues"] == 0

    # A permission shows that virtual host, whatever may be done there.
    nothing = {"configure": "", "write": "", "read": ""}
    assert api.put(f"/permissions/{part(vhost)}/{user}", nothing) == 201
    assert [it["name"] for it in somebody.get("/vhosts")] == [vhost]
    assert somebody.get(f"/queues/{part(vhost)}") == []
    assert {it["vhost"] for it in somebody.get("/exchanges")} == {vhost}

    # Those who watch over the node see everything.
    assert api.put(f"/users/{user}", {"password": "secret", "tags": "monitoring"}) == 204
    if not OTHER_URL:
        # RabbitMQ shows what is in a virtual host only to those who may log in there.
        assert mine in {it["name"] for it in somebody.get("/queues")}
        assert somebody.get(f"/queues/%2F/{mine}")["name"] == mine
    assert somebody.ask("GET", "/nodes").status == 200
    assert own_connection(somebody, names)

    # Without a tag there is no way in.
    assert api.put(f"/users/{user}", {"password": "secret", "tags": ""}) == 204
    for path in ("/overview", "/queues", f"/queues/%2F/{mine}", "/connections"):
        assert somebody.ask("GET", path).status == 401, path


def test_escapes_in_paths(api, vhost, connect, server, names):
    """Virtual hosts and queues may be called anything."""
    assert api.put(f"/permissions/{part(vhost)}/guest", {
        "configure": ".*", "write": ".*", "read": ".*"
    }) in (201, 204)  # fmt: skip
    own = connect(f"{server.url.rsplit('/', 1)[0]}/{part(vhost)}")
    named = ("a/b", "a b", "a+b", "ä%2F", "a?b#c", "..")
    for name in named:
        own.channel().queue_declare(name, durable=True)
        # To RabbitMQ two dots are a step back.
        if name != ".." or not OTHER_URL:
            path = f"/queues/{part(vhost)}/{part(name).replace('..', '%2E%2E')}"
            assert api.get(path)["name"] == name
    assert {it["name"] for it in api.get(f"/queues/{part(vhost)}")} == set(named)


def test_slashes_at_the_end(api, channel, names):
    queue = names.queue()
    channel.queue_declare(queue, durable=True)
    for path in ("/queues/", "/queues/%2F/", f"/queues/%2F/{queue}/", "/vhosts/"):
        assert api.get(path), path


@pytest.mark.skipif(bool(OTHER_URL), reason="RabbitMQ takes its time to see what is gone")
def test_what_goes_is_gone(api, connect, names):
    own = connect(client_properties={"connection_name": names.stem})
    channel = own.channel()
    queue = names.queue()
    channel.queue_declare(queue)
    eventually(lambda: own_connection(api, names))
    own.close()
    eventually(lambda: not own_connection(api, names))
    channel = connect().channel()
    channel.queue_delete(queue)
    assert api.ask("GET", f"/queues/%2F/{queue}").status == 404
    eventually(lambda: queue not in {it["name"] for it in api.get("/queues?columns=name")})
