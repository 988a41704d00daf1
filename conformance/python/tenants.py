"""Users and virtual hosts of a test's own: from a definitions file on Postroom, through its HTTP API
on RabbitMQ (at CONFORMANCE_HTTP_URL, by default port 15672 of the broker's host)."""

import base64
import hashlib
import json
import os
import urllib.request
from urllib.parse import quote, urlsplit

import pika

from broker import Postroom

SALT = b"\x01\x02\x03\x04"


def rabbitmq_hash(password, algorithm="sha256"):
    """A hash as RabbitMQ exports it."""
    digest = hashlib.new(algorithm, SALT + password.encode()).digest()
    return base64.b64encode(SALT + digest).decode()


def user(name, password=None, tags=(), algorithm="sha256"):
    """A user of a definitions file."""
    return {
        "name": name,
        "password_hash": "" if password is None else rabbitmq_hash(password, algorithm),
        "hashing_algorithm": f"rabbit_password_hashing_{algorithm}",
        "tags": list(tags),
    }


def permission(name, vhost, configure=".*", write=".*", read=".*"):
    return {"user": name, "vhost": vhost, "configure": configure, "write": write, "read": read}


class HttpApi:
    """RabbitMQ's own way to make users."""

    def __init__(self, server):
        url = os.environ.get("CONFORMANCE_HTTP_URL", f"http://{server.host}:15672")
        login = urlsplit(server.url)
        self.url = f"{url}/api"
        text = f"{login.username or 'guest'}:{login.password or 'guest'}"
        self.authorization = "Basic " + base64.b64encode(text.encode()).decode()

    def call(self, method, *path, body=None):
        request = urllib.request.Request(
            "/".join([self.url, *(quote(part, safe="") for part in path)]),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": self.authorization},
        )
        with urllib.request.urlopen(request) as response:
            return response.read()

    def make(self, definitions):
        self.call("POST", "definitions", body=definitions)

    def remove(self, definitions):
        for vhost in definitions.get("vhosts", []):
            self.call("DELETE", "vhosts", vhost["name"])
        for known in definitions.get("users", []):
            self.call("DELETE", "users", known["name"])


class Tenants:
    """A broker with definitions, and connections to it that are closed at the end."""

    def __init__(self, server):
        self.server = server
        self.opened = []

    def connect(self, name, password, vhost="/", **settings):
        connection = pika.BlockingConnection(
            pika.ConnectionParameters(
                self.server.host,
                self.server.port,
                vhost,
                pika.PlainCredentials(name, password),
                connection_attempts=1,
                **settings,
            )
        )
        self.opened.append(connection)
        return connection

    def close(self):
        for connection in self.opened:
            if connection.is_open:
                connection.close()


def write(folder, definitions, name="definitions.json"):
    path = folder / name
    path.write_text(definitions if isinstance(definitions, str) else json.dumps(definitions))
    return path


def serving(server, folder, definitions):
    """A generator of one `Tenants`: on RabbitMQ beside what is there, else a Postroom of its own."""
    if server.is_postroom:
        own = Postroom(folder, ["--definitions", write(folder, definitions)]).start()
        tenants = Tenants(own)
        yield tenants
        tenants.close()
        status = own.stop()
        assert status == 0, f"postroom ended with {status}\n{own.log_tail()}"
        return
    api = HttpApi(server)
    api.make(definitions)
    tenants = Tenants(server)
    try:
        yield tenants
    finally:
        tenants.close()
        api.remove(definitions)
