"""Tutorial 1: prints greetings until Ctrl-C."""

import os

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.queue_declare(queue="hello")


def callback(ch, method, properties, body):
    print(f"received {body.decode()}", flush=True)


channel.basic_consume(queue="hello", on_message_callback=callback, auto_ack=True)

print("waiting for messages, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
