"""Celery, unmodified, with real workers: results, retries, ETA, workflows, priorities, events,
remote control, native delayed delivery, and what happens when a worker or the broker goes away."""

import time

import pytest
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError, TimeoutError as ResultTimeout

from celery_app.shop import Unlucky
from celery_app.workers import Shop, Watcher
from raw import RawConnection
from steps import eventually

pytestmark = pytest.mark.timeout(90)

RESULT_SECONDS = 15


def get(result, **options):
    return result.get(timeout=RESULT_SECONDS, interval=0.05, **options)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def open_shop(server, tmp_path):
    opened = []

    def open_one(url=None, **settings):
        opened.append(Shop(url or server.url, tmp_path, **settings))
        return opened[-1]

    yield open_one
    for shop in opened:
        shop.close()


@pytest.fixture(scope="module")
def watched(session_server, tmp_path_factory):
    """A shop with one worker of two processes, results by RPC, and somebody who watches."""
    shop = Shop(
        session_server.url,
        tmp_path_factory.mktemp("celery"),
        worker_send_task_events=True,
        task_send_sent_event=True,
    )
    watcher = Watcher(shop)
    worker = shop.start_worker("--concurrency=2", pool="prefork")
    yield shop, worker, watcher
    watcher.stop()
    shop.close()


@pytest.fixture
def shop(watched):
    return watched[0]


@pytest.fixture
def worker(watched):
    return watched[1]


@pytest.fixture
def watcher(watched):
    return watched[2]


# --- results ---------------------------------------------------------------------------------


def test_results(shop):
    results = [shop.task("add").delay(n, 1000) for n in range(20)]
    assert [get(result) for result in results] == [n + 1000 for n in range(20)]


def test_an_exception_is_the_result_of_a_task_that_fails(shop):
    result = shop.task("fail").delay("no such thing")
    with pytest.raises(ValueError, match="no such thing"):
        get(result)
    assert result.state == "FAILURE"


def test_retries(shop):
    assert get(shop.task("third_time_lucky").delay()) == 2


def test_retries_come_to_an_end(shop):
    with pytest.raises(Unlucky, match="never"):
        get(shop.task("never_lucky").delay())


def test_countdown_and_eta(shop):
    before = time.time()
    ran = get(shop.task("now").apply_async(countdown=1))
    assert ran >= before + 0.9


def test_a_task_that_expired_is_not_run(shop, tmp_path):
    page = tmp_path / "page"
    task = shop.task("write_down").apply_async((str(page), "late"), countdown=1, expires=0.5)
    with pytest.raises(TaskRevokedError):
        get(task)
    assert lines(page) == []


def test_group(shop):
    add = shop.task("add")
    assert get(group(add.s(n, n) for n in range(10))()) == [2 * n for n in range(10)]


def test_chain(shop):
    add = shop.task("add")
    assert get(chain(add.s(1, 2), add.s(3), add.s(4))()) == 10


def test_ignored_results_are_not_sent(shop):
    result = shop.task("add").apply_async((1, 2), ignore_result=True)
    # What was asked for later is answered; nothing came of the one ignored.
    assert get(shop.task("add").delay(3, 4)) == 7
    assert result.state == "PENDING"


def test_chord(open_shop, tmp_path):
    # Results by RPC cannot be joined by another process, so Celery wants another backend.
    folder = tmp_path / "results"
    folder.mkdir()
    shop = open_shop(result_backend=f"file://{folder}", result_chord_retry_interval=0.1)
    shop.start_worker("--without-mingle", "--without-gossip")
    add, total = shop.task("add"), shop.task("total")
    assert get(chord([add.s(n, n) for n in range(10)])(total.s())) == 90
    assert get(chain(chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(100))()) == 106


# --- events ----------------------------------------------------------------------------------


def test_events_of_a_task(shop, watcher):
    result = shop.task("add").delay(1, 2)
    assert get(result) == 3
    wanted = ["task-sent", "task-received", "task-started", "task-succeeded"]
    eventually(lambda: set(wanted) <= set(watcher.of_task(result.id)))
    # What the worker tells comes in order; what the client tells may come at any time.
    assert [kind for kind in watcher.of_task(result.id) if kind != "task-sent"] == wanted[1:]


def test_events_of_a_task_that_fails(shop, watcher):
    result = shop.task("fail").delay("on purpose")
    with pytest.raises(ValueError, match="on purpose"):
        get(result)
    eventually(lambda: "task-failed" in watcher.of_task(result.id))


def test_events_of_a_worker(watcher):
    eventually(lambda: {"worker-online", "worker-heartbeat"} <= watcher.of_workers(), seconds=10)


