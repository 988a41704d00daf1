"""Looking into queues over HTTP: what waits, is leased or delivered is seen as it is, found by what it
says, and not disturbed by it."""

import json
import time

import pika
import pytest
import requests

pytestmark = pytest.mark.postroom_only(reason="an API of its own")

SECONDS_MAX = 30


class Glass:
    """One who looks into a queue, and can do what clients over HTTP do."""

    def __init__(self, server, queue, user=("guest", "guest")):
        self.server, self.queue = server, queue
        self.http = requests.Session()
        self.http.auth = user

    def url(self, path):
        return f"http://{self.server.host}:{self.server.http_port}{path}"

    def ask(self, method, path, expect=200, **more):
        answer = self.http.request(method, self.url(path), timeout=60, **more)
        assert answer.status_code == expect, answer.text
        return answer.json() if answer.content else None

    def declare(self, **arguments):
        path = f"/v1/queues/{self.queue}"
        self.ask("PUT", path, expect=201, json={"arguments": arguments})
        return self

    def publish(self, *messages):
        for at in range(0, len(messages), 500):
            batch = {"messages": list(messages[at : at + 500])}
            self.ask("POST", f"/v1/queues/{self.queue}/messages", expect=201, json=batch)

    def lease(self, **wanted):
        return self.ask("POST", f"/v1/queues/{self.queue}/lease", json=wanted)["messages"]

    def settle(self, **wished):
        results = self.ask("POST", "/v1/leases", json=wished)["results"]
        assert {result["status"] for result in results} == {"ok"}

    def page(self, expect=200, **parameters):
        return self.ask("GET", f"/v1/queues/{self.queue}/messages", expect, params=parameters)

    def look(self, **parameters):
        """All pages."""
        found = []
        while True:
            page = self.page(**parameters)
            found += page["items"]
            if "next" not in page:
                return found
            parameters["after"] = page["next"]

    def bodies(self, **parameters):
        return [item.get("body", item.get("body_base64")) for item in self.look(**parameters)]

    def states(self, **parameters):
        return [(item["body"], item["state"], item["attempts"]) for item in self.look(**parameters)]

    def one(self, id, expect=200, **parameters):
        return self.ask("GET", f"/v1/messages/{id}", expect, params=parameters)


@pytest.fixture
def glass(server, names):
    return Glass(server, names.queue()).declare()


def texts(*bodies):
    return [{"body": body} for body in bodies]


def test_whatever_a_message_is_doing_it_is_seen_and_left_alone(glass, channel):
    glass.publish(*texts("one", "two", "three", "four"))
    method, _, body = channel.basic_get(glass.queue)
    assert body == b"one"
    [leased] = glass.lease(lease_ms=60_000)
    for _ in range(3):
        assert glass.states() == [
            ("one", "delivered", 1),
            ("two", "leased", 1),
            ("three", "ready", 0),
            ("four", "ready", 0),
        ]
    by_state = {state: glass.bodies(state=state) for state in ("ready", "leased", "delivered")}
    assert by_state == {"ready": ["three", "four"], "leased": ["two"], "delivered": ["one"]}
    [seen] = glass.look(state="leased")
    assert seen["id"] == leased["id"]
    assert seen["leased_by"] == "guest"
    # Deadlines stand on the clock that never steps; each answer says them anew by the wall's.
    assert abs(seen["lease_expires_at_ms"] - leased["lease_expires_at_ms"]) <= 2
    channel.basic_nack(method.delivery_tag, requeue=True)
    glass.settle(ack=[{"lease": leased["lease"]}])
    # Who gets them gets them in order, and as often handed out as they were.
    got = []
    for method, _, body in channel.consume(glass.queue, inactivity_timeout=10):
        got.append((body, method.redelivered))
        channel.basic_ack(method.delivery_tag)
        if len(got) == 3:
            break
    channel.cancel()
    assert got == [(b"one", True), (b"three", False), (b"four", False)]
    assert glass.look() == []


