"""Tutorial 3: tells something to everybody who listens."""

import os
import sys

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.exchange_declare(exchange="logs", exchange_type="fanout")

message = " ".join(sys.argv[1:]) or "nothing new"
channel.basic_publish(exchange="logs", routing_key="", body=message)
print(f"sent {message}")
connection.close()
