"""Exchanges: declaring, deleting, and where each type routes."""

import pika
import pytest

from routing import bound_queues, routed
from steps import disconnected, publish_and_wait, refused, take

TYPES = ["direct", "fanout", "topic", "headers"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("durable", [False, True])
def test_declare_and_redeclare(channel, names, kind, durable):
    exchange = names.exchange()
    for _ in range(2):
        channel.exchange_declare(exchange, kind, durable=durable)
    channel.exchange_declare(exchange, passive=True)


def test_nowait_forms(raw, names):
    connection = raw()
    connection.channel(1)
    first, second, queue = names.exchange(), names.exchange(), names.queue()
    connection.send("exchange.declare", 1, exchange=first, type="fanout", no_wait=True)
    connection.send("exchange.declare", 1, exchange=second, type="fanout", no_wait=True)
    connection.call("queue.declare", 1, queue=queue)
    connection.send("exchange.bind", 1, source=first, destination=second, no_wait=True)
    connection.send("queue.bind", 1, queue=queue, exchange=second, no_wait=True)
    connection.publish(1, "", b"through", exchange=first)
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    assert connection.expect("basic.get-ok", 1).body == b"through"
    connection.send("exchange.unbind", 1, source=first, destination=second, no_wait=True)
    connection.publish(1, "", b"nowhere", exchange=first)
    connection.send("basic.get", 1, queue=queue, no_ack=True)
    connection.expect("basic.get-empty", 1)
    connection.send("exchange.delete", 1, exchange=first, no_wait=True)
    connection.send("exchange.declare", 1, exchange=first, passive=True)
    connection.expect_channel_close(1, 404, "exchange.declare")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ],
)
def test_predeclared(channel, name, kind):
    channel.exchange_declare(name, passive=True)
    channel.exchange_declare(name, kind, durable=True)


@pytest.mark.parametrize("kind", ["fanout", "headers"])
def test_predeclared_keeps_its_settings(channel, kind):
    with refused(406, "inequivalent arg 'type'", "amq.topic"):
        channel.exchange_declare("amq.topic", kind, durable=True)


def test_predeclared_cannot_be_deleted(channel):
    with refused(403, "amq.topic"):
        channel.exchange_delete("amq.topic")


@pytest.mark.parametrize("exchange", ["amq.direct", None])
def test_direct_routing(channel, names, exchange):
    if exchange is None:
        exchange = names.exchange()
        channel.exchange_declare(exchange, "direct")
    key = names.stem
    queues = bound_queues(channel, names, exchange, [key, key, key + "x", key.upper()])
    assert routed(channel, exchange, key, queues) == {0, 1}
    assert routed(channel, exchange, key + "x", queues) == {2}
    assert routed(channel, exchange, key + "y", queues) == set()