def test_a_consumer_under_load_gets_each_message_once_while_others_look(glass, connect):
    numbers = [str(number) for number in range(2_000)]
    glass.publish(*texts(*numbers))
    channel = connect().channel()
    channel.basic_qos(prefetch_count=50)
    got = []
    for method, _, body in channel.consume(glass.queue, inactivity_timeout=10):
        got.append((body.decode(), method.redelivered))
        if len(got) % 400 == 1:
            seen = [int(body) for body in glass.bodies(limit=300)]
            assert seen == sorted(seen)
            assert seen[-1] == 1_999
        channel.basic_ack(method.delivery_tag)
        if len(got) == len(numbers):
            break
    channel.cancel()
    assert got == [(number, False) for number in numbers]


def test_properties_and_bodies_are_told_as_a_lease_tells_them(glass, channel):
    properties = pika.BasicProperties(
        content_type="application/json", headers={"tenant": "acme", "n": 5}, priority=3,
        correlation_id="c-1", delivery_mode=2, expiration="600000",
    )
    channel.confirm_delivery()
    channel.basic_publish("", glass.queue, b'{"a":  1.50}', properties)
    channel.basic_publish("", glass.queue, b"\xff\x00")
    channel.basic_publish("", glass.queue, "é".encode() * 10)
    [first, second, third] = glass.look(max_body_bytes=5)
    assert first["headers"] == {"tenant": "acme", "n": 5}
    assert (first["content_type"], first["priority"]) == ("application/json", 3)
    assert (first["correlation_id"], first["persistent"]) == ("c-1", True)
    assert first["expires_at_ms"] > time.time() * 1_000
    assert (first["body"], first["body_is_cut"], first["body_bytes"]) == ('{"a":', True, 12)
    assert (second["body_base64"], "body_is_cut" in second) == ("/wA=", False)
    assert (third["body"], third["body_bytes"]) == ("éé", 20)
    whole = [glass.one(item["id"]) for item in (first, second, third)]
    assert whole[0]["body"] == {"a": 1.5}
    assert whole[1]["body_base64"] == "/wA="
    assert whole[2]["body"] == "é" * 10
    leased = glass.lease(max=3, lease_ms=60_000)
    told = {"headers", "content_type", "priority", "correlation_id", "persistent", "body", "id"}
    for was_seen, was_leased in zip(whole, leased, strict=True):
        assert {key: was_seen.get(key) for key in told} == {
            key: was_leased.get(key) for key in told
        }


def test_pages_follow_each_other_from_either_end(glass):
    glass.publish(*texts(*map(str, range(7))))
    for limit in (1, 2, 3, 7, 100):
        assert glass.bodies(limit=limit) == list("0123456"), limit
        assert glass.bodies(limit=limit, order="newest") == list("6543210"), limit
    # What goes and comes between two pages moves nothing else.
    page = glass.page(limit=3)
    glass.settle(ack=[{"lease": it["lease"]} for it in glass.lease(max=4, lease_ms=60_000)])
    glass.publish(*texts("7"))
    assert glass.bodies(after=page["next"]) == ["4", "5", "6", "7"]
    newest = glass.page(limit=2, order="newest")
    assert [item["body"] for item in newest["items"]] == ["7", "6"]
    glass.publish(*texts("8"))
    assert glass.bodies(after=newest["next"]) == ["5", "4"]


def test_what_is_sought_is_found(glass, channel):
    for number in range(10):
        properties = pika.BasicProperties(
            headers={"tenant": "acme" if number % 2 else "other", "number": number},
            type="order" if number < 5 else "refund",
            message_id=f"id-{number}",
        )
        body = {"customer": {"id": number}, "items": [{"sku": f"x{number}"}, {"sku": "y"}]}
        channel.basic_publish("", glass.queue, json.dumps(body), properties)
    method, _, _ = channel.basic_get(glass.queue)
    channel.basic_nack(method.delivery_tag)

    def found(**parameters):
        return [item["headers"]["number"] for item in glass.look(**parameters)]

    for parameters, expected in [
        ({"header": "tenant=acme"}, [1, 3, 5, 7, 9]),
        ({"header": ["tenant=acme", "number=3"]}, [3]),
        ({"header": "number"}, list(range(10))),
        ({"header": "missing"}, []),
        ({"property": "type=refund"}, [5, 6, 7, 8, 9]),
        ({"property": ["type=order", "message_id=id-2"]}, [2]),
        ({"property": f"routing_key={glass.queue}", "order": "newest", "limit": 4},
         list(reversed(range(10)))),
        ({"body": '"x7"'}, [7]),
        ({"body": "nowhere"}, []),
        ({"json_path": "$.customer.id=4"}, [4]),
        ({"json_path": "$.items[*].sku=x6"}, [6]),
        ({"json_path": "$.items[-1].sku=y", "property": "type=order"}, [0, 1, 2, 3, 4]),
        ({"json_path": "$.items[2]"}, []),
        ({"min_attempts": 1}, [0]),
        ({"max_attempts": 0, "property": "type=order"}, [1, 2, 3, 4]),
        ({"min_age_ms": 3_600_000}, []),
        ({"max_age_ms": 3_600_000, "body": "x1"}, [1]),
    ]:
        assert found(**parameters) == expected, parameters


