"""Queue arguments: which values each type of queue takes, how others are refused, what is equal."""

import struct

import pytest

import wire
from raw import RawConnection
from steps import refused

QUORUM = {"x-queue-type": "quorum"}
CLASSIC = {"x-queue-type": "classic"}
TYPES = {"classic": CLASSIC, "quorum": QUORUM}

TOO_LARGE = 2**62
MS_MAX = 10 * 365 * 86_400 * 1000  # ten years, which a timer may still be set to


@pytest.fixture(scope="module")
def declared(session_server):
    """Declares a queue on one raw connection: the refusal's text, or None; the queue is deleted."""
    connection = RawConnection.open(session_server.url)

    def declare(name, arguments, durable=True, keep=False, **settings):
        connection.channel(1)
        connection.send(
            "queue.declare", 1, queue=name, durable=durable, arguments=arguments, **settings
        )
        answer = connection.next_method()
        if answer.name == "channel.close":
            connection.send("channel.close-ok", 1)
            assert answer.reply_code == 406, answer.reply_text
            assert (answer.class_id, answer.method_id) == (50, 10)
            return answer.reply_text
        assert answer.name == "queue.declare-ok", answer.fields
        if not keep:
            connection.call("queue.delete", 1, queue=name)
        connection.call("channel.close", 1, reply_code=200)
        return None

    yield declare
    connection.close()


def invalid(name, argument, why):
    return f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{name}' in vhost '/'{why}"


# --- values --------------------------------------------------------------------------------------

WRONG_NUMBERS = [
    (-1, ": {value_negative,-1}"),
    ("10", ': "expected integer, got longstr"'),
    (1.5, ': "expected integer, got double"'),
    (True, ': "expected integer, got bool"'),
    (None, ': "expected integer, got void"'),
    ([1], ': "expected integer, got array"'),
    ({"a": 1}, ': "expected integer, got table"'),
    (b"1", ': "expected integer, got binary"'),
]
NUMBERS = {
    "classic": [
        "x-message-ttl",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
        "x-queue-version",
    ],
    "quorum": [
        "x-message-ttl",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-quorum-initial-group-size",
    ],
}


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_of_the_wrong_kind(declared, names, kind):
    queue = names.queue()
    for argument in NUMBERS[kind]:
        for value, why in WRONG_NUMBERS:
            text = declared(queue, TYPES[kind] | {argument: value})
            assert text == invalid(queue, argument, why)


GOOD = [
    *[("classic", argument, 1) for argument in NUMBERS["classic"]],
    *[("quorum", argument, 1) for argument in NUMBERS["quorum"]],
    *[
        (kind, argument, value)
        for kind in TYPES
        for argument in ["x-max-length", "x-max-length-bytes"]
        for value in [0, 2**31, 2**32 + 1, TOO_LARGE]
    ],
    *[
        (kind, argument, value)
        for kind in TYPES
        for argument in ["x-message-ttl", "x-expires"]
        for value in [60_000, 2**31, 2**32 + 1, MS_MAX]
    ],
    *[(kind, "x-message-ttl", 0) for kind in TYPES],
    *[("classic", "x-max-priority", value) for value in [0, 10, 255]],
    ("classic", "x-queue-version", 2),
    *[
        (kind, "x-overflow", value)
        for kind in TYPES
        for value in ["drop-head", "reject-publish", "reject-publish-dlx"]
    ],
    *[("classic", "x-queue-mode", value) for value in ["default", "lazy"]],
    *[("quorum", "x-queue-leader-locator", value) for value in ["client-local", "balanced"]],
    *[("quorum", "x-dead-letter-strategy", value) for value in ["at-most-once", "at-least-once"]],
    *[(kind, "x-single-active-consumer", value) for kind in TYPES for value in [True, False]],
    *[(kind, "x-dead-letter-exchange", value) for kind in TYPES for value in ["", "not-there"]],
    *[("quorum", "x-delivery-limit", value) for value in [0, 1, 2**31, -1]],
    *[(kind, "x-consumer-timeout", 60_000) for kind in TYPES],
]


@pytest.mark.parametrize("kind", TYPES)
def test_good_values(declared, names, kind):
    queue = names.queue()
    for each, argument, value in GOOD:
        if each == kind:
            text = declared(queue, TYPES[kind] | {argument: value})
            assert text is None, f"{argument} = {value}: {text}"


def test_good_values_of_a_queue_that_names_no_type(declared, names):
    queue = names.queue()
    for kind, argument, value in GOOD:
        if kind == "classic":
            text = declared(queue, {argument: value})
            assert text is None, f"{argument} = {value}: {text}"


