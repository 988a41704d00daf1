"""Debian's amqp-tools (rabbitmq-c): publish, consume, get, declare and delete from a shell."""

import shutil
import subprocess
import time

import pytest

from steps import counts, eventually

TOOLS = ["amqp-publish", "amqp-consume", "amqp-get", "amqp-declare-queue", "amqp-delete-queue"]

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS),
    reason="amqp-tools are not installed (apt-get install amqp-tools)",
)


@pytest.fixture
def tool(server):
    """Runs a tool against the broker; what it printed, and its exit status."""

    def run(name, *arguments, said=None):
        done = subprocess.run(
            [f"amqp-{name}", f"--url={server.url}", *arguments],
            input=said,
            capture_output=True,
            timeout=20,
        )
        assert done.returncode in (0, 2), done.stderr.decode()
        return done.stdout, done.returncode

    return run


def test_declare_publish_get_and_delete(tool, names, channel):
    queue = names.queue()
    assert tool("declare-queue", f"--queue={queue}") == (f"{queue}\n".encode(), 0)
    assert tool("publish", f"--routing-key={queue}", "--body=from a shell") == (b"", 0)
    assert counts(channel, queue) == (1, 0)
    assert tool("get", f"--queue={queue}") == (b"from a shell", 0)
    assert tool("get", f"--queue={queue}") == (b"", 2), "nothing there is an exit status of its own"
    tool("publish", f"--routing-key={queue}", "--body=left behind")
    assert tool("delete-queue", f"--queue={queue}") == (b"1\n", 0)
    assert tool("declare-queue", f"--queue={queue}", "--durable")[1] == 0


def test_delete_only_if_empty_or_unused(server, tool, names):
    queue = names.queue()
    tool("declare-queue", f"--queue={queue}")
    tool("publish", f"--routing-key={queue}", "--body=m")
    refused = subprocess.run(
        ["amqp-delete-queue", f"--url={server.url}", f"--queue={queue}", "--if-empty"],
        capture_output=True,
        timeout=20,
    )
    assert refused.returncode == 1 and b"406" in refused.stderr + refused.stdout
    assert tool("get", f"--queue={queue}") == (b"m", 0)
    assert tool("delete-queue", f"--queue={queue}", "--if-empty") == (b"0\n", 0)


def test_publish_with_properties(tool, names, channel):
    queue = names.queue()
    tool("declare-queue", f"--queue={queue}")
    tool(
        "publish",
        f"--routing-key={queue}",
        "--persistent",
        "--content-type=text/csv",
        "--content-encoding=identity",
        "--reply-to=nobody",
        "--header=shop:north",
        said=b"a;b\n1;2\n",
    )
    _, properties, body = channel.basic_get(queue, auto_ack=True)
    assert body == b"a;b\n1;2\n"
    assert (properties.content_type, properties.content_encoding) == ("text/csv", "identity")
    assert (properties.delivery_mode, properties.reply_to) == (2, "nobody")
    assert properties.headers == {"shop": "north"}


def test_publish_line_by_line_and_consume_some(tool, names, channel):
    queue = names.queue()
    tool("declare-queue", f"--queue={queue}")
    tool("publish", f"--routing-key={queue}", "--line-buffered", said=b"one\ntwo\nthree\n")
    eventually(lambda: counts(channel, queue) == (3, 0))
    read, _ = tool("consume", f"--queue={queue}", "--count=2", "cat")
    assert read == b"one\ntwo\n"
    eventually(lambda: counts(channel, queue) == (1, 0))


def test_consume_gives_back_what_its_command_failed_on(server, tool, names, channel):
    queue = names.queue()
    tool("declare-queue", f"--queue={queue}")
    tool("publish", f"--routing-key={queue}", "--body=not now")
    consumer = subprocess.Popen(
        ["amqp-consume", f"--url={server.url}", f"--queue={queue}", "--prefetch-count=1", "false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: counts(channel, queue)[1] == 1)
        time.sleep(0.2)
    finally:
        consumer.kill()
        consumer.wait()
    eventually(lambda: counts(channel, queue) == (1, 0))
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert (body, method.redelivered) == (b"not now", True)


def test_consume_from_an_exchange(server, names, channel):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    consumer = subprocess.Popen(
        ["amqp-consume", f"--url={server.url}", f"--exchange={exchange}"]
        + ["--routing-key=shop.#", "--exclusive", "--count=2", "cat"],
        stdout=subprocess.PIPE,
    )
    # Its queue has a name only it knows: what comes back as unroutable came too early.
    channel.confirm_delivery()
    deadline = time.monotonic() + 10
    sent = 0
    while sent < 2:
        assert time.monotonic() < deadline
        try:
            channel.basic_publish(exchange, "shop.north", b"x", mandatory=True)
            sent += 1
        except Exception as unroutable:  # noqa: BLE001
            assert type(unroutable).__name__ == "UnroutableError"
            time.sleep(0.05)
    channel.basic_publish(exchange, "street", b"y")
    printed, _ = consumer.communicate(timeout=10)
    assert (printed, consumer.returncode) == (b"xx", 0)
