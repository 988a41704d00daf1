"""Reports one reading of a weather station: topics_send.py norway.oslo.wind "12 m/s"."""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")
station = sys.argv[1] if len(sys.argv) > 1 else "norway.oslo.wind"
reading = " ".join(sys.argv[2:]) or "calm"

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.exchange_declare("weather", "topic")
channel.basic_publish(exchange="weather", routing_key=station, body=reading)
print(f"reported for {station}")
connection.close()
