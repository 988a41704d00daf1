"""Sends one greeting to the queue `hello`."""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")
name = sys.argv[1] if len(sys.argv) > 1 else "world"

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.queue_declare("hello", auto_delete=True)
# The default exchange takes the routing key for the name of a queue.
channel.basic_publish(exchange="", routing_key="hello", body=f"Hello, {name}!")
print(f"sent a greeting to {name}")
connection.close()
