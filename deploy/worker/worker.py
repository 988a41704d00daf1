"""A worker as one would run it beside the broker: takes letters from a queue, one at a time, and
acknowledges each once its work is done. It comes back when the broker was away, and stops when told.
"""

import os
import signal
import sys
import time

import pika

QUEUE = "letters"
AGAIN_SECONDS = 2


def work(body):
    """What this worker is for. It may be run again for the same letter: see `redelivered`."""
    print(f"delivered: {body.decode(errors='replace')}", flush=True)


def on_letter(channel, method, _properties, body):
    try:
        work(body)
    except Exception as error:
        # Back into its place, for another try.
        print(f"failed: {error}", flush=True)
        channel.basic_nack(method.delivery_tag, requeue=True)
    else:
        channel.basic_ack(method.delivery_tag)


def serve(parameters):
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(QUEUE, on_letter)
        print(f"waiting for {QUEUE}", flush=True)
        channel.start_consuming()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    parameters = pika.ConnectionParameters(
        host=os.environ.get("AMQP_HOST", "127.0.0.1"),
        credentials=pika.PlainCredentials(
            os.environ.get("AMQP_USER", "guest"), os.environ.get("AMQP_PASSWORD", "guest")
        ),
        client_properties={"connection_name": "letter worker"},
    )
    while True:
        try:
            serve(parameters)
        except pika.exceptions.ConnectionClosedByBroker as error:
            print(f"the broker hung up: {error.reply_text}", flush=True)
        except pika.exceptions.AMQPConnectionError as error:
            print(f"no broker: {error!r}", flush=True)
        time.sleep(AGAIN_SECONDS)


if __name__ == "__main__":
    main()
