"""Tutorial 2: works on one task after the other until Ctrl-C."""

import os
import time

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.queue_declare(queue="task_queue", durable=True, arguments={"x-queue-type": "quorum"})


def callback(ch, method, properties, body):
    print(f"received {body.decode()}", flush=True)
    time.sleep(body.count(b".") / 10)
    print(f"done {body.decode()}", flush=True)
    ch.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="task_queue", on_message_callback=callback)

print("waiting for tasks, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