def test_a_message_is_known_by_its_id_as_long_as_it_is_there(glass):
    glass.publish(*texts("work"))
    [seen] = glass.look()
    assert glass.one(seen["id"])["state"] == "ready"
    [leased] = glass.lease(lease_ms=60_000)
    assert leased["id"] == seen["id"]
    glass.settle(extend=[{"lease": leased["lease"], "progress": {"done": 40}}])
    told = glass.one(seen["id"])
    assert (told["queue"], told["vhost"]) == (glass.queue, "/")
    assert (told["state"], told["progress"], told["attempts"]) == ("leased", {"done": 40}, 1)
    assert told["body"] == "work"
    assert "body_is_cut" in glass.one(seen["id"], max_body_bytes=2)
    glass.settle(ack=[{"lease": leased["lease"]}])
    assert "no such message" in glass.one(seen["id"], expect=404)["detail"]
    glass.ask("DELETE", f"/v1/queues/{glass.queue}")
    glass.one(seen["id"], expect=404)
    assert glass.one("12-5", expect=400)["field"] == "id"


def test_whoever_publishes_to_a_queue_learns_the_ids(server, names, glass):
    published = {"messages": [
        {"body": "a"}, {"body": "b", "persistent": False}, {"body": "c"}, {"body": "d", "persistent": False},
    ]}
    path = f"/v1/queues/{glass.queue}/messages"
    told = glass.ask("POST", path, 201, json=published)
    assert [glass.one(id)["body"] for id in told["ids"]] == ["a", "b", "c", "d"]
    assert {item["id"] for item in glass.look()} == set(told["ids"])
    [id] = glass.ask("POST", path, 201, data=b"e")["ids"]
    assert glass.one(id)["body"] == "e"
    small = Glass(server, names.queue())
    small.declare(**{"x-max-length": 2, "x-overflow": "reject-publish"})
    told = small.ask("POST", f"/v1/queues/{small.queue}/messages", 207, json=published)
    taken = [small.one(id)["body"] for id in told["ids"] if id]
    assert len(taken) == 2 and taken == [
        message["body"]
        for message, id in zip(published["messages"], told["ids"], strict=True) if id
    ]
    assert [failure["index"] for failure in told["failed"]] == [
        index for index, id in enumerate(told["ids"]) if id is None
    ]
    glass.ask("PUT", f"/v1/exchanges/{glass.queue}", 201, json={"type": "fanout"})
    binding = {"source": glass.queue, "destination": glass.queue}
    glass.ask("POST", "/v1/bindings", 204, json=binding)
    assert "ids" not in glass.ask("POST", f"/v1/exchanges/{glass.queue}/messages", 201, data=b"f")
    glass.ask("DELETE", f"/v1/exchanges/{glass.queue}", 204)


def test_a_queue_of_priorities_is_seen_in_order_of_arrival(server, names):
    glass = Glass(server, names.queue()).declare(**{"x-max-priority": 5})
    glass.publish(*[{"body": str(number), "priority": number % 3} for number in range(6)])
    assert glass.bodies() == list("012345")
    assert [message["body"] for message in glass.lease(max=2, lease_ms=60_000)] == ["2", "5"]
    assert glass.bodies(state="leased") == ["2", "5"]
    assert glass.bodies() == list("012345")