# --- remote control ------------------------------------------------------------------------------


def ask(shop, worker):
    return shop.app.control.inspect([worker.name], timeout=5, limit=1)


def test_ping(shop, worker):
    answers = shop.app.control.ping(timeout=5, limit=1)
    assert answers == [{worker.name: {"ok": "pong"}}]


def test_inspect(shop, worker, tmp_path):
    page = tmp_path / "page"
    inspect = ask(shop, worker)
    registered = inspect.registered()[worker.name]
    assert {"add", "fail", "third_time_lucky"} <= set(registered)
    result = shop.task("write_down_slowly").delay(str(page), "seen", 2)
    eventually(lambda: lines(page) == ["begin seen"])
    assert [task["id"] for task in inspect.active()[worker.name]] == [result.id]
    later = shop.task("add").apply_async((1, 1), countdown=60)
    eventually(lambda: [t["request"]["id"] for t in inspect.scheduled()[worker.name]] == [later.id])
    assert [queue["name"] for queue in inspect.active_queues()[worker.name]] == [shop.stem]
    assert inspect.stats()[worker.name]["broker"]["transport"] == "amqp"
    later.revoke()
    get(result)


def test_revoke(shop, worker):
    result = shop.task("now").apply_async(countdown=2)
    answers = shop.app.control.revoke(
        result.id, destination=[worker.name], reply=True, timeout=5, limit=1
    )
    assert "ok" in answers[0][worker.name]
    with pytest.raises(TaskRevokedError):
        get(result)
    assert result.id in ask(shop, worker).revoked()[worker.name]


def test_revoke_of_a_running_task(shop, worker, tmp_path):
    page = tmp_path / "page"
    result = shop.task("write_down_slowly").delay(str(page), "long", 30)
    eventually(lambda: lines(page) == ["begin long"])
    result.revoke(terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevokedError):
        get(result)
    assert lines(page) == ["begin long"]
    assert get(shop.task("add").delay(1, 1)) == 2, "the pool goes on"


def test_rate_limit(shop, worker):
    answers = shop.app.control.rate_limit(
        "now", "4/s", destination=[worker.name], reply=True, timeout=5, limit=1
    )
    assert answers[0][worker.name] == {"ok": "new rate limit set successfully"}
    try:
        times = sorted(get(result) for result in [shop.task("now").delay() for _ in range(6)])
        assert times[-1] - times[0] >= 0.9, "six at four a second take more than a second"
    finally:
        shop.app.control.rate_limit(
            "now", 0, destination=[worker.name], reply=True, timeout=5, limit=1
        )


def test_add_and_cancel_consumer(shop, worker):
    extra = f"{shop.stem}-extra"
    shop.queues.append(extra)
    shop.exchanges.append(extra)
    answers = shop.app.control.add_consumer(
        extra, destination=[worker.name], reply=True, timeout=5, limit=1
    )
    assert "ok" in answers[0][worker.name]
    assert get(shop.task("add").apply_async((20, 3), queue=extra)) == 23
    answers = shop.app.control.cancel_consumer(
        extra, destination=[worker.name], reply=True, timeout=5, limit=1
    )
    assert "ok" in answers[0][worker.name]
    # The worker answers first and cancels then.
    with shop.app.connection_for_read() as connection:
        channel = connection.default_channel
        eventually(lambda: channel.queue_declare(extra, passive=True).consumer_count == 0)
    unheard = shop.task("add").apply_async((20, 4), queue=extra)
    with pytest.raises(ResultTimeout):
        unheard.get(timeout=0.5)


def test_pool_grow_and_shrink(shop, worker):
    def processes():
        return len(ask(shop, worker).stats()[worker.name]["pool"]["processes"])

    before = processes()
    shop.app.control.pool_grow(1, destination=[worker.name], reply=True, timeout=5, limit=1)
    eventually(lambda: processes() == before + 1)
    shop.app.control.pool_shrink(1, destination=[worker.name], reply=True, timeout=5, limit=1)
    eventually(lambda: processes() == before)
    assert get(shop.task("add").delay(1, 1)) == 2


# --- queues with arguments -----------------------------------------------------------------------


def test_priorities(open_shop, tmp_path):
    page = tmp_path / "page"
    shop = open_shop(
        task_queue_max_priority=10,
        task_default_priority=0,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
    )
    write_down = shop.task("write_down")
    results = [
        write_down.apply_async((str(page), f"{priority}{name}"), priority=priority)
        for name in "ab"
        for priority in (0, 9, 5)
    ]
    shop.start_worker("--without-mingle", "--without-gossip")
    for result in results:
        get(result)
    assert lines(page) == ["9a", "9b", "5a", "5b", "0a", "0b"]


