"""What a user may do: each row is a request, the user's rights, and what comes of it."""

from dataclasses import dataclass, field
from typing import Callable

import pika
import pytest

from tenants import permission, serving, user

VHOST = "permits"
ADMIN = "permits-admin"
PASSWORD = "a password"
ANY = ".*"

NOT_DEFAULT = "ACCESS_REFUSED - operation not permitted on the default exchange"


def refused(what):
    """RabbitMQ's text for a user that lacks a right; {} is the user."""
    return f"ACCESS_REFUSED - access to {what} in vhost '{VHOST}' refused for user '{{}}'"


def queue(name):
    return refused(f"queue '{name}'")


def exchange(name):
    return refused(f"exchange '{name}'")


def topic(key, name="x"):
    return refused(f"topic '{key}' in exchange '{name}'")


@dataclass
class Row:
    name: str
    act: Callable
    configure: str = ""
    write: str = ""
    read: str = ""
    # None: it works.
    text: str | None = None
    code: int = 403
    topics: dict | None = None
    tags: list = field(default_factory=list)

    @property
    def user(self):
        return f"permits-{self.name}"


def publish(exchange, key, **properties):
    def act(channel):
        channel.confirm_delivery()
        channel.basic_publish(exchange, key, b"", pika.BasicProperties(**properties))

    return act





DLX = {"x-dead-letter-exchange": "d"}
AE = {"alternate-exchange": "d"}
TOPICS = {"exchange": "x", "write": "^{username}\\.w", "read": "^{vhost}\\.r"}


def last_queue(then):
    """Uses the queue declared last, by no name."""

    def act(channel):
        channel.queue_declare("q", passive=True)
        then(channel)

    return act


