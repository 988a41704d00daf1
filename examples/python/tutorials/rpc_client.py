"""Tutorial 6: asks for Fibonacci numbers: rpc_client.py 30."""

import os
import sys
import uuid

import pika


class FibonacciClient:
    """Asks, and waits for the answer that carries the question's correlation id."""

    def __init__(self):
        url = os.environ.get("AMQP_URL", "amqp://localhost")
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        result = self.channel.queue_declare(queue="", exclusive=True)
        self.callback_queue = result.method.queue
        self.channel.basic_consume(
            queue=self.callback_queue, on_message_callback=self.on_response, auto_ack=True
        )
        self.response = None
        self.corr_id = None

    def on_response(self, ch, method, props, body):
        if self.corr_id == props.correlation_id:
            self.response = body

    def call(self, n):
        self.response = None
        self.corr_id = str(uuid.uuid4())
        self.channel.basic_publish(
            exchange="",
            routing_key="rpc_queue",
            properties=pika.BasicProperties(
                reply_to=self.callback_queue, correlation_id=self.corr_id
            ),
            body=str(n),
        )
        while self.response is None:
            self.connection.process_data_events(time_limit=None)
        return int(self.response)


client = FibonacciClient()
for number in map(int, sys.argv[1:] or ["30"]):
    print(f"fibonacci({number}) = {client.call(number)}")
client.connection.close()
