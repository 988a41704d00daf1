"""RabbitMQ's management API as its clients use it, at the broker under test or at MANAGEMENT_URL."""

import base64
import http.client
import json
import os
from urllib.parse import quote, urlsplit

OTHER_URL = os.environ.get("MANAGEMENT_URL")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Management:
    """One user's way in."""

    def __init__(self, host, port, user="guest", password="guest", token=None):
        self.host, self.port = host, port
        self.user, self.password = user, password
        both = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.authorization = f"Bearer {token}" if token else f"Basic {both}"

    @classmethod
    def of(cls, server, **user):
        if OTHER_URL:
            parts = urlsplit(OTHER_URL)
            return cls(parts.hostname, parts.port or 15672, **user)
        return cls(server.host, server.http_port, **user)

    def as_user(self, user, password):
        return Management(self.host, self.port, user, password)

    def ask(self, method, path, body=None, raw=None, headers=None):
        """`path` without `/api`; `body` becomes JSON."""
        prefix = "" if path.startswith("/v1/") else "/api"
        data = json.dumps(body).encode() if body is not None else raw
        headers = {"Authorization": self.authorization, **(headers or {})}
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, prefix + path, data, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path):
        answer = self.ask("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.json

    def put(self, path, body=None):
        return self.ask("PUT", path, body).status

    def post(self, path, body=None, headers=None):
        return self.ask("POST", path, body, headers=headers)

    def delete(self, path, headers=None):
        return self.ask("DELETE", path, headers=headers).status


def part(text):
    """A text as a part of a path."""
    return quote(text, safe="")