ROWS = [
    # exchange.declare: configure; with an alternate exchange also read on it, write on the other.
    Row("xdecl-there", lambda c: c.exchange_declare("d", "direct"), text=exchange("d")),
    Row("xdecl-new", lambda c: c.exchange_declare("new", "direct"), text=exchange("new")),
    Row("xdecl-may", lambda c: c.exchange_declare("d", "direct"), configure="^d$"),
    Row("xdecl-amq", lambda c: c.exchange_declare("amq.new", "direct"), text=exchange("amq.new")),
    Row("xdecl-default", lambda c: c.exchange_declare("", "direct"), text=NOT_DEFAULT),
    Row("xdecl-passive", lambda c: c.exchange_declare("d", passive=True)),
    Row(
        "xdecl-passive-missing",
        lambda c: c.exchange_declare("nope", passive=True),
        text=f"NOT_FOUND - no exchange 'nope' in vhost '{VHOST}'",
        code=404,
    ),
    Row(
        "ae-no-read",
        lambda c: c.exchange_declare("ae", "direct", arguments=AE),
        configure=ANY,
        write=ANY,
        text=exchange("ae"),
    ),
    Row(
        "ae-no-write",
        lambda c: c.exchange_declare("ae", "direct", arguments=AE),
        configure=ANY,
        read=ANY,
        text=exchange("d"),
    ),
    Row(
        "ae-may",
        lambda c: c.exchange_declare("ae-may", "direct", arguments=AE, auto_delete=True),
        configure="^ae-may$",
        read="^ae-may$",
        write="^d$",
    ),
    # exchange.delete: configure.
    Row("xdel", lambda c: c.exchange_delete("d"), write=ANY, read=ANY, text=exchange("d")),
    Row("xdel-missing", lambda c: c.exchange_delete("nope"), text=exchange("nope")),
    Row("xdel-may", lambda c: c.exchange_delete("nope"), configure="^nope$"),
    Row(
        "xdel-amq",
        lambda c: c.exchange_delete("amq.direct"),
        text=f"ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '{VHOST}' "
        "not allowed",
    ),
    Row("xdel-default", lambda c: c.exchange_delete(""), text=NOT_DEFAULT),
    # queue.declare: configure; with a dead-letter exchange also read on it, write on the exchange.
    Row("qdecl-there", lambda c: c.queue_declare("q"), text=queue("q")),
    Row("qdecl-new", lambda c: c.queue_declare("new"), text=queue("new")),
    Row("qdecl-may", lambda c: c.queue_declare("q"), configure="^q$"),
    Row(
        "qdecl-amq",
        lambda c: c.queue_declare("amq.new"),
        text="ACCESS_REFUSED - queue name 'amq.new' contains reserved prefix 'amq.*'",
    ),
    Row("qdecl-made-up", lambda c: c.queue_declare(""), text=queue("amq.gen-")),
    Row("qdecl-made-up-may", lambda c: c.queue_declare("", exclusive=True), configure="^amq.gen"),
    Row("qdecl-passive", lambda c: c.queue_declare("q", passive=True)),
    Row(
        "dlx-no-read",
        lambda c: c.queue_declare("dl", arguments=DLX),
        configure=ANY,
        write=ANY,
        text=queue("dl"),
    ),
    Row(
        "dlx-no-write",
        lambda c: c.queue_declare("dl", arguments=DLX),
        configure=ANY,
        read=ANY,
        text=exchange("d"),
    ),
    Row(
        "dlx-default",
        lambda c: c.queue_declare("dl", arguments={"x-dead-letter-exchange": ""}),
        configure=ANY,
        read=ANY,
        text=exchange("amq.default"),
    ),
    # queue.delete: configure.
    Row("qdel", lambda c: c.queue_delete("q"), write=ANY, read=ANY, text=queue("q")),
    Row("qdel-missing", lambda c: c.queue_delete("nope"), text=queue("nope")),
    Row("qdel-last", last_queue(lambda c: c.queue_delete("")), text=queue("q")),
    Row("qdel-may", lambda c: c.queue_delete("nope"), configure="^nope$"),
    # Taking messages, and dropping them: read.
    Row("purge", lambda c: c.queue_purge("q"), configure=ANY, write=ANY, text=queue("q")),
    Row("purge-may", lambda c: c.queue_purge("q"), read="^q$"),
    Row("get", lambda c: c.basic_get("q"), configure=ANY, write=ANY, text=queue("q")),
    Row("get-missing", lambda c: c.basic_get("nope"), text=queue("nope")),
    Row("get-last", last_queue(lambda c: c.basic_get("")), text=queue("q")),
    Row("get-may", lambda c: c.basic_get("q"), read="^q$"),
    Row(
        "consume",
        lambda c: c.basic_consume("q", lambda *_: None),
        configure=ANY,
        write=ANY,
        text=queue("q"),
    ),
    Row("consume-may", lambda c: c.basic_consume("q", lambda *_: None), read="^q$"),
    # Bindings: write on where they lead, read on where they come from.
    Row("bind-no-write", lambda c: c.queue_bind("q", "d", "k"), read=ANY, text=queue("q")),
    Row("bind-no-read", lambda c: c.queue_bind("q", "d", "k"), write=ANY, text=exchange("d")),
    Row("bind-may", lambda c: c.queue_bind("q", "d", "k"), write="^q$", read="^d$"),
    Row("bind-missing", lambda c: c.queue_bind("nope", "no", "k"), text=queue("nope")),
    Row("bind-default", lambda c: c.queue_bind("q", "", "k"), write=ANY, text=NOT_DEFAULT),
    Row("unbind-no-write", lambda c: c.queue_unbind("q", "d", "k"), read=ANY, text=queue("q")),
    Row("unbind-no-read", lambda c: c.queue_unbind("q", "d", "k"), write=ANY, text=exchange("d")),
    Row("unbind-may", lambda c: c.queue_unbind("q", "d", "zz"), write="^q$", read="^d$"),
    Row("xbind-no-write", lambda c: c.exchange_bind("d", "x", "k"), read=ANY, text=exchange("d")),
    Row("xbind-no-read", lambda c: c.exchange_bind("d", "x", "k"), write=ANY, text=exchange("x")),
    Row("xbind-may", lambda c: c.exchange_bind("d", "x", "k"), write="^d$", read="^x$"),
    Row("xbind-default", lambda c: c.exchange_bind("", "x", "k"), text=exchange("amq.default")),
    Row("xunbind-no-write", lambda c: c.exchange_unbind("d", "x", "k"), text=exchange("d")),
    Row("xunbind-no-read", lambda c: c.exchange_unbind("d", "x"), write=ANY, text=exchange("x")),
    Row("xunbind-may", lambda c: c.exchange_unbind("d", "x", "zz"), write="^d$", read="^x$"),
    # basic.publish: write.
    Row("publish", publish("d", "k"), configure=ANY, read=ANY, text=exchange("d")),
    Row("publish-may", publish("d", "k"), write="^d$"),
    Row("publish-default", publish("", "q"), text=exchange("amq.default")),
    Row("publish-default-may", publish("", "nowhere"), write="^amq.default$"),
    Row("publish-missing", publish("nope", "k"), text=exchange("nope")),
    Row("publish-internal", publish("int", "k"), text=exchange("int")),
    # Patterns are not anchored, and may look ahead.
    Row("unanchored", publish("d", "k"), write="d"),
    Row("look-ahead", publish("d", "k"), write="^(?!secret)"),
    Row("look-ahead-not", publish("secret", "k"), write="^(?!secret)", text=exchange("secret")),
    # Topic permissions: routing keys of one topic exchange.
    Row("topic-publish", publish("x", "other"), write=ANY, topics=TOPICS, text=topic("other")),
    Row("topic-publish-may", publish("x", "permits-topic-publish-may.w"), write=ANY, topics=TOPICS),
    Row(
        "topic-copies",
        publish("x", "permits-topic-copies.w", headers={"CC": ["other"], "BCC": ["another"]}),
        write=ANY,
        topics=TOPICS,
    ),
    Row(
        "topic-bind",
        lambda c: c.queue_bind("q", "x", "other"),
        write=ANY,
        read=ANY,
        topics=TOPICS,
        text=topic("other"),
    ),
    Row(
        "topic-bind-may",
        lambda c: c.queue_bind("q", "x", f"{VHOST}.r"),
        write=ANY,
        read=ANY,
        topics=TOPICS,
    ),
    Row(
        "topic-unbind",
        lambda c: c.queue_unbind("q", "x", "other"),
        write=ANY,
        read=ANY,
        topics=TOPICS,
        text=topic("other"),
    ),
    Row(
        "topic-xbind",
        lambda c: c.exchange_bind("d", "x", "other"),
        write=ANY,
        read=ANY,
        topics=TOPICS,
        text=topic("other"),
    ),
    Row("topic-elsewhere", publish("amq.topic", "other"), write=ANY, topics=TOPICS),
    Row(
        "topic-empty-pattern",
        lambda c: c.queue_bind("q", "x", ""),
        write=ANY,
        read=ANY,
        topics={"exchange": "x", "write": "", "read": ""},
    ),
    Row(
        "topic-client-id",
        publish("x", "anything"),
        write=ANY,
        topics={"exchange": "x", "write": "^{client_id}", "read": ""},
        text=topic("anything"),
    ),
    # user-id: one's own name, or the tag impersonator.
    Row("user-id-own", publish("d", "k", user_id="permits-user-id-own"), write=ANY),
    Row(
        "user-id-other",
        publish("d", "k", user_id="somebody"),
        write=ANY,
        text="PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was "
        "'{}'",
        code=406,
    ),
    Row(
        "user-id-impersonator",
        publish("d", "k", user_id="somebody"),
        write=ANY,
        tags=["impersonator"],
    ),
]


