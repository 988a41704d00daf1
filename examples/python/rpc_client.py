"""Asks for the postage of each weight given, and waits for the answers: rpc_client.py 20 750."""

import os
import sys
import uuid

import pika

URL = os.environ.get("AMQP_URL", "amqp://localhost")


class PostageClient:
    """Sends questions, and takes the answers from an exclusive queue of its own."""

    def __init__(self):
        self.connection = pika.BlockingConnection(pika.URLParameters(URL))
        self.channel = self.connection.channel()
        self.replies = self.channel.queue_declare("", exclusive=True).method.queue
        self.answers = {}
        self.channel.basic_consume(self.replies, self.on_answer, auto_ack=True)

    def on_answer(self, _channel, _method, properties, body):
        self.answers[properties.correlation_id] = int(body)

    def ask(self, grams, seconds=10):
        question = str(uuid.uuid4())
        self.channel.basic_publish(
            exchange="",
            routing_key="postage",
            properties=pika.BasicProperties(reply_to=self.replies, correlation_id=question),
            body=str(grams),
        )
        while question not in self.answers and seconds > 0:
            self.connection.process_data_events(time_limit=0.1)
            seconds -= 0.1
        if question not in self.answers:
            sys.exit("nobody answered: is rpc_server.py running?")
        return self.answers.pop(question)


client = PostageClient()
for grams in map(int, sys.argv[1:] or ["20"]):
    print(f"{grams} g cost {client.ask(grams)}")
client.connection.close()
