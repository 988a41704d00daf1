"""Puts parcels to be sorted into the durable queue `parcels`, and waits for every confirm."""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")
count = int(sys.argv[1]) if len(sys.argv) > 1 else 5

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.queue_declare("parcels", durable=True)
# From here on basic_publish returns only when the broker has the message on disk.
channel.confirm_delivery()
for number in range(1, count + 1):
    channel.basic_publish(
        exchange="",
        routing_key="parcels",
        body=f"parcel {number}",
        properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
        mandatory=True,
    )
print(f"{count} parcels are safe")
connection.close()