def definitions():
    users = [user(ADMIN, PASSWORD), user("permits-stranger", PASSWORD)]
    permissions = [permission(ADMIN, VHOST)]
    topics = []
    for row in ROWS:
        users.append(user(row.user, PASSWORD, row.tags))
        permissions.append(permission(row.user, VHOST, row.configure, row.write, row.read))
        if row.topics:
            topics.append({"user": row.user, "vhost": VHOST, **row.topics})

    def exchange(name, kind, internal=False):
        return {
            "vhost": VHOST,
            "name": name,
            "type": kind,
            "durable": False,
            "auto_delete": False,
            "internal": internal,
            "arguments": {},
        }

    return {
        "vhosts": [{"name": VHOST}],
        "users": users,
        "permissions": permissions,
        "topic_permissions": topics,
        "exchanges": [
            exchange("d", "direct"),
            exchange("x", "topic"),
            exchange("secret", "direct"),
            exchange("int", "direct", internal=True),
        ],
        "queues": [
            {
                "vhost": VHOST,
                "name": "q",
                "durable": False,
                "auto_delete": False,
                "arguments": {},
            }
        ],
    }


@pytest.fixture(scope="module")
def tenants(session_server, tmp_path_factory):
    yield from serving(session_server, tmp_path_factory.mktemp("permissions"), definitions())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_right_is_needed(tenants, row):
    connection = tenants.connect(row.user, PASSWORD, VHOST)
    channel = connection.channel()
    if row.text is None:
        row.act(channel)
        # Nothing else came of it: the channel is still there.
        channel.exchange_declare("d", passive=True)
    else:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            row.act(channel)
        assert closed.value.reply_code == row.code
        text = closed.value.reply_text
        expected = row.text.format(row.user)
        if "'amq.gen-'" in expected:
            before, after = expected.split("amq.gen-")
            assert text.startswith(before + "amq.gen-") and text.endswith(after), text
        else:
            assert text == expected
    connection.close()


def test_a_refused_request_changes_nothing(tenants):
    channel = tenants.connect(ADMIN, PASSWORD, VHOST).channel()
    for name in ["new", "dl", "nope"]:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="no queue"):
            channel.queue_declare(name, passive=True)
        channel = tenants.connect(ADMIN, PASSWORD, VHOST).channel()
    channel.queue_declare("q", passive=True)


def test_a_user_without_permission_does_not_enter(tenants):
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as denied:
        tenants.connect("permits-stranger", PASSWORD, VHOST)
    text = f"NOT_ALLOWED - access to vhost '{VHOST}' refused for user 'permits-stranger'"
    assert text in str(denied.value).replace("\\'", "'")
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as missing:
        tenants.connect("permits-stranger", PASSWORD, "no such vhost")
    assert "NOT_ALLOWED - vhost no such vhost not found" in str(missing.value)


def test_the_second_publish_is_looked_at_too(tenants):
    """What is remembered of one exchange is not taken for another."""
    row = next(row for row in ROWS if row.name == "publish-may")
    channel = tenants.connect(row.user, PASSWORD, VHOST).channel()
    channel.confirm_delivery()
    for _ in range(3):
        channel.basic_publish("d", "k", b"")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="exchange 'secret'"):
        channel.basic_publish("secret", "k", b"")
