"""Tasks over HTTP: what is done with many messages of a queue, in one piece each, seen and stopped."""

import threading
import time

import pika
import pytest

from management import Management
from steps import eventually
from test_v1_browse import Glass, texts

pytestmark = pytest.mark.postroom_only(reason="an API of its own")

SECONDS_MAX = 60


class Boss(Glass):
    """One who has work done."""

    def begin(self, expect=202, **wanted):
        return self.ask("POST", "/v1/tasks", expect, json={"queue": self.queue, **wanted})

    def task(self, id, expect=200):
        return self.ask("GET", f"/v1/tasks/{id}", expect)

    def until_over(self, task):
        deadline = time.monotonic() + SECONDS_MAX
        while task["state"] == "running":
            assert time.monotonic() < deadline, task
            time.sleep(0.02)
            task = self.task(task["id"])
        return task

    def do(self, **wanted):
        task = self.until_over(self.begin(**wanted))
        assert task["state"] == "done", task
        return task


@pytest.fixture
def boss(server, names):
    return Boss(server, names.queue()).declare()


@pytest.fixture
def other(server, names):
    return Boss(server, names.queue()).declare()


def counts(task):
    return {key: task[key] for key in ("matched", "done", "gone", "refused")}


def test_messages_are_deleted_and_others_stay(boss, channel):
    boss.publish(*[{"body": str(it), "headers": {"even": it % 2 == 0}} for it in range(1_000)])
    counted = boss.do(action="delete", filter={"header": ["even=true"]}, dry_run=True)
    assert counts(counted) == {"matched": 500, "done": 0, "gone": 0, "refused": 0}
    assert [item["body"] for item in counted["sample"]] == [str(it) for it in range(0, 20, 2)]
    assert len(boss.look(limit=1_000)) == 1_000
    method, _, _ = channel.basic_get(boss.queue)
    [leased] = boss.lease(lease_ms=60_000)
    [also] = boss.lease(lease_ms=60_000)
    done = boss.do(action="delete", filter={"header": ["even=true"]})
    # What somebody holds stays his: "0" is with the consumer, "2" with the worker.
    assert counts(done) == {"matched": 500, "done": 498, "gone": 2, "refused": 0}
    assert (done["total"], done["passed"]) == (1_000, 1_000)
    channel.basic_nack(method.delivery_tag)
    boss.settle(release=[{"lease": leased["lease"]}, {"lease": also["lease"]}])
    left = sorted([0, 2, *range(1, 1_000, 2)])
    assert [int(body) for body in boss.bodies(limit=1_000)] == left
    everything = boss.do(action="delete")
    assert everything["done"] == len(left)
    assert boss.look() == []


def test_messages_move_as_they_are(boss, other, channel):
    properties = pika.BasicProperties(
        headers={"tenant": "acme"}, message_id="m-1", delivery_mode=2, priority=4,
    )
    channel.confirm_delivery()
    channel.exchange_declare("moving", "topic")
    channel.queue_bind(boss.queue, "moving", "a.*")
    channel.basic_publish("moving", "a.b", b"\xff moved", properties)
    boss.publish(*texts("stays", "moved too"))
    done = boss.do(action="move", to=other.queue, filter={"body": "moved"})
    assert counts(done) == {"matched": 2, "done": 2, "gone": 0, "refused": 0}
    assert boss.bodies() == ["stays"]
    method, got, body = channel.basic_get(other.queue, auto_ack=True)
    assert (body, method.exchange, method.routing_key) == (b"\xff moved", "moving", "a.b")
    assert not method.redelivered
    assert (got.headers, got.message_id, got.priority) == ({"tenant": "acme"}, "m-1", 4)
    assert other.bodies() == ["moved too"]
    channel.exchange_delete("moving")


def test_dead_letters_go_back_to_where_they_came_from(server, names, channel):
    graveyard = Boss(server, names.queue()).declare()
    dying = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": graveyard.queue}
    homes = [Boss(server, names.queue()).declare(**dying) for _ in range(2)]
    for home in homes:
        home.publish(*texts(f"of {home.queue}", "again"))
        for _ in range(2):
            method, _, _ = channel.basic_get(home.queue)
            channel.basic_reject(method.delivery_tag, requeue=False)
    channel.basic_qos()
    graveyard.publish(*texts("died nowhere"))
    assert len(graveyard.look()) == 5
    done = graveyard.do(action="replay")
    assert counts(done) == {"matched": 5, "done": 4, "gone": 0, "refused": 1}
    assert graveyard.bodies() == ["died nowhere"]
    for home in homes:
        assert home.bodies() == [f"of {home.queue}", "again"]
        # The history goes along, and goes on.
        method, properties, _ = channel.basic_get(home.queue)
        assert properties.headers["x-death"][0]["count"] == 1
        channel.basic_reject(method.delivery_tag, requeue=False)
    [again, _] = graveyard.look(body="of ")
    assert again["headers"]["x-death"][0]["count"] == 2