def test_a_long_backlog_on_disk_is_seen_to_its_far_end(start_own):
    server = start_own("--memory-bytes-max", 1 << 20)
    glass = Glass(server, "deep").declare()
    count = 30_000
    filler = "x" * 200
    for at in range(0, count, 500):
        glass.publish(*texts(*(f"{number:06} {filler}" for number in range(at, at + 500))))
    taken = glass.lease(max=10, lease_ms=600_000)
    glass.settle(ack=[{"lease": taken[0]["lease"]}])

    [last] = glass.page(order="newest", limit=1)["items"]
    assert last["body"].startswith(f"{count - 1:06} ")
    assert glass.one(last["id"])["body"] == last["body"]
    newest = glass.page(order="newest", limit=1_000)["items"]
    assert [int(item["body"][:6]) for item in newest] == list(range(count - 1, count - 1_001, -1))
    oldest = glass.page(limit=1_000)["items"]
    assert [int(item["body"][:6]) for item in oldest] == list(range(1, 1_001))

    # One request looks at so many and no more; whoever goes on comes to the end.
    page = glass.page(body="029999 ")
    assert page["items"] == [] and page["passed"] < count and "next" in page
    assert [body[:6] for body in glass.bodies(body="029999 ")] == ["029999"]
    assert len(glass.bodies(state="leased")) == 9

    # What moves on disk meanwhile is seen where it is.
    page = glass.page(limit=1_000, order="newest")
    server.restart()
    assert [int(item["body"][:6]) for item in glass.page(after=page["next"])["items"]] == list(
        range(count - 1_001, count - 1_101, -1)
    )


@pytest.mark.parametrize(
    "parameters, field",
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"max_body_bytes": 1 << 21}, "max_body_bytes"),
        ({"after": "no cursor"}, "after"),
        ({"order": "sideways"}, "order"),
        ({"state": "lost"}, "state"),
        ({"state": ["ready", "leased"]}, "state"),
        ({"header": "=x"}, "header"),
        ({"header": ["a"] * 17}, "header"),
        ({"property": "colour=red"}, "property"),
        ({"body": ""}, "body"),
        ({"json_path": "$..a"}, "json_path"),
        ({"json_path": "$" + "[0]" * 400}, "json_path"),
        ({"min_age_ms": -1}, "min_age_ms"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(glass, parameters, field):
    problem = glass.page(expect=400, **parameters)
    assert problem["field"] == field, problem


def test_a_cursor_is_good_for_its_queue_alone(server, names, glass):
    glass.publish(*texts("one", "two"))
    cursor = glass.page(limit=1)["next"]
    other = Glass(server, names.queue()).declare()
    assert other.page(expect=400, after=cursor)["field"] == "after"
    assert glass.page(expect=400, after=cursor, order="newest")["field"] == "order"
    glass.ask("DELETE", f"/v1/queues/{glass.queue}")
    assert "no queue" in glass.page(expect=404)["detail"]
    glass.declare()
    assert glass.page(expect=400, after=cursor)["field"] == "after"


def test_looking_needs_the_right_to_read(own_server):
    root = Glass(own_server, "private").declare()
    root.publish(*texts("secret"))
    [seen] = root.look()
    root.ask("PUT", "/api/users/reader", 201, json={"password": "a long word", "tags": ""})
    reader = Glass(own_server, "private", ("reader", "a long word"))
    reader.page(expect=403)
    reader.one(seen["id"], expect=403)
    for pattern, expect in (("^public", 403), ("^private", 200)):
        rights = {"configure": "", "write": "", "read": pattern}
        answer = root.http.put(root.url("/api/permissions/%2F/reader"), json=rights, timeout=30)
        assert answer.ok, answer.text
        reader.page(expect=expect)
        reader.one(seen["id"], expect=expect)
    for scope, expect in (("publish", 403), ("consume", 403), ("read", 200)):
        made = root.ask("POST", "/v1/tokens", 201, json={"name": scope, "scopes": [scope]})
        bearer = Glass(own_server, "private", None)
        bearer.http.headers["Authorization"] = f"Bearer {made['secret']}"
        bearer.page(expect=expect)
        bearer.one(seen["id"], expect=expect)
