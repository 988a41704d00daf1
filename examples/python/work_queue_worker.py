"""Sorts parcels from the queue `parcels`, one at a time. Start several to share the work."""

import os
import time

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.queue_declare("parcels", durable=True)
# One parcel in hand at a time: a busy worker gets no more while another is idle.
channel.basic_qos(prefetch_count=1)


def on_parcel(channel, method, _properties, body):
    time.sleep(0.02)
    print(f"sorted {body.decode()}", flush=True)
    # Only now may the broker forget it. Had this process died before, another would get it.
    channel.basic_ack(method.delivery_tag)


channel.basic_consume("parcels", on_parcel)
print("waiting for parcels, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
