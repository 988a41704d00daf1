"""Tutorial 5: tells something under a key of words: emit_log_topic.py roof.critical "it leaks"."""

import os
import sys

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.exchange_declare(exchange="topic_logs", exchange_type="topic")

routing_key = sys.argv[1] if len(sys.argv) > 1 else "anonymous.info"
message = " ".join(sys.argv[2:]) or "nothing new"
channel.basic_publish(exchange="topic_logs", routing_key=routing_key, body=message)
print(f"sent {routing_key}: {message}")
connection.close()
