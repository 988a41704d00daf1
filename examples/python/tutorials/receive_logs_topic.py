"""Tutorial 5: prints what is told under keys of the patterns given, until Ctrl-C."""

import os
import sys

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.exchange_declare(exchange="topic_logs", exchange_type="topic")

result = channel.queue_declare(queue="", exclusive=True)
queue_name = result.method.queue

binding_keys = sys.argv[1:] or sys.exit("which patterns?")
for binding_key in binding_keys:
    channel.queue_bind(exchange="topic_logs", queue=queue_name, routing_key=binding_key)


def callback(ch, method, properties, body):
    print(f"{method.routing_key}: {body.decode()}", flush=True)


channel.basic_consume(queue=queue_name, on_message_callback=callback, auto_ack=True)

print("waiting for logs, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
