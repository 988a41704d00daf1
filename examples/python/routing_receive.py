"""Prints the alerts of the severities named: routing_receive.py warning error."""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")
severities = sys.argv[1:] or ["info", "warning", "error"]

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.exchange_declare("alerts", "direct")
queue = channel.queue_declare("", exclusive=True).method.queue
for severity in severities:
    channel.queue_bind(queue, "alerts", routing_key=severity)


def on_alert(_channel, method, _properties, body):
    print(f"{method.routing_key}: {body.decode()}", flush=True)


channel.basic_consume(queue, on_alert, auto_ack=True)
print(f"waiting for {', '.join(severities)}, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