def test_what_has_no_room_stays(server, names, boss):
    small = Boss(server, names.queue())
    small.declare(**{"x-max-length": 3, "x-overflow": "reject-publish"})
    boss.publish(*texts(*map(str, range(5))))
    done = boss.do(action="move", to=small.queue)
    assert counts(done) == {"matched": 5, "done": 3, "gone": 0, "refused": 2}
    assert (small.bodies(), boss.bodies()) == (["0", "1", "2"], ["3", "4"])


def test_what_moves_is_in_one_of_both_after_kill_9(start_own):
    server = start_own("--memory-bytes-max", 1 << 20)
    boss, other = Boss(server, "from").declare(), Boss(server, "to").declare()
    bodies = [f"{number:05} {'x' * 300}" for number in range(8_000)]
    boss.publish(*texts(*bodies))
    task = boss.begin(action="move", to="to")
    while boss.task(task["id"])["done"] < 1_000:
        time.sleep(0.01)
    server.kill()
    server.start()
    moved, left = other.bodies(limit=1_000), boss.bodies(limit=1_000)
    assert len(moved) >= 1_000 and left
    assert moved + left == bodies
    boss.task(task["id"], expect=404)
    assert boss.do(action="move", to="to")["done"] == len(left)
    assert other.bodies(limit=1_000) == bodies


def test_consumers_go_on_beside_a_task(boss, other, connect):
    numbers = [str(number) for number in range(4_000)]
    boss.publish(*texts(*numbers))
    got = []
    channel = connect().channel()
    channel.basic_qos(prefetch_count=20)
    task = boss.begin(action="move", to=other.queue, filter={"property": ["persistent=true"]},
                      rate_per_s=2_000)
    for method, _, body in channel.consume(boss.queue, inactivity_timeout=1):
        if method is None:
            if boss.task(task["id"])["state"] != "running":
                break
            continue
        got.append(body.decode())
        channel.basic_ack(method.delivery_tag)
    channel.cancel()
    task = boss.until_over(task)
    moved = other.bodies(limit=1_000)
    assert sorted(got + moved, key=int) == numbers
    assert len(moved) == task["done"]


def test_a_task_is_seen_and_cancelled(boss):
    boss.publish(*texts(*map(str, range(2_000))))
    task = boss.begin(action="delete", rate_per_s=100)
    assert task["id"] in [it["id"] for it in boss.ask("GET", "/v1/tasks")["items"]]
    while boss.task(task["id"])["done"] == 0:
        time.sleep(0.01)
    boss.ask("DELETE", f"/v1/tasks/{task['id']}")
    over = boss.until_over(task)
    assert over["state"] == "cancelled"
    assert len(boss.look(limit=1_000)) == 2_000 - over["done"] > 0


def test_so_many_tasks_and_no_more(own_server):
    boss = Boss(own_server, "busy").declare()
    boss.publish(*texts(*map(str, range(300))))
    tasks = [boss.begin(action="delete", rate_per_s=1) for _ in range(8)]
    problem = boss.begin(expect=429, action="delete")
    assert "8 tasks" in problem["detail"]
    for task in tasks:
        boss.ask("DELETE", f"/v1/tasks/{task['id']}")
        boss.until_over(task)
    boss.do(action="delete", dry_run=True)


@pytest.mark.parametrize(
    "wanted, status, field",
    [
        ({"action": "burn"}, 400, "action"),
        ({"action": "move"}, 400, "to"),
        ({"action": "delete", "to": "x"}, 400, "to"),
        ({"action": "delete", "rate_per_s": 0}, 400, "rate_per_s"),
        ({"action": "delete", "filter": {"colour": "red"}}, 400, "filter.colour"),
        ({"action": "delete", "filter": {"json_path": "x"}}, 400, "filter.json_path"),
        ({"action": "delete", "queue": "nowhere"}, 404, None),
        ({"action": "move", "to": "nowhere"}, 404, None),
        ({"action": "delete", "vhost": "nowhere"}, 404, None),
    ],
)
def test_what_is_wrong_is_named(boss, wanted, status, field):
    assert boss.begin(expect=status, **wanted).get("field") == field
    assert boss.begin(expect=400, action="move", to=boss.queue)["field"] == "to"


