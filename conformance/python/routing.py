"""Where messages go: queues bound to an exchange, and which of them a message reaches."""

import pika

from steps import publish_and_wait, take


def routed(channel, exchange, key, queues, headers=None):
    """Which of the queues a message reaches, as a set of their places."""
    properties = pika.BasicProperties(headers=headers)
    publish_and_wait(channel, exchange, key, b"m", properties=properties)
    reached = set()
    for place, queue in enumerate(queues):
        copies = take(channel, queue)
        assert len(copies) <= 1, "one message, one copy"
        if copies:
            reached.add(place)
    return reached


def bound_queues(channel, names, exchange, bindings):
    """A queue per binding; a binding is a key, or a table of arguments."""
    queues = []
    for binding in bindings:
        queue = names.queue()
        channel.queue_declare(queue)
        if isinstance(binding, dict):
            channel.queue_bind(queue, exchange, "", arguments=binding)
        else:
            channel.queue_bind(queue, exchange, binding)
        queues.append(queue)
    return queues
