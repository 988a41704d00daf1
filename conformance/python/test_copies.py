"""Copies: the headers CC and BCC name further routing keys (sender-selected distribution)."""

import pika
import pytest

from steps import publish_and_wait, refused, take


def test_cc_and_bcc_are_further_keys(channel, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "direct")
    queues = {key: names.queue() for key in ("key", "cc", "bcc", "other")}
    for key, queue in queues.items():
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange, key)
    headers = {"CC": ["cc", "key"], "BCC": ["bcc"], "kept": 1}
    publish_and_wait(
        channel, exchange, "key", b"m", properties=pika.BasicProperties(headers=headers)
    )
    for key, queue in queues.items():
        if key == "other":
            assert take(channel, queue) == []
            continue
        method, properties, _ = channel.basic_get(queue, auto_ack=True)
        assert method.routing_key == "key"
        assert properties.headers == {"CC": ["cc", "key"], "kept": 1}
        assert take(channel, queue) == [], "one copy"


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize(
    "value, type_name", [("not an array", "longstr"), (7, "signedint"), (None, "void")]
)
def test_cc_must_be_an_array(channel, names, header, value, type_name):
    queue = names.queue()
    channel.queue_declare(queue)
    text = f'invalid message: {{unacceptable_type_in_header,"{header}",{type_name}}}'
    with refused(406, text):
        properties = pika.BasicProperties(headers={header: value})
        publish_and_wait(channel, "", queue, b"m", properties=properties)


@pytest.mark.parametrize("size", [0, 1, 200_000])
def test_copies_of_any_size(channel, names, size):
    queues = [names.queue() for _ in range(3)]
    for queue in queues:
        channel.queue_declare(queue)
    sent = pika.BasicProperties(headers={"CC": [queues[1], 7], "BCC": queues[1:]}, app_id="app")
    publish_and_wait(channel, "", queues[0], b"m" * size, properties=sent)
    for queue in queues:
        _, properties, body = channel.basic_get(queue, auto_ack=True)
        assert (len(body), properties.app_id) == (size, "app")
        assert properties.headers == {"CC": [queues[1], 7]}
        assert take(channel, queue) == [], "one copy"


def test_mandatory_counts_copies_and_returns_no_bcc(connection, channel, names):
    queue = names.queue()
    channel.queue_declare(queue)
    returned = []
    channel.add_on_return_callback(lambda _channel, _method, *rest: returned.append(rest[0]))
    for headers in ({"BCC": [queue]}, {"CC": [names.queue()], "BCC": [names.queue()]}):
        properties = pika.BasicProperties(headers=headers)
        channel.basic_publish("", "nowhere", b"m", properties, mandatory=True)
    channel.queue_declare(queue, passive=True)
    connection.process_data_events(0)
    assert [list(properties.headers) for properties in returned] == [["CC"]]
    assert take(channel, queue, 1) == [b"m"]


def test_alternate_exchange_gets_what_no_copy_reached(channel, names):
    alternate, exchange = names.exchange(), names.exchange()
    channel.exchange_declare(alternate, "direct")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    bound, other = names.queue(), names.queue()
    for queue, source, key in ((bound, exchange, "known"), (other, alternate, "other")):
        channel.queue_declare(queue)
        channel.queue_bind(queue, source, key)
    for body, copies in ((b"1", ["known", "other"]), (b"2", ["other"]), (b"3", ["neither"])):
        properties = pika.BasicProperties(headers={"CC": copies})
        publish_and_wait(channel, exchange, "nothing", body, properties=properties)
    assert take(channel, bound, 1) == [b"1"]
    assert take(channel, other, 1) == [b"2"]
