"""Prints every notice, from now on, that is pinned to the exchange `notices`."""

import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.exchange_declare("notices", "fanout")
# A queue of our own, named by the broker and gone when we are.
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, "notices")


def on_notice(_channel, _method, _properties, body):
    print(f"notice: {body.decode()}", flush=True)


channel.basic_consume(queue, on_notice, auto_ack=True)
print("waiting for notices, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