DELAY_LEVELS = range(28)


@pytest.fixture
def delay_ladder(server):
    """The exchanges and queues of Celery's delayed delivery have the same names for everybody."""
    yield [f"celery_delayed_{level}" for level in DELAY_LEVELS]
    connection = RawConnection.open(server.url)
    connection.channel(1)
    for level in DELAY_LEVELS:
        connection.call("queue.delete", 1, queue=f"celery_delayed_{level}")
        connection.call("exchange.delete", 1, exchange=f"celery_delayed_{level}")
    connection.call("exchange.delete", 1, exchange="celery_delayed_delivery")
    connection.close()


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_native_delayed_delivery(open_shop, delay_ladder, raw, queue_type):
    shop = open_shop(
        task_default_queue_type="quorum",
        task_default_exchange_type="topic",
        broker_native_delayed_delivery_queue_type=queue_type,
        broker_transport_options={"confirm_publish": True},
    )
    worker = shop.start_worker("--without-mingle", "--without-gossip")
    looking = raw()
    looking.channel(1)
    for name in delay_ladder:
        assert looking.call("queue.declare", 1, queue=name, passive=True).message_count == 0
        looking.call("exchange.declare", 1, exchange=name, passive=True)
    looking.call("exchange.declare", 1, exchange="celery_delayed_delivery", passive=True)

    before = time.time()
    results = [shop.task("now").apply_async(countdown=seconds) for seconds in (1, 3)]
    waiting = "celery_delayed_0", "celery_delayed_1"

    def messages():
        return [
            looking.call("queue.declare", 1, queue=name, passive=True).message_count
            for name in waiting
        ]

    assert sum(messages()) == 2, "they wait in the broker"
    assert ask(shop, worker).scheduled()[worker.name] == [], "and not in the worker"
    for result, seconds in zip(results, (1, 3), strict=True):
        late = get(result) - before - seconds
        # Celery counts whole seconds, and rounds them as it likes.
        assert -1 < late < 3, f"a task of {seconds} s ran {late} s late"
    assert messages() == [0, 0]
    assert get(shop.task("add").delay(1, 1)) == 2, "without a delay it goes the short way"


# --- losses --------------------------------------------------------------------------------------


def test_a_killed_worker_loses_no_task(open_shop, tmp_path):
    page = tmp_path / "page"
    shop = open_shop(task_acks_late=True, worker_prefetch_multiplier=1)
    options = "--without-mingle", "--without-gossip"
    first = shop.start_worker(*options)
    results = [
        shop.task("write_down_slowly").delay(str(page), name, seconds)
        for name, seconds in (("a", 3), ("b", 0))
    ]
    eventually(lambda: lines(page) == ["begin a"])
    first.kill()
    shop.start_worker(*options)
    for result in results:
        get(result)
    ran = lines(page)
    assert ran.count("begin a") == 2 and ran.count("end a") == 1, "once more from the beginning"
    assert ran.count("begin b") == 1 and ran.count("end b") == 1


def test_a_worker_that_is_told_to_stop_ends_its_task(open_shop, tmp_path):
    page = tmp_path / "page"
    shop = open_shop(task_acks_late=True)
    worker = shop.start_worker("--without-mingle", "--without-gossip")
    shop.task("write_down_slowly").delay(str(page), "last", 1)
    eventually(lambda: lines(page) == ["begin last"])
    worker.stop()
    assert lines(page) == ["begin last", "end last"]


def test_a_worker_comes_back_after_the_broker(restartable, tmp_path):
    page = tmp_path / "page"
    restartable.amqp_port = restartable.port
    # Without confirms the worker's first result goes into the socket that the restart has closed.
    confirmed = {"confirm_publish": True}
    shop = Shop(restartable.url, tmp_path, broker_transport_options=confirmed)
    try:
        worker = shop.start_worker("--without-mingle", "--without-gossip")
        assert get(shop.task("add").delay(1, 2)) == 3
        shop.task("write_down").apply_async((str(page), "kept"), countdown=2)
        worker.wait_for_line("'write_down'", 5)
        restartable.restart()
        # A client waits for results on a queue of its own, which went with the broker: a new one.
        shop.new_client()
        # The queue of the worker is durable and so is the task, which the worker had not begun.
        worker.wait_for_line("Connected to", 30, count=2)
        eventually(lambda: "kept" in lines(page), seconds=15)
        assert get(shop.task("add").delay(2, 2)) == 4
    finally:
        shop.close()
