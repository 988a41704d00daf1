"""Tutorial 4: tells something of a severity: emit_log_direct.py error "the roof leaks"."""

import os
import sys

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.exchange_declare(exchange="direct_logs", exchange_type="direct")

severity = sys.argv[1] if len(sys.argv) > 1 else "info"
message = " ".join(sys.argv[2:]) or "nothing new"
channel.basic_publish(exchange="direct_logs", routing_key=severity, body=message)
print(f"sent {severity}: {message}")
connection.close()
