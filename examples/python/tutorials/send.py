"""Tutorial 1: sends a greeting."""

import os

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.queue_declare(queue="hello")

channel.basic_publish(exchange="", routing_key="hello", body="Hello World!")
print("sent Hello World!")
connection.close()
