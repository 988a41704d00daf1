"""Pins one notice to the exchange `notices`; everybody who listens gets a copy."""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")
notice = " ".join(sys.argv[1:]) or "The post room is open"

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.exchange_declare("notices", "fanout")
channel.basic_publish(exchange="notices", routing_key="", body=notice)
print("pinned the notice")
connection.close()