def test_direct_empty_and_binary_keys(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    long_key = "k" * 255
    queues = bound_queues(channel, names, exchange, ["", "ключ ✓", long_key])
    assert routed(channel, exchange, "", queues) == {0}
    assert routed(channel, exchange, "ключ ✓", queues) == {1}
    assert routed(channel, exchange, long_key, queues) == {2}


def test_direct_several_keys_one_queue(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    [queue] = bound_queues(channel, names, exchange, ["a"])
    channel.queue_bind(queue, exchange, "b")
    for key in "ab":
        assert routed(channel, exchange, key, [queue]) == {0}


def test_fanout_routing(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "fanout")
    queues = bound_queues(channel, names, exchange, ["", "a", "b"])
    channel.queue_bind(queues[0], exchange, "another key")
    for key in ("", "a", "whatever"):
        assert routed(channel, exchange, key, queues) == {0, 1, 2}


PATTERNS = ["a.b.c", "a.*.c", "a.#", "#", "*", "#.c", "*.*", "a.#.c", "*.b.*", "#.b.#", "", "a.*.#"]


@pytest.mark.parametrize(
    "key, matches",
    [
        ("a.b.c", {"a.b.c", "a.*.c", "a.#", "#", "#.c", "a.#.c", "*.b.*", "#.b.#", "a.*.#"}),
        ("a.x.c", {"a.*.c", "a.#", "#", "#.c", "a.#.c", "a.*.#"}),
        ("a", {"a.#", "#", "*"}),
        ("c", {"#", "*", "#.c"}),
        ("a.c", {"a.#", "#", "#.c", "*.*", "a.#.c", "a.*.#"}),
        ("a.b.b.c", {"a.#", "#", "#.c", "a.#.c", "#.b.#", "a.*.#"}),
        ("b", {"#", "*", "#.b.#"}),
        ("x.y.z.w", {"#"}),
        ("A.B.C", {"#"}),
        ("", {"#", ""}),
    ],
)
def test_topic_routing(channel, names, key, matches):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    queues = bound_queues(channel, names, exchange, PATTERNS)
    reached = {PATTERNS[place] for place in routed(channel, exchange, key, queues)}
    assert reached == matches


@pytest.mark.parametrize(
    "pattern, key, matches",
    [
        ("a..b", "a..b", True),
        ("a.*.b", "a..b", True),
        ("*.*.*", "a..b", True),
        ("a.b", "a..b", False),
        ("a.*", "a.", True),
        ("*.b", ".b", True),
        ("#.#", "", True),
        ("#.*", "", False),
        ("*.#", "a", True),
        ("a*", "ab", False),
        ("a*", "a*", True),
        ("a#.b", "a.b", False),
    ],
)
def test_topic_empty_words_and_partial_wildcards(channel, names, pattern, key, matches):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    queues = bound_queues(channel, names, exchange, [pattern])
    assert (routed(channel, exchange, key, queues) == {0}) is matches


def test_topic_unbind_leaves_overlapping_patterns(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic")
    queues = bound_queues(channel, names, exchange, ["a.*.c", "a.#", "a.*"])
    channel.queue_unbind(queues[1], exchange, "a.#")
    assert routed(channel, exchange, "a.b.c", queues) == {0}
    assert routed(channel, exchange, "a.b", queues) == {2}


HEADERS = {"colour": "red", "size": 3}


@pytest.mark.parametrize(
    "binding, headers, matches",
    [
        ({"x-match": "all"} | HEADERS, HEADERS, True),
        (HEADERS, HEADERS, True),
        (HEADERS, HEADERS | {"more": 1}, True),
        (HEADERS, {"colour": "red"}, False),
        (HEADERS, {"colour": "red", "size": 4}, False),
        (HEADERS, None, False),
    ],
)
def test_headers_all(channel, names, binding, headers, matches):
    check_headers(channel, names, binding, headers, matches)


@pytest.mark.parametrize(
    "headers, matches",
    [
        (HEADERS, True),
        ({"colour": "red"}, True),
        ({"size": 3, "colour": "blue"}, True),
        ({"colour": "blue", "size": 4}, False),
        ({"other": 1}, False),
        ({}, False),
    ],
)
def test_headers_any(channel, names, headers, matches):
    check_headers(channel, names, {"x-match": "any"} | HEADERS, headers, matches)


@pytest.mark.parametrize(
    "binding, headers, matches",
    [
        ({"x-match": "all", "x-mark": "1", "a": 1}, {"a": 1}, True),
        ({"x-match": "any", "x-mark": "1", "a": 1}, {"x-mark": "1"}, False),
    ],
)
def test_headers_that_start_with_x_are_left_out(channel, names, binding, headers, matches):
    check_headers(channel, names, binding, headers, matches)


@pytest.mark.parametrize(
    "binding, headers, matches",
    [
        ({"x-match": "all-with-x", "x-mark": "1", "a": 1}, {"a": 1}, False),
        ({"x-match": "all-with-x", "x-mark": "1", "a": 1}, {"a": 1, "x-mark": "1"}, True),
        ({"x-match": "any-with-x", "x-mark": "1", "a": 1}, {"x-mark": "1"}, True),
        ({"x-match": "any-with-x", "x-mark": "1", "a": 1}, {"x-mark": "2"}, False),
    ],
)
def test_headers_with_x(channel, names, binding, headers, matches):
    check_headers(channel, names, binding, headers, matches)


@pytest.mark.parametrize(
    "binding, headers, matches",
    [
        ({"x-match": "all", "a": None}, {"a": "anything"}, True),
        ({"x-match": "all", "a": None}, {"a": 7}, True),
        ({"x-match": "all", "a": None}, {"b": 7}, False),
        ({"x-match": "any", "a": None, "b": 1}, {"a": 7}, True),
    ],
)
def test_headers_void_matches_presence(channel, names, binding, headers, matches):
    check_headers(channel, names, binding, headers, matches)


@pytest.mark.parametrize(
    "wanted, given, matches",
    [
        ("1", 1, False),
        (1, "1", False),
        (True, True, True),
        (True, False, False),
        (True, 1, False),
        ({"in": "side"}, {"in": "side"}, True),
        ({"in": "side"}, {"in": "other"}, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], False),
        ("", "", True),
    ],
)
def test_headers_need_the_same_type(channel, names, wanted, given, matches):
    check_headers(channel, names, {"a": wanted}, {"a": given}, matches)


@pytest.mark.parametrize("kind, matches", [("all", True), ("any", False)])
def test_headers_empty_binding(channel, names, kind, matches):
    check_headers(channel, names, {"x-match": kind}, {"a": 1}, matches)
    check_headers(channel, names, {"x-match": kind}, None, matches)


@pytest.mark.parametrize("x_match", ["some", "", 1, True])
def test_headers_unknown_x_match_is_refused(channel, names, x_match):
    exchange, queue = names.exchange(), names.queue()
    channel.exchange_declare(exchange, "headers")
    channel.queue_declare(queue)
    with refused(406, "x-match"):
        channel.queue_bind(queue, exchange, "", arguments={"x-match": x_match, "a": 1})


def check_headers(channel, names, binding, headers, matches):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "headers")
    queues = bound_queues(channel, names, exchange, [binding])
    assert (routed(channel, exchange, "ignored", queues, headers) == {0}) is matches


def test_default_exchange_routes_by_queue_name(channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    assert routed(channel, "", queue, [queue]) == {0}
    assert routed(channel, "", queue + "x", [queue]) == set()


def test_default_exchange_cannot_be_declared(channel):
    with refused(403, "default exchange"):
        channel.exchange_declare("", "direct", durable=True)


def test_default_exchange_cannot_be_deleted(channel):
    with refused(403, "default exchange"):
        channel.exchange_delete("")


@pytest.mark.parametrize("action", ["queue_bind", "queue_unbind"])
def test_default_exchange_cannot_be_bound(channel, names, action):
    queue = names.queue()
    channel.queue_declare(queue)
    with refused(403, "default exchange"):
        getattr(channel, action)(queue, "", queue)


@pytest.mark.parametrize("ends", [("", "amq.fanout"), ("amq.fanout", "")])
def test_default_exchange_takes_no_exchange_binding(channel, ends):
    with refused(403, "default exchange"):
        channel.exchange_bind(*ends)


def test_reserved_name_is_refused(channel):
    with refused(403, "amq.mine", "reserved prefix"):
        channel.exchange_declare("amq.mine", "direct")


def test_passive_ignores_settings(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
    channel.exchange_declare(exchange, "fanout", passive=True, auto_delete=True, internal=True)


def test_passive_missing(channel, names):
    exchange = names.exchange()
    with refused(404, f"no exchange '{exchange}' in vhost '/'"):
        channel.exchange_declare(exchange, passive=True)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"exchange_type": "fanout"}, ["type", "received 'fanout' but current is 'direct'"]),
        ({"durable": False}, ["durable", "received 'false' but current is 'true'"]),
        ({"auto_delete": True}, ["auto_delete", "received 'true' but current is 'false'"]),
        ({"internal": True}, ["internal", "received 'true' but current is 'false'"]),
        (
            {"arguments": {"alternate-exchange": "b"}},
            ["alternate-exchange", "received 'b' but current is 'a'"],
        ),
        (
            {"arguments": {}},
            ["alternate-exchange", "received none but current is the value 'a' of type 'longstr'"],
        ),
    ],
)
def test_redeclare_with_other_settings(channel, names, change, words):
    exchange = names.exchange()
    settings = {
        "exchange_type": "direct",
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {"alternate-exchange": "a"},
    }
    channel.exchange_declare(exchange, **settings)
    argument, text = words
    with refused(
        406, f"inequivalent arg '{argument}' for exchange '{exchange}' in vhost '/'", text
    ):
        channel.exchange_declare(exchange, **(settings | change))


