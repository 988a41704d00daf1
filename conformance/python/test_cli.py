"""The command line asks a running broker, and its exit codes tell scripts what came of it."""

import json
import re
import shlex
import subprocess

import pytest

from broker import binary

pytestmark = pytest.mark.postroom_only(reason="its command line is its own")

REFUSED, USAGE, NOT_THERE, NOT_ALLOWED, NO_BROKER = 1, 2, 3, 4, 5


@pytest.fixture
def ask(own_server):
    """Runs a command; what it printed, after its exit code was as expected."""

    def run(*words, expect=0, given=None, url=None):
        url = url or f"http://127.0.0.1:{own_server.http_port}"
        done = subprocess.run(
            [binary(), *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"POSTROOM_URL": url, "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == expect, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout if expect == 0 else done.stderr

    return run


def test_a_message_from_the_terminal_and_back(ask):
    assert ask("health") == "ok\n"
    ask("queues", "declare", "orders", "-a", "x-max-length=100")
    assert ask("publish", "orders", "one") == "1 published\n"
    assert ask("publish", "orders", "--lines", "-", given="two\nthree\n") == "2 published\n"
    ask("publish", "orders", "--json-body", '{"id":  1.50}', "--header", "tenant=acme")
    assert ask("consume", "orders", "--max", "3") == "one\ntwo\nthree\n"
    kept = json.loads(ask("consume", "orders", "--keep", "--json"))
    assert kept["headers"] == {"tenant": "acme"}
    assert kept["content_type"] == "application/json"
    shown = json.loads(ask("queues", "show", "orders", "--json"))
    assert shown["ready"] == 1
    assert "orders" in ask("queues")
    assert ask("queues", "purge", "orders") == "1 messages dropped\n"
    ask("queues", "delete", "orders", "--if-empty", "--if-unused")
    assert "orders" not in ask("queues")


def test_exchanges_and_bindings(ask):
    ask("exchanges", "declare", "events", "--type", "topic")
    ask("queues", "declare", "created")
    ask("bindings", "add", "events", "created", "--key", "*.created")
    assert "*.created" in ask("bindings")
    ask("publish", "--exchange", "events", "--key", "order.created", "hello")
    assert ask("consume", "created") == "hello\n"
    ask("bindings", "remove", "events", "created", "--key", "*.created")
    said = ask("publish", "--exchange", "events", "--key", "order.created", "x", expect=REFUSED)
    assert "no queue took it" in said
    assert "events" in ask("exchanges")
    ask("exchanges", "delete", "events")
    ask("exchanges", "delete", "events", expect=NOT_THERE)


def test_exit_codes_tell_what_happened(ask):
    assert "no queue 'nope'" in ask("publish", "nope", "x", expect=NOT_THERE)
    ask("consume", "nope", expect=NOT_THERE)
    ask("queues", "declare", "empty")
    ask("consume", "empty", expect=NOT_THERE)
    ask("queues", "declare", "empty", "-a", "x-max-length=1", expect=REFUSED)
    ask("publish", "empty", expect=USAGE)
    ask("queues", "--user", "stranger", expect=NOT_ALLOWED)
    said = ask("health", expect=NO_BROKER, url="http://127.0.0.1:9")
    assert "remedy" in said


def test_users_vhosts_and_tokens(ask):
    ask("users", "add", "worker", "--new-password", "secret")
    ask("users", "permit", "worker", "--configure", "^$")
    assert "worker" in ask("users", "permissions")
    worker = ["--user", "worker", "--password", "secret"]
    ask("queues", "declare", "tasks")
    ask("publish", "tasks", "work", *worker)
    ask("queues", "declare", "mine", *worker, expect=NOT_ALLOWED)
    secret = ask("tokens", "create", "ci", "--scope", "publish").strip()
    ask("publish", "tasks", "with a token", "--token", secret)
    ask("queues", "purge", "tasks", "--token", secret, expect=NOT_ALLOWED)
    ask("tokens", "revoke", "ci")
    ask("publish", "tasks", "x", "--token", secret, expect=NOT_ALLOWED)
    ask("users", "delete", "worker")
    ask("publish", "tasks", "x", *worker, expect=NOT_ALLOWED)
    ask("vhosts", "add", "staging")
    ask("queues", "declare", "q", "--vhost", "staging")
    assert "staging" in ask("vhosts")
    ask("vhosts", "delete", "staging", expect=USAGE)
    ask("vhosts", "delete", "staging", "--yes")
    assert "staging" not in ask("vhosts")


def test_definitions_go_round(ask, tmp_path):
    ask("queues", "declare", "kept")
    file = tmp_path / "definitions.json"
    ask("definitions", "export", "--file", str(file))
    assert any(queue["name"] == "kept" for queue in json.loads(file.read_text())["queues"])
    ask("queues", "delete", "kept")
    ask("definitions", "import", str(file), "--dry-run")
    ask("queues", "show", "kept", expect=NOT_THERE)
    ask("definitions", "import", str(file))
    ask("queues", "show", "kept")
    status = json.loads(ask("status", "--json"))
    assert status["queues"] >= 1
    assert "complete -F" in ask("completions", "bash")


def examples(ask, command):
    """What the help of a command shows, as words."""
    text = ask(command, "--help")
    lines = text.split("Examples:")[1].splitlines()
    shown = [line.strip() for line in lines if line.strip().startswith("postroom ")]
    assert shown, text
    # What it means stands behind two blanks.
    return [shlex.split(re.split(r" {2,}", line)[0])[1:] for line in shown]


def test_messages_are_looked_at_and_found(ask):
    ask("queues", "declare", "orders")
    ask("peek", "orders", expect=NOT_THERE)
    ask("publish", "orders", "--lines", "-", given="one\ntwo\nthree\n")
    ask("publish", "orders", "--json-body", '{"customer": {"id": 42}, "text": "no. 4711"}',
        "--header", "tenant=acme", "--header", "retry=1")
    table = ask("peek", "orders").splitlines()
    assert len(table) == 5 and "STATE" in table[0] and "one" in table[1] and "ready" in table[1]
    newest = [json.loads(line) for line in
              ask("peek", "orders", "--newest", "--max", "2", "--json").splitlines()]
    assert [message["body"] for message in newest] == [
        {"customer": {"id": 42}, "text": "no. 4711"}, "three",
    ]
    ask("peek", "orders", "--state", "leased", expect=NOT_THERE)
    assert "two" in ask("search", "orders", "--body", "tw")
    ask("search", "orders", "--body", "nowhere", expect=NOT_THERE)
    ask("search", "orders", "--json-path", "..", expect=REFUSED)
    ask("peek", "nowhere", expect=NOT_THERE)
    assert ask("consume", "orders") == "one\n", "it was only looked at"


def test_what_became_of_a_message_from_the_terminal(ask):
    ask("queues", "declare", "exports", "-a", "x-done-max-length=5")
    ask("publish", "exports", "the year\x1b[2J")
    (id,) = [json.loads(ask("peek", "exports", "--json"))["id"]]
    shown = ask("message", id)
    assert "ready" in shown and "the year [2J" in shown and "outcome" not in shown
    ask("consume", "exports")
    shown = ask("message", id)
    assert "acknowledged" in shown and "result" not in shown
    assert json.loads(ask("message", id, "--json"))["state"] == "done"
    assert id in ask("queues", "done", "exports")
    assert json.loads(ask("queues", "show", "exports", "--json"))["done"] == 1
    assert ask("queues", "forget", "exports") == "1 done messages forgotten\n"
    ask("message", id, expect=NOT_THERE)
    ask("message", "no-id", expect=REFUSED)
    ask("queues", "done", "nowhere", expect=NOT_THERE)


def test_tasks_from_the_terminal(ask):
    ask("queues", "declare", "orders")
    ask("queues", "declare", "parked")
    ask("publish", "orders", "--lines", "-", given="one\ntwo\nthree\n")
    counted = ask("tasks", "delete", "orders", "--body", "o", "--dry-run")
    assert "two" in counted and "done            0" in counted
    assert "matched         2" in ask("tasks", "delete", "orders", "--body", "o")
    moved = json.loads(ask("tasks", "move", "orders", "parked", "--json"))
    assert (moved["state"], moved["done"]) == ("done", 1)
    assert ask("consume", "parked") == "three\n"
    assert ask("tasks").count("done") == 3
    assert "done" in ask("tasks", "show", moved["id"])
    ask("tasks", "cancel", "999", expect=NOT_THERE)
    ask("tasks", "move", "orders", expect=USAGE)


@pytest.mark.parametrize("command", ["peek", "search", "tasks"])
def test_examples_of_the_help_work(ask, command):
    for queue in ("orders", "parked", "dead-orders"):
        ask("queues", "declare", queue)
    for _ in range(3):
        ask("publish", "orders", "--json-body", '{"customer": {"id": 42}, "text": "no. 4711"}',
            "--header", "tenant=acme", "--header", "retry=1")
    for _ in range(7):
        ask("publish", "parked", "something to do")
        task = json.loads(ask("tasks", "delete", "parked", "--json"))["id"]
    # Somebody works on one.
    ask("publish", "orders", "held")
    for words in examples(ask, command):
        expect = NOT_THERE if "leased" in words else 0
        if "cancel" in words:
            # Which number a task has depends on the time.
            words[-1] = task
        ask(*words, expect=expect)
