"""Tutorial 2: puts a task into the work queue; every dot is a tenth of a second of work."""

import os
import sys

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.queue_declare(queue="task_queue", durable=True, arguments={"x-queue-type": "quorum"})

message = " ".join(sys.argv[1:]) or "a task."
channel.basic_publish(
    exchange="",
    routing_key="task_queue",
    body=message,
    properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
)
print(f"sent {message}")
connection.close()