def test_a_task_may_do_what_its_user_may(own_server):
    root = Boss(own_server, "private").declare()
    root.publish(*texts(*map(str, range(10))))
    Boss(own_server, "public").declare()
    root.ask("PUT", "/api/users/worker", 201, json={"password": "a long word", "tags": ""})

    def permit(read, write):
        rights = {"configure": "", "write": write, "read": read}
        answer = root.http.put(root.url("/api/permissions/%2F/worker"), json=rights, timeout=30)
        assert answer.ok, answer.text

    worker = Boss(own_server, "private", ("worker", "a long word"))
    permit(read="^public$", write=".*")
    worker.begin(expect=403, action="delete")
    permit(read="^private$", write="")
    worker.begin(expect=403, action="move", to="public")
    worker.begin(expect=403, action="replay")
    task = worker.begin(action="delete", rate_per_s=1, filter={"body": "0"})
    stranger = Boss(own_server, "private", ("stranger", "a long word"))
    root.ask("PUT", "/api/users/stranger", 201, json={"password": "a long word", "tags": ""})
    stranger.task(task["id"], expect=404)
    stranger.ask("DELETE", f"/v1/tasks/{task['id']}", 404)
    assert root.task(task["id"])["user"] == "worker"
    for scope, expect in (("read", 403), ("consume", 202)):
        made = root.ask("POST", "/v1/tokens", 201, json={"name": scope, "scopes": [scope]})
        bearer = Boss(own_server, "private", None)
        bearer.http.headers["Authorization"] = f"Bearer {made['secret']}"
        bearer.begin(expect=expect, action="delete", filter={"body": "nothing"})


def test_rights_that_are_taken_away_end_a_task(own_server):
    root = Boss(own_server, "private").declare()
    root.publish(*texts(*map(str, range(1_000))))
    root.ask("PUT", "/api/users/worker", 201, json={"password": "a long word", "tags": ""})
    path = root.url("/api/permissions/%2F/worker")
    rights = {"configure": "", "write": "", "read": ".*"}
    assert root.http.put(path, json=rights, timeout=30).ok
    task = Boss(own_server, "private", ("worker", "a long word")).begin(
        action="delete", rate_per_s=200
    )
    waiting = threading.Event()
    while root.task(task["id"])["done"] == 0:
        waiting.wait(0.01)
    assert root.http.delete(path, timeout=30).ok
    over = root.until_over(task)
    assert over["state"] == "failed" and "permission" in over["problem"]
    assert root.look()


def long_task(api, queue):
    """One that would take a minute."""
    assert api.put(f"/v1/queues/{queue}") == 201
    messages = {"messages": [{"body": str(number)} for number in range(60)]}
    assert api.post(f"/v1/queues/{queue}/messages", messages).status == 201
    wish = {"action": "delete", "queue": queue, "rate_per_s": 1}
    begun = api.post("/v1/tasks", wish)
    assert begun.status == 202
    path = f"/v1/tasks/{begun.json['id']}"
    eventually(lambda: api.get(path)["done"] > 0)
    return path


def test_a_task_ends_with_the_broker(own_server):
    api = Management.of(own_server)
    path = long_task(api, "long")
    own_server.restart()
    api = Management.of(own_server)
    refused = api.ask("GET", path)
    assert refused.status == 404
    assert "what was done stays done" in refused.json["detail"]
    assert "ask for the same again" in refused.json["remedy"]
    assert api.delete(path) == 404
    assert 0 < api.get("/v1/queues/long")["ready"] < 60
    # A task that begins later has another number.
    other = long_task(api, "other")
    assert other != path
    assert api.ask("GET", path).status == 404
    assert api.ask("DELETE", other).status == 200


def test_a_task_whose_queue_goes_fails_and_says_so(own_server):
    api = Management.of(own_server)
    path = long_task(api, "long")
    assert api.delete("/v1/queues/long") in (200, 204)
    eventually(lambda: api.get(path)["state"] != "running")
    task = api.get(path)
    assert task["state"] == "failed" and "no queue 'long'" in task["problem"], task
    assert task["ended_at_ms"] >= task["started_at_ms"]
