"""Answers questions for the postage of a weight in grams, sent to the queue `postage`."""

import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")

connection = pika.BlockingConnection(pika.URLParameters(URL))
channel = connection.channel()
channel.queue_declare("postage", auto_delete=True)
channel.basic_qos(prefetch_count=1)


def postage_cents(grams):
    """A letter costs 100, and every 100 grams begun after the first 50 another 80."""
    return 100 + max(0, -(-(grams - 50) // 100)) * 80


def on_question(channel, method, properties, body):
    answer = postage_cents(int(body))
    # The question says where the answer goes, and the id tells which question it answers.
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
        body=str(answer),
    )
    print(f"{int(body)} g cost {answer}", flush=True)
    channel.basic_ack(method.delivery_tag)


channel.basic_consume("postage", on_question)
print("waiting for questions, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
