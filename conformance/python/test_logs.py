"""The log: text or JSON, one event a line, and never what a message carries or what proves who
somebody is, at any level."""

import base64
import json
import secrets
import subprocess

import pika
import pytest
import requests

from broker import binary
from steps import parameters

pytestmark = pytest.mark.postroom_only(reason="it is about our log")


def tell(server):
    """A life with telling payloads and passwords; what must not stand in the log, and what must."""
    secret = {name: f"telling{secrets.token_hex(8)}" for name in ("body", "header", "wrong", "password")}
    url = f"http://{server.host}:{server.http_port}"
    admin = {"auth": ("guest", "guest"), "timeout": 30}

    def ok(answer):
        assert answer.status_code < 300, answer.text
        return answer

    user = {"password": secret["password"], "tags": "administrator"}
    ok(requests.put(f"{url}/api/users/worker", json=user, **admin))
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    ok(requests.put(f"{url}/api/permissions/%2F/worker", json=everything, **admin))
    made = ok(requests.post(f"{url}/v1/tokens", json={"name": "robot", "scopes": ["read"]}, **admin))
    secret["token"] = made.json()["secret"]
    bearer = {"Authorization": f"Bearer {secret['token']}"}
    ok(requests.get(f"{url}/v1/queues", headers=bearer, timeout=30))
    requests.get(f"{url}/v1/queues", headers={"Authorization": f"Bearer {secret['wrong']}"}, timeout=30)
    assert requests.get(f"{url}/v1/queues", auth=("worker", secret["wrong"]), timeout=30).status_code == 401

    login = pika.PlainCredentials("worker", secret["password"])
    connection = pika.BlockingConnection(parameters(server.url, credentials=login))
    connection.update_secret(secret["password"], "it is old")
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("q", durable=True)
    properties = pika.BasicProperties(headers={"x": secret["header"]}, delivery_mode=2)
    channel.basic_publish("", "q", secret["body"].encode(), properties)
    channel.basic_nack(channel.basic_get("q")[0].delivery_tag)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.queue_declare("q", durable=False)
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        wrong = pika.PlainCredentials("worker", secret["wrong"])
        pika.BlockingConnection(parameters(server.url, credentials=wrong))
    message = {"body": secret["body"], "headers": {"x": secret["header"]}}
    ok(requests.post(f"{url}/v1/queues/q/messages", json=message, **admin))
    leased = ok(requests.post(f"{url}/v1/queues/q/lease", **admin)).json()["messages"]
    error = {"type": "T", "message": secret["body"]}
    failed = {"fail": [{"lease": leased[0]["lease"], "error": error}]}
    ok(requests.post(f"{url}/v1/leases", json=failed, **admin))
    half, is_json = f'{{"body": "{secret["body"]}"', {"Content-Type": "application/json"}
    refused = requests.post(f"{url}/v1/queues/q/messages", data=half, headers=is_json, **admin)
    assert refused.status_code == 400
    connection.close()
    assert server.stop() == 0
    return secret


def check_silence(log, secret):
    for name, text in secret.items():
        forms = [text, base64.b64encode(text.encode()).decode().rstrip("=")[:-1], text.encode().hex()]
        forms.append(base64.b64encode(f"worker:{text}".encode()).decode().rstrip("=")[:-1])
        for form in forms:
            assert form not in log, f"the {name} is in the log: {log[max(0, log.find(form) - 200):][:400]}"


def test_json_is_one_object_a_line(start_own):
    server = start_own("--log", "trace", "--log-format", "json")
    secret = tell(server)
    log = server.log.read_text()
    check_silence(log, secret)
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines and all({"timestamp", "level", "target", "message"} <= set(line) for line in lines)
    by_message = {line["message"]: line for line in lines}
    assert by_message["ready"]["amqp"] == f"127.0.0.1:{server.port}"
    assert by_message["stopped"]["level"] == "INFO"
    refused = by_message["HTTP login refused"]
    assert (refused["user"], refused["peer"], refused["level"]) == ("worker", "127.0.0.1", "WARN")
    assert by_message["HTTP token refused"]["level"] == "WARN"
    assert by_message["AMQP login refused"]["user"] == "worker"
    assert by_message["AMQP login refused"]["peer"].startswith("127.0.0.1:")
    assert by_message["AMQP connection opened"]["level"] == "INFO"
    acts = [line for line in lines if line["message"] == "HTTP act"]
    assert acts[0]["method"] == "PUT"
    assert acts[0]["path"] == "/api/users/worker"
    assert (acts[0]["user"], acts[0]["status"], acts[0]["level"]) == ("guest", 201, "INFO")
    assert ("POST", "/v1/tokens") in {(line["method"], line["path"]) for line in acts}
    asked = [line for line in lines if line["message"] == "HTTP request"]
    assert {line["level"] for line in asked} == {"DEBUG"}
    assert {"/v1/queues/q/messages", "/v1/queues/q/lease", "/v1/leases"} <= {line["path"] for line in asked}


def test_text_tells_no_more(start_own):
    server = start_own("--log", "trace")
    secret = tell(server)
    log = server.log.read_text()
    check_silence(log, secret)
    assert "Postroom" in log
    assert 'HTTP act method=PUT path="/api/users/worker" user="guest"' in log
    with pytest.raises(json.JSONDecodeError):
        json.loads(log.splitlines()[-1])


def test_the_usual_log_has_no_line_for_each_request(start_own):
    server = start_own()
    tell(server)
    log = server.log.read_text()
    assert "HTTP act" in log
    assert "HTTP request" not in log


def test_an_end_before_the_start_is_json_too(start_own, tmp_path):
    start_own("--log-format", "json")
    [folder] = tmp_path.glob("own-*/data")
    again = [binary(), "serve", "--data-dir", folder, "--amqp-port", "0", "--http-port", "0", "--log-format", "json"]
    done = subprocess.run(again, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    last = json.loads(done.stderr.splitlines()[-1])
    assert (last["level"], last["message"]) == ("ERROR", "ended")
    assert "another" in last["error"] or "process" in last["error"]
