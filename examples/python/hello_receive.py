"""Prints every greeting that comes to the queue `hello`."""

import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
# Whoever comes first declares the queue; the other finds it there.
channel.queue_declare("hello", auto_delete=True)


def on_greeting(_channel, _method, _properties, body):
    print(f"received: {body.decode()}", flush=True)


channel.basic_consume("hello", on_greeting, auto_ack=True)
print("waiting for greetings, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