def test_unknown_type_is_refused(channel, names):
    with disconnected(503, "unknown exchange type 'x-odd'"):
        channel.exchange_declare(names.exchange(), "x-odd")


def test_unknown_arguments_are_accepted(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct", arguments={"x-odd": 1, "odd": {"a": [1]}})
    channel.exchange_declare(exchange, "direct", arguments={"x-odd": 2})
    channel.exchange_declare(exchange, "direct")


def test_delete(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "fanout")
    queues = bound_queues(channel, names, exchange, ["key"])
    channel.exchange_delete(exchange)
    channel.exchange_declare(exchange, "fanout")
    assert routed(channel, exchange, "key", queues) == set(), "the bindings went too"
    channel.exchange_delete(exchange)
    with refused(404, f"no exchange '{exchange}' in vhost '/'"):
        publish_and_wait(channel, exchange, "key", b"m")


def test_delete_missing_succeeds(channel, names):
    exchange = names.exchange()
    channel.exchange_delete(exchange)
    channel.exchange_delete(exchange, if_unused=True)


def test_delete_if_unused(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    [queue] = bound_queues(channel, names, exchange, ["key"])
    other = channel.connection.channel()
    with refused(406, f"exchange '{exchange}' in vhost '/' in use"):
        other.exchange_delete(exchange, if_unused=True)
    channel.queue_unbind(queue, exchange, "key")
    channel.exchange_delete(exchange, if_unused=True)
    with refused(404):
        channel.exchange_declare(exchange, passive=True)


def test_being_a_destination_is_not_being_used(channel, names):
    source, exchange = names.exchange(), names.exchange()
    channel.exchange_declare(source, "fanout")
    channel.exchange_declare(exchange, "fanout")
    channel.exchange_bind(exchange, source)
    channel.exchange_delete(exchange, if_unused=True)


def test_internal_refuses_publishers_and_routes_bindings(channel, names):
    entrance, inner = names.exchange(), names.exchange()
    channel.exchange_declare(entrance, "fanout")
    channel.exchange_declare(inner, "fanout", internal=True)
    channel.exchange_bind(inner, entrance)
    queues = bound_queues(channel, names, inner, [""])
    assert routed(channel, entrance, "", queues) == {0}
    with refused(403, f"cannot publish to internal exchange '{inner}' in vhost '/'"):
        publish_and_wait(channel, inner, "", b"m")


def test_auto_delete_goes_with_its_last_binding(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    channel.exchange_declare(exchange, passive=True)
    first, second = bound_queues(channel, names, exchange, ["a", "b"])
    channel.queue_unbind(first, exchange, "a")
    channel.exchange_declare(exchange, passive=True)
    channel.queue_unbind(second, exchange, "b")
    with refused(404):
        channel.exchange_declare(exchange, passive=True)


def test_auto_delete_goes_with_its_last_queue(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    for queue in bound_queues(channel, names, exchange, ["a", "b"]):
        channel.exchange_declare(exchange, passive=True)
        channel.queue_delete(queue)
    with refused(404):
        channel.exchange_declare(exchange, passive=True)


def test_auto_delete_chain(channel, names):
    # The inner exchange's going takes the binding, and with it the outer exchange.
    outer, inner = names.exchange(), names.exchange()
    channel.exchange_declare(outer, "fanout", auto_delete=True)
    channel.exchange_declare(inner, "fanout", auto_delete=True)
    channel.exchange_bind(inner, outer)
    [queue] = bound_queues(channel, names, inner, [""])
    channel.queue_delete(queue)
    for exchange in (inner, outer):
        with refused(404):
            channel.connection.channel().exchange_declare(exchange, passive=True)


def test_alternate_exchange(channel, names):
    main, alternate = names.exchange(), names.exchange()
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(main, "direct", arguments={"alternate-exchange": alternate})
    [routable] = bound_queues(channel, names, main, ["known"])
    [fallback] = bound_queues(channel, names, alternate, [""])
    assert routed(channel, main, "known", [routable, fallback]) == {0}
    assert routed(channel, main, "unknown", [routable, fallback]) == {1}


def test_alternate_exchange_keeps_exchange_and_key(channel, names):
    main, alternate = names.exchange(), names.exchange()
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(main, "direct", arguments={"alternate-exchange": alternate})
    [fallback] = bound_queues(channel, names, alternate, [""])
    publish_and_wait(channel, main, "unknown", b"m")
    method, _, _ = channel.basic_get(fallback, auto_ack=True)
    assert (method.exchange, method.routing_key) == (main, "unknown")


def test_alternate_exchange_chain(channel, names):
    chain = [names.exchange() for _ in range(3)]
    for exchange, following in zip(chain, [*chain[1:], chain[0]], strict=True):
        channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": following})
    [last] = bound_queues(channel, names, chain[2], ["far"])
    assert routed(channel, chain[0], "far", [last]) == {0}
    assert routed(channel, chain[0], "nowhere", [last]) == set(), "a circle ends"


def test_each_exchange_on_the_way_has_its_own_alternate(channel, names):
    outer, inner, alternate = names.exchange(), names.exchange(), names.exchange()
    channel.exchange_declare(alternate, "fanout")
    [fallback] = bound_queues(channel, names, alternate, [""])
    with_alternate = {"alternate-exchange": alternate}
    channel.exchange_declare(outer, "fanout", arguments=with_alternate)
    channel.exchange_declare(inner, "direct")
    channel.exchange_bind(inner, outer)
    assert routed(channel, outer, "k", [fallback]) == set(), "a binding matched at the outer one"
    channel.exchange_delete(inner)
    channel.exchange_declare(inner, "direct", arguments=with_alternate)
    channel.exchange_bind(inner, outer)
    assert routed(channel, outer, "k", [fallback]) == {0}, "and none at the inner one"


def test_alternate_exchange_counts_as_routed_for_mandatory(channel, names):
    main, alternate = names.exchange(), names.exchange()
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(main, "direct", arguments={"alternate-exchange": alternate})
    [fallback] = bound_queues(channel, names, alternate, [""])
    channel.confirm_delivery()
    channel.basic_publish(main, "unknown", b"kept", mandatory=True)
    assert take(channel, fallback) == [b"kept"]
    channel.queue_delete(fallback)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(main, "unknown", b"lost", mandatory=True)


def test_alternate_exchange_may_be_missing(channel, names):
    main, absent = names.exchange(), names.exchange()
    channel.exchange_declare(main, "direct", arguments={"alternate-exchange": absent})
    channel.confirm_delivery()
    channel.basic_publish(main, "unknown", b"dropped")
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(main, "unknown", b"returned", mandatory=True)
    channel.exchange_declare(absent, "fanout")
    [fallback] = bound_queues(channel, names, absent, [""])
    channel.basic_publish(main, "unknown", b"kept", mandatory=True)
    assert take(channel, fallback) == [b"kept"]


@pytest.mark.parametrize("value", [1, True, {"a": "b"}])
def test_alternate_exchange_must_be_a_string(channel, names, value):
    with refused(406, "alternate-exchange"):
        channel.exchange_declare(
            names.exchange(), "direct", arguments={"alternate-exchange": value}
        )
