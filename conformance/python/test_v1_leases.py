"""Leases over HTTP: messages that are handed out, settled and given back by whoever has the token,
beside AMQP's own clients and across kill -9."""

import base64
import threading
import time

import pika
import pytest
import requests

pytestmark = pytest.mark.postroom_only(reason="an API of its own")

SECONDS_MAX = 20


class Worker:
    """One who leases from a queue."""

    def __init__(self, server, queue, user=("guest", "guest")):
        self.server, self.queue = server, queue
        self.http = requests.Session()
        self.http.auth = user

    def url(self, path):
        return f"http://{self.server.host}:{self.server.http_port}{path}"

    def post(self, path, json=None):
        return self.http.post(self.url(path), json=json, timeout=90)

    def declare(self, **declaration):
        answer = self.http.put(
            self.url(f"/v1/queues/{self.queue}"), json=declaration or None, timeout=30
        )
        assert answer.status_code in (200, 201, 204), answer.text
        return self

    def publish(self, *bodies):
        messages = [{"body": body} for body in bodies]
        answer = self.post(f"/v1/queues/{self.queue}/messages", {"messages": messages})
        assert answer.status_code == 201, answer.text

    def lease(self, queue=None, **wanted):
        answer = self.post(f"/v1/queues/{queue or self.queue}/lease", wanted or None)
        assert answer.status_code == 200, answer.text
        return answer.json()["messages"]

    def settle(self, **wished):
        answer = self.post("/v1/leases", wished)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def statuses(self, **wished):
        return [result["status"] for result in self.settle(**wished)["results"]]


def held(*messages):
    return [{"lease": message["lease"]} for message in messages]


def bodies(messages):
    return [message["body"] for message in messages]


@pytest.fixture
def worker(server, names):
    return Worker(server, names.queue()).declare()


def eventually(look):
    """What `look` says, once it says anything."""
    deadline = time.monotonic() + SECONDS_MAX
    while not (seen := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return seen


def test_a_message_is_leased_and_settled(worker):
    worker.publish("one", {"two": [2, None]}, "three")
    one, two = worker.lease(max=2)
    assert (one["body"], two["body"]) == ("one", {"two": [2, None]})
    assert two["content_type"] == "application/json" and "content_type" not in one
    assert one["routing_key"] == worker.queue and one["exchange"] == "" and one["persistent"]
    assert (one["attempt"], one["redelivered"]) == (1, False)
    assert one["lease_expires_at_ms"] > time.time() * 1000 + 20_000
    assert one["id"] != two["id"]
    assert worker.statuses(ack=held(one)) == ["ok"]
    assert worker.statuses(ack=held(one), release=held(two)) == ["gone", "ok"]
    again, three = worker.lease(max=10)
    assert (again["id"], again["attempt"], again["redelivered"]) == (two["id"], 2, True)
    assert worker.statuses(ack=held(two, again, three)) == ["lost", "ok", "ok"]
    assert worker.lease() == []


def test_a_failure_is_tried_again_or_given_up(server, names):
    dead = Worker(server, names.queue()).declare()
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead.queue,
    }
    worker = Worker(server, names.queue()).declare(arguments=arguments)
    worker.publish("poison", "hopeless")
    for attempt in (1, 2):
        (poison,) = worker.lease()
        assert (poison["body"], poison["attempt"]) == ("poison", attempt)
        error = {"type": "Timeout", "message": f"no answer, {attempt}"}
        assert worker.statuses(fail=[{"lease": poison["lease"], "error": error}]) == ["ok"]
    (hopeless,) = worker.lease()
    assert worker.statuses(fail=[{"lease": hopeless["lease"], "retry": False}]) == ["ok"]
    letters = eventually(lambda: (found := dead.lease(max=5)) and found)
    letters += dead.lease(max=5)
    assert bodies(letters) == ["poison", "hopeless"]
    reasons = [letter["headers"]["x-first-death-reason"] for letter in letters]
    assert reasons == ["delivery_limit", "rejected"]
    poison, hopeless = (letter["headers"] for letter in letters)
    assert (poison["x-error-type"], poison["x-error-message"]) == ("Timeout", "no answer, 2")
    assert "x-error-type" not in hopeless


def test_time_ends_a_lease_and_extending_it_helps(worker):
    worker.publish("short", "long")
    short, long = worker.lease(max=2, lease_ms=300)
    (extended,) = worker.settle(extend=[{"lease": long["lease"], "lease_ms": 60_000, "progress": 1}])[
        "results"
    ]
    assert extended["status"] == "ok"
    assert extended["lease_expires_at_ms"] > long["lease_expires_at_ms"] + 30_000
    (again,) = worker.lease(max=2, wait_ms=10_000)
    assert (again["body"], again["attempt"], again["redelivered"]) == ("short", 2, True)
    assert worker.statuses(ack=held(short, again, long)) == ["lost", "ok", "ok"]