BAD = [
    *[
        (kind, argument, TOO_LARGE, f": {{value_too_large,{TOO_LARGE}}}")
        for kind in TYPES
        for argument in ["x-message-ttl", "x-expires"]
    ],
    *[(kind, "x-expires", 0, ": {value_zero,0}") for kind in TYPES],
    ("classic", "x-max-priority", 256, ": {max_value_exceeded,256}"),
    ("classic", "x-queue-version", 0, ": \"unsupported queue version '0'\""),
    ("classic", "x-queue-mode", "odd", ": \"unsupported queue mode 'odd'\""),
    ("classic", "x-queue-mode", 1, ": {unacceptable_type,signedint}"),
    ("quorum", "x-quorum-initial-group-size", 0, ": {value_zero,0}"),
    ("quorum", "x-queue-leader-locator", 1, ": {unacceptable_type,signedint}"),
    ("quorum", "x-dead-letter-strategy", "odd", ": invalid_dlx_strategy"),
    ("quorum", "x-dead-letter-strategy", True, ": {unacceptable_type,bool}"),
    *[(kind, "x-overflow", "odd", ": invalid_overflow") for kind in TYPES],
    *[(kind, "x-overflow", "", ": invalid_overflow") for kind in TYPES],
    *[(kind, "x-overflow", 1, ": {unacceptable_type,signedint}") for kind in TYPES],
    *[(kind, "x-overflow", ["a"], ": {unacceptable_type,array}") for kind in TYPES],
    *[(kind, "x-overflow", b"drop-head", ": {unacceptable_type,binary}") for kind in TYPES],
    *[
        (kind, "x-single-active-consumer", value, f": {{unacceptable_type,{type_}}}")
        for kind in TYPES
        for value, type_ in [(1, "signedint"), ("true", "longstr"), (None, "void")]
    ],
    *[
        (kind, "x-dead-letter-routing-key", value, why)
        for kind in TYPES
        for value, why in [
            ("key", ": routing_key_but_no_dlx_defined"),
            (1, ": {unacceptable_type,signedint}"),
        ]
    ],
]


@pytest.mark.parametrize("kind", TYPES)
def test_bad_values(declared, names, kind):
    queue = names.queue()
    for each, argument, value, why in BAD:
        if each == kind:
            text = declared(queue, TYPES[kind] | {argument: value})
            assert text == invalid(queue, argument, why)


@pytest.mark.parametrize("kind", TYPES)
def test_dead_letter_exchange_of_the_wrong_type(declared, names, kind):
    queue = names.queue()
    for value, type_ in [(1, "signedint"), (True, "bool"), (None, "void"), (["a"], "array")]:
        text = declared(queue, TYPES[kind] | {"x-dead-letter-exchange": value})
        assert text == (
            f"PRECONDITION_FAILED - invalid type '{type_}' for arg 'x-dead-letter-exchange' "
            f"in queue '{queue}' in vhost '/'"
        )


def test_queue_type_of_no_known_name(declared, names):
    queue = names.queue()
    for value in ["odd", "", "Classic"]:
        text = declared(queue, {"x-queue-type": value})
        assert text == invalid(queue, "x-queue-type", f": \"unsupported queue type '{value}'\"")
    for value, type_ in [(1, "signedint"), (True, "bool"), (None, "void"), (["a"], "array")]:
        text = declared(queue, {"x-queue-type": value})
        assert text == invalid(queue, "x-queue-type", f": {{unacceptable_type,{type_}}}")


@pytest.mark.postroom_only(reason="RabbitMQ 3.10 takes any value for it, and acts on none of those")
def test_delivery_limit_of_the_wrong_kind(declared, names):
    queue = names.queue()
    for value in ["10", 1.5, True, None, [1]]:
        text = declared(queue, QUORUM | {"x-delivery-limit": value})
        assert text.startswith(invalid(queue, "x-delivery-limit", ": ")), text


@pytest.mark.postroom_only(reason="RabbitMQ 3.10 does not know the argument; 3.12 does")
@pytest.mark.parametrize("kind", TYPES)
def test_consumer_timeout_of_the_wrong_kind(declared, names, kind):
    queue = names.queue()
    for value in [-1, "10", True, [1]]:
        text = declared(queue, TYPES[kind] | {"x-consumer-timeout": value})
        assert text.startswith(invalid(queue, "x-consumer-timeout", ": ")), text


