"""Tutorial 3: prints all that is told, until Ctrl-C."""

import os

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.exchange_declare(exchange="logs", exchange_type="fanout")

result = channel.queue_declare(queue="", exclusive=True)
queue_name = result.method.queue

channel.queue_bind(exchange="logs", queue=queue_name)


def callback(ch, method, properties, body):
    print(body.decode(), flush=True)


channel.basic_consume(queue=queue_name, on_message_callback=callback, auto_ack=True)

print("waiting for logs, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