def test_whoever_waits_is_woken_or_hears_that_there_is_nothing(worker):
    began = time.monotonic()
    assert worker.lease(wait_ms=200) == []
    assert time.monotonic() - began >= 0.2
    heard = []
    waiting = [
        threading.Thread(target=lambda: heard.extend(worker.lease(wait_ms=20_000)))
        for _ in range(3)
    ]
    for thread in waiting:
        thread.start()
    worker.publish("a")
    worker.publish("b", "c")
    for thread in waiting:
        thread.join(SECONDS_MAX)
    assert sorted(bodies(heard)) == ["a", "b", "c"]
    assert set(worker.statuses(ack=held(*heard))) == {"ok"}


def test_settling_and_leasing_go_together(worker):
    worker.publish("one", "two", "three")
    (one,) = worker.lease()
    then = {"queue": worker.queue, "max": 5}
    settled = worker.settle(ack=held(one), then_lease=then)
    assert [result["status"] for result in settled["results"]] == ["ok"]
    assert bodies(settled["messages"]) == ["two", "three"]
    two, three = settled["messages"]
    settled = worker.settle(release=held(three), ack=held(two), then_lease=then)
    assert bodies(settled["messages"]) == ["three"]
    assert worker.settle(ack=held(*settled["messages"]), then_lease=then)["messages"] == []
    assert worker.settle(then_lease=then) == {"results": [], "messages": []}


def later(delay_ms, *messages):
    return [{"lease": message["lease"], "delay_ms": delay_ms} for message in messages]


def queue_of(worker):
    return worker.http.get(worker.url(f"/v1/queues/{worker.queue}"), timeout=30).json()


def test_what_is_given_back_for_later_comes_later(worker):
    worker.publish("failed", "released", "forgotten")
    failed, released, forgotten = worker.lease(max=3)
    before = time.monotonic()
    wished = {"fail": later(200, failed), "release": later(400, released)}
    assert worker.statuses(**wished) == ["ok", "ok"]
    assert worker.statuses(release=later(600_000, forgotten)) == ["ok"]
    assert worker.statuses(ack=held(failed, released, forgotten)) == ["lost"] * 3
    seen = []
    while len(seen) < 2:
        seen += worker.lease(max=9, wait_ms=20_000)
    assert time.monotonic() - before >= 0.4
    assert bodies(seen) == ["failed", "released"]
    assert [message["attempt"] for message in seen] == [2, 2]
    assert worker.statuses(ack=held(*seen)) == ["ok", "ok"]
    queue = queue_of(worker)
    assert (queue["ready"], queue["unacked"], queue["delayed"]) == (0, 1, 1)
    path = worker.url(f"/v1/queues/{worker.queue}/messages?state=delayed")
    (seen,) = worker.http.get(path, timeout=30).json()["items"]
    assert (seen["id"], seen["state"], seen["attempts"]) == (forgotten["id"], "delayed", 1)
    assert seen["ready_at_ms"] > time.time() * 1000 and "leased_by" not in seen
    assert worker.lease() == []


def test_a_delay_survives_kill_9(own_server):
    worker = Worker(own_server, "q").declare()
    worker.publish("soon", "late")
    soon, late = worker.lease(max=2)
    assert worker.statuses(fail=later(500, soon) + later(600_000, late)) == ["ok", "ok"]
    own_server.kill()
    own_server.start()
    worker = Worker(own_server, "q")
    (again,) = worker.lease(max=9, wait_ms=20_000)
    assert (again["body"], again["attempt"]) == ("soon", 2)
    assert queue_of(worker)["delayed"] == 1
    assert worker.statuses(ack=held(again)) == ["ok"]
    assert worker.lease() == []


def test_it_is_the_queue_that_amqp_knows(worker, channel):
    properties = pika.BasicProperties(
        delivery_mode=2, headers={"trace": "x", "number": 7}, correlation_id="c", priority=3
    )
    channel.basic_publish("", worker.queue, b"\xff\x00", properties)
    message = eventually(lambda: (found := worker.lease()) and found[0])
    assert base64.b64decode(message["body_base64"]) == b"\xff\x00" and "body" not in message
    assert message["headers"] == {"trace": "x", "number": 7}
    assert (message["correlation_id"], message["priority"]) == ("c", 3)
    got, _, _ = channel.basic_get(worker.queue)
    assert got is None, "it is leased"
    assert worker.statuses(fail=[{"lease": message["lease"]}]) == ["ok"]
    got, _, body = channel.basic_get(worker.queue)
    assert (got.redelivered, body) == (True, b"\xff\x00")
    assert worker.lease() == [], "AMQP's client has it"
    assert worker.statuses(ack=held(message)) == ["lost"]
    channel.basic_ack(got.delivery_tag)


