"""Reports one alert with its severity: routing_send.py error "Printer on fire"."""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")
severity = sys.argv[1] if len(sys.argv) > 1 else "info"
text = " ".join(sys.argv[2:]) or "All is well"

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.exchange_declare("alerts", "direct")
channel.basic_publish(exchange="alerts", routing_key=severity, body=text)
print(f"reported as {severity}")
connection.close()
