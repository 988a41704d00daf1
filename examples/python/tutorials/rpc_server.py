"""Tutorial 6: answers with Fibonacci numbers until Ctrl-C."""

import os

import pika

url = os.environ.get("AMQP_URL", "amqp://localhost")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()

channel.queue_declare(queue="rpc_queue")


def fibonacci(n):
    this, following = 0, 1
    for _ in range(n):
        this, following = following, this + following
    return this


def on_request(ch, method, props, body):
    n = int(body)
    answer = fibonacci(n)
    print(f"fibonacci({n}) = {answer}", flush=True)
    ch.basic_publish(
        exchange="",
        routing_key=props.reply_to,
        properties=pika.BasicProperties(correlation_id=props.correlation_id),
        body=str(answer),
    )
    ch.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="rpc_queue", on_message_callback=on_request)

print("waiting for requests, Ctrl-C ends", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    print("bye")