def test_leases_survive_kill_9(own_server):
    worker = Worker(own_server, "jobs").declare()
    worker.publish(*(f"job {number}" for number in range(6)))
    (done,) = worker.lease(lease_ms=60_000)
    held_on = worker.lease(max=2, lease_ms=60_000)
    (brief,) = worker.lease(lease_ms=1)
    assert worker.statuses(ack=held(done)) == ["ok"]
    own_server.kill()
    own_server.start()
    rest = []
    while len(rest) < 3:
        rest += worker.lease(max=10, lease_ms=60_000, wait_ms=5_000)
    assert bodies(rest) == ["job 3", "job 4", "job 5"], "what is leased is not handed out"
    assert (rest[0]["id"], rest[0]["attempt"]) == (brief["id"], 2)
    assert worker.lease() == []
    assert worker.statuses(ack=held(done, brief, *held_on)) == ["gone", "lost", "ok", "ok"]
    assert worker.statuses(ack=held(*rest)) == ["ok"] * 3
    own_server.restart()
    assert worker.lease(max=10) == []


def test_a_crowd_waits_and_each_is_woken(own_server):
    worker = Worker(own_server, "crowd").declare()
    heard, started = [], threading.Semaphore(0)

    def wait():
        mine = Worker(own_server, "crowd")
        started.release()
        heard.extend(mine.lease(wait_ms=30_000))

    threads = [threading.Thread(target=wait) for _ in range(200)]
    for thread in threads:
        thread.start()
    for _ in threads:
        started.acquire()
    worker.publish(*(str(number) for number in range(len(threads))))
    for thread in threads:
        thread.join(60)
    assert sorted(map(int, bodies(heard))) == list(range(len(threads)))


WRONG = [
    # the request's path and JSON, the status, and the field that is at fault
    ("queues/{queue}/lease", {"max": 0}, 400, "max"),
    ("queues/{queue}/lease", {"max": 1001}, 400, "max"),
    ("queues/{queue}/lease", {"max": "many"}, 400, "max"),
    ("queues/{queue}/lease", {"lease_ms": 0}, 400, "lease_ms"),
    ("queues/{queue}/lease", {"lease_ms": 86_400_001}, 400, "lease_ms"),
    ("queues/{queue}/lease", {"wait_ms": 60_001}, 400, "wait_ms"),
    ("queues/{queue}/lease", {"wait": 1}, 400, "wait"),
    ("queues/{queue}/lease", {"wait_ms": -1}, 400, "wait_ms"),
    ("queues/no-such-queue/lease", {}, 404, None),
    ("queues/{queue}/lease?vhost=nowhere", {}, 404, None),
    ("leases", {"ack": [{"lease": "nonsense"}]}, 400, "ack[0].lease"),
    ("leases", {"fail": [{"lease": ""}]}, 400, "fail[0].lease"),
    ("leases", {"ack": [{}]}, 400, "ack[0]"),
    ("leases", {"fail": [{"lease": "x", "delay": 5}]}, 400, "fail[0].delay"),
    ("leases", {"fail": [{"lease": "x", "delay_ms": -1}]}, 400, "fail[0].delay_ms"),
    (
        "leases",
        {"fail": [{"lease": "x", "retry": False, "delay_ms": 5}]},
        400,
        "fail[0].delay_ms",
    ),
    (
        "leases",
        {"release": [{"lease": "x", "delay_ms": 2_592_000_001}]},
        400,
        "release[0].delay_ms",
    ),
    ("leases", {"fail": [{"lease": "x", "error": "oh"}]}, 400, "fail[0].error"),
    ("leases", {"fail": [{"lease": "x", "error": {"type": "t" * 200}}]}, 400, "fail[0].error.type"),
    ("leases", {"extend": [{"lease": "x", "lease_ms": 0}]}, 400, "extend[0].lease_ms"),
    ("leases", {"extend": [{"lease": "x", "progress": "p" * 300}]}, 400, "extend[0].progress"),
    ("leases", {"then_lease": {"queue": "no-such-queue"}}, 404, None),
    ("leases", {"then_lease": {"queue": ""}}, 400, "then_lease.queue"),
    ("leases", {"then_lease": {"queue": "q", "max": 0}}, 400, "then_lease.max"),
    ("leases", {"ack": [{"lease": "x"}] * 1001}, 400, None),
]


@pytest.mark.parametrize("path, wished, status, field", WRONG)
def test_what_is_wrong_is_named(worker, path, wished, status, field):
    answer = worker.post("/v1/" + path.format(queue=worker.queue), wished)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.get("field") == field, problem
    assert problem["detail"]


def test_a_lease_needs_the_right_to_read(own_server):
    worker = Worker(own_server, "private").declare()
    worker.publish("secret")
    (message,) = worker.lease()
    stranger = Worker(own_server, "private", user=("nobody", "x"))
    assert stranger.post("/v1/queues/private/lease").status_code == 401
    assert stranger.post("/v1/leases", {"ack": held(message)}).status_code == 401
    assert worker.statuses(ack=held(message)) == ["ok"]