# To accept these would be a lie.
REFUSED_BY_TYPE = {"classic": ["x-delivery-limit"], "quorum": ["x-max-priority"]}

# These are hints, or ask for what is done anyway; RabbitMQ refuses them all the same.
HINTS_OF_ANOTHER_TYPE = {
    "classic": {
        "x-dead-letter-strategy": "at-least-once",
        "x-max-in-memory-length": 1,
        "x-max-in-memory-bytes": 1,
        "x-quorum-initial-group-size": 3,
    },
    "quorum": {
        "x-queue-mode": "lazy",
        "x-queue-version": 2,
        "x-queue-master-locator": "min-masters",
    },
}


@pytest.mark.parametrize("kind", TYPES)
def test_arguments_of_another_type_are_refused(declared, names, kind):
    queue = names.queue()
    for argument in REFUSED_BY_TYPE[kind]:
        for value in [1, "odd", None]:
            text = declared(queue, TYPES[kind] | {argument: value})
            assert text == invalid(queue, argument, f" of queue type rabbit_{kind}_queue")


def test_a_queue_that_names_no_type_refuses_as_a_classic_one(declared, names):
    queue = names.queue()
    for argument in REFUSED_BY_TYPE["classic"]:
        text = declared(queue, {argument: 1})
        assert text == invalid(queue, argument, " of queue type rabbit_classic_queue")


@pytest.mark.parametrize("kind", TYPES)
def test_hints_of_another_type(server, declared, names, kind):
    queue = names.queue()
    for argument, value in HINTS_OF_ANOTHER_TYPE[kind].items():
        text = declared(queue, TYPES[kind] | {argument: value})
        if server.is_postroom:
            assert text is None
        else:
            assert text == invalid(queue, argument, f" of queue type rabbit_{kind}_queue")


@pytest.mark.parametrize("kind", TYPES)
def test_unknown_arguments_count_for_nothing(declared, names, kind):
    queue = names.queue()
    odd = {"x-odd": 1, "odd": [1, {"a": None}], "x-cancel-on-ha-failover": True}
    assert declared(queue, TYPES[kind] | odd, keep=True) is None
    assert declared(queue, TYPES[kind] | {"x-odd": 2}, keep=True) is None
    assert declared(queue, TYPES[kind]) is None


# --- equivalence ---------------------------------------------------------------------------------

# argument: a value, another one, the type the refusal names; the same for both types of queue
BOTH = {
    "x-message-ttl": (60_000, 70_000, "signedint"),
    "x-expires": (60_000, 70_000, "signedint"),
    "x-max-length": (10, 11, "signedint"),
    "x-max-length-bytes": (10, 11, "signedint"),
    "x-overflow": ("drop-head", "reject-publish", "longstr"),
    "x-dead-letter-exchange": ("a", "b", "longstr"),
    "x-single-active-consumer": (True, False, "bool"),
}
EQUIVALENCE = {
    "classic": BOTH
    | {
        "x-max-priority": (5, 6, "signedint"),
        "x-queue-mode": ("lazy", "default", "longstr"),
        "x-queue-version": (1, 2, "signedint"),
    },
    "quorum": BOTH
    | {
        "x-delivery-limit": (5, 6, "signedint"),
        "x-dead-letter-strategy": ("at-most-once", "at-least-once", "longstr"),
        "x-queue-leader-locator": ("client-local", "balanced", "longstr"),
    },
}
CASES = [(kind, argument) for kind, table in EQUIVALENCE.items() for argument in table]


