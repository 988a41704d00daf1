"""Prints the readings whose key matches a pattern: topics_receive.py "*.oslo.#" "#.rain".

A key is words with dots between. In a pattern * stands for one word, # for any number of them.
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")
patterns = sys.argv[1:] or ["#"]

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.exchange_declare("weather", "topic")
queue = channel.queue_declare("", exclusive=True).method.queue
for pattern in patterns:
    channel.queue_bind(queue, "weather", routing_key=pattern)


def on_reading(_channel, method, _properties, body):
    print(f"{method.routing_key}: {body.decode()}", flush=True)


channel.basic_consume(queue, on_reading, auto_ack=True)
print(f"waiting for {' and '.join(patterns)}, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