def shown(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def inequivalent(queue, argument, what):
    return (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': "
        f"received {what}"
    )


@pytest.mark.parametrize("kind, argument", CASES)
def test_equivalence(declared, names, kind, argument):
    one, other, type_ = EQUIVALENCE[kind][argument]
    base, with_it, without = TYPES[kind], names.queue(), names.queue()

    assert declared(with_it, base | {argument: one}, keep=True) is None
    assert declared(with_it, base | {argument: one}, keep=True) is None, "the same is equal"
    assert declared(with_it, base | {argument: other}, keep=True) == inequivalent(
        with_it, argument, f"'{shown(other)}' but current is '{shown(one)}'"
    )
    assert declared(with_it, base, keep=True) == inequivalent(
        with_it,
        argument,
        f"none but current is the value '{shown(one)}' of type '{type_}'",
    )

    assert declared(without, base, keep=True) is None
    assert declared(without, base | {argument: one}, keep=True) == inequivalent(
        without, argument, f"the value '{shown(one)}' of type '{type_}' but current is none"
    )


def test_equivalence_of_the_dead_letter_key(declared, names):
    queue = names.queue()
    given = {"x-dead-letter-exchange": "a", "x-dead-letter-routing-key": "k"}
    assert declared(queue, given, keep=True) is None
    assert declared(queue, given, keep=True) is None
    other = given | {"x-dead-letter-routing-key": "l"}
    argument = "x-dead-letter-routing-key"
    assert declared(queue, other, keep=True) == inequivalent(
        queue, argument, "'l' but current is 'k'"
    )
    assert declared(queue, {"x-dead-letter-exchange": "a"}, keep=True) == inequivalent(
        queue, argument, "none but current is the value 'k' of type 'longstr'"
    )


def test_no_type_is_the_classic_type(declared, names):
    first, second = names.queue(), names.queue()
    assert declared(first, {}, keep=True) is None
    assert declared(first, CLASSIC, keep=True) is None
    assert declared(second, CLASSIC, keep=True) is None
    assert declared(second, {}, keep=True) is None


def test_types_differ(declared, names):
    classic, quorum = names.queue(), names.queue()
    assert declared(classic, CLASSIC, keep=True) is None
    assert declared(classic, QUORUM, keep=True) == inequivalent(
        classic, "x-queue-type", "'quorum' but current is 'classic'"
    )
    assert declared(quorum, QUORUM, keep=True) is None
    assert declared(quorum, CLASSIC, keep=True) == inequivalent(
        quorum, "x-queue-type", "'classic' but current is 'quorum'"
    )
    assert declared(quorum, {}, keep=True) == inequivalent(
        quorum, "x-queue-type", "none but current is the value 'quorum' of type 'longstr'"
    )


WIDTHS = {
    "b": ">b",
    "B": ">B",
    "s": ">h",
    "u": ">H",
    "I": ">i",
    "i": ">I",
    "l": ">q",
    "L": ">q",
}


def argument_bytes(name, kind, value):
    return wire.Raw(wire.short_string(name) + kind.encode() + struct.pack(WIDTHS[kind], value))


@pytest.mark.parametrize("argument", ["x-max-length", "x-message-ttl", "x-expires"])
def test_equal_numbers_of_any_width_are_equal(declared, names, argument):
    queue = names.queue()
    assert declared(queue, {argument: 100}, keep=True) is None
    for kind in WIDTHS:
        assert declared(queue, argument_bytes(argument, kind, 100), keep=True) is None, kind
        assert "received '101' but current is '100'" in declared(
            queue, argument_bytes(argument, kind, 101), keep=True
        )


def test_a_negative_octet_is_negative(declared, names):
    queue = names.queue()
    raw = wire.Raw(wire.short_string("x-max-length") + b"b" + bytes([200]))
    assert declared(queue, raw) == invalid(queue, "x-max-length", ": {value_negative,-56}")


def test_a_number_is_not_its_string(declared, names):
    queue = names.queue()
    assert declared(queue, {"x-message-ttl": 60_000}, keep=True) is None
    assert declared(queue, {"x-message-ttl": "60000"}, keep=True) == inequivalent(
        queue, "x-message-ttl", "'60000' but current is '60000'"
    )


def test_settings_are_compared_before_arguments(declared, names):
    queue = names.queue()
    assert declared(queue, {"x-max-length": 1}, keep=True) is None
    text = declared(queue, {}, durable=False, keep=True)
    assert text == inequivalent(queue, "durable", "'false' but current is 'true'")


# --- what a quorum queue cannot be ---------------------------------------------------------------

NOT_QUORUM = [
    ({"durable": True, "auto_delete": True}, "auto-delete"),
    ({"durable": False, "exclusive": True, "auto_delete": True}, "auto-delete"),
    ({"durable": False}, "non-durable"),
    ({"durable": True, "exclusive": True}, "exclusive-owner"),
    ({"durable": False, "exclusive": True}, "exclusive-owner"),
]


@pytest.mark.parametrize("settings, property_", NOT_QUORUM)
def test_quorum_refuses(declared, names, settings, property_):
    queue = names.queue()
    text = declared(queue, QUORUM, **settings)
    assert text == (
        f"PRECONDITION_FAILED - invalid property '{property_}' for queue '{queue}' in vhost '/'"
    )


@pytest.mark.postroom_only(reason="RabbitMQ has streams")
def test_streams_are_refused_clearly(channel, names):
    queue = names.queue()
    with refused(406, "x-queue-type", "stream"):
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "stream"})
