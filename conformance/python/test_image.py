"""The container image: its files in an empty folder, in a network of its own, reached from outside
the loopback. There is a test here for whatever `deploy/Dockerfile` and `deploy/compose.yaml` say."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from broker import ROOT, START_SECONDS, binary
from image import Image, add_libraries
from net_namespace import ADDRESS, NetNamespace, why_not

IMAGE = Image(ROOT / "deploy/Dockerfile")
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
WORKER = Image(ROOT / "deploy/worker/Dockerfile")
PASSWORD = "a long: p@ssword/"

# What the build stage makes, under its names there.
BUILT = "/src/target/release/postroom"
EMPTY = "/empty"

REQUIREMENTS = "conformance/python/requirements.txt"

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=str(why_not())),
    pytest.mark.skipif("CONFORMANCE_URL" in os.environ, reason="it is about Postroom's image"),
]


@pytest.fixture(scope="module")
def namespace():
    made = NetNamespace()
    yield made
    made.end()


@pytest.fixture
def container(tmp_path, namespace):
    """Starts containers of the image, with variables and whatever is in its environment."""
    started = []

    def start(**variables):
        container = Container(tmp_path / f"root-{len(started)}", namespace, variables)
        started.append(container)
        return container

    yield start
    for container in started:
        container.kill()


class Container:
    """The image's files in a root of their own, its command, its user, its environment alone."""

    def __init__(self, root, namespace, variables):
        self.root, self.namespace = root, namespace
        empty = root.parent / f"{root.name}-empty"
        empty.mkdir()
        IMAGE.lay_out(root, {BUILT: binary(), EMPTY: empty}, ROOT)
        add_libraries(root, binary())
        self.environment = IMAGE.environment | variables
        self.log = root.parent / f"{root.name}.log"
        self.volume = root / IMAGE.volumes[0].lstrip("/")
        self.start()

    def inside(self, *words):
        """A command in the container, and its environment."""
        user, group = IMAGE.user
        command = ["chroot", f"--userspec={user}:{group}", "--groups=", self.root, *words]
        return self.namespace.words(*command), {"PATH": os.environ["PATH"], **self.environment}

    def start(self):
        (self.volume / "ports.json").unlink(missing_ok=True)
        command, environment = self.inside(*IMAGE.entrypoint, *IMAGE.command)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def until_ready(self):
        ports = self.volume / "ports.json"
        deadline = time.monotonic() + START_SECONDS
        while not ports.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.01)
        return json.loads(ports.read_text())

    def healthy(self):
        """What the image's own check says."""
        command, environment = self.inside(*IMAGE.healthcheck)
        asked = subprocess.run(command, env=environment, capture_output=True, timeout=60)
        return asked.returncode == 0

    def said(self):
        return self.log.read_text(errors="replace")


def with_user(prefix="POSTROOM"):
    return {f"{prefix}_DEFAULT_USER": "app", f"{prefix}_DEFAULT_PASS": PASSWORD}


PROGRAM = """
import sys, pika
host, password, body = sys.argv[1:]
login = pika.PlainCredentials("app", password)
channel = pika.BlockingConnection(pika.ConnectionParameters(host, credentials=login)).channel()
channel.confirm_delivery()
channel.queue_declare("letters", durable=True)
channel.basic_publish("", "letters", body.encode(), pika.BasicProperties(delivery_mode=2))
print(channel.basic_get("letters", auto_ack=True)[2].decode())
"""


def curl(namespace, path, *arguments, password=PASSWORD):
    url = f"http://{ADDRESS}:15672{path}"
    format = ("--silent", "--show-error", "--write-out", "\n%{http_code}", "--user")
    done = namespace.run("curl", *format, f"app:{password}", *arguments, url, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


@pytest.mark.parametrize("prefix", ["POSTROOM", "RABBITMQ"])
def test_a_user_from_the_environment_is_served_from_outside(container, namespace, prefix):
    broker = container(**with_user(prefix))
    ports = broker.until_ready()
    assert {ports["amqp"], ports["http"]} <= set(IMAGE.ports)
    done = namespace.run(sys.executable, "-c", PROGRAM, ADDRESS, PASSWORD, "by AMQP")
    assert done.stdout == "by AMQP\n", done.stderr
    status, answer = curl(namespace, "/v1/queues/letters/messages", "--data", "by HTTP")
    assert (status, json.loads(answer)["published"]) == (201, 1)
    assert curl(namespace, "/v1/queues/letters/messages", "-d", "x", password="no")[0] == 401
    done = namespace.run(sys.executable, "-c", PROGRAM, ADDRESS, PASSWORD, "second")
    assert done.stdout == "by HTTP\n", done.stderr
    assert broker.healthy()
    broker.process.terminate()
    assert broker.process.wait(15) == 0, broker.said()
    assert not broker.healthy()


def test_without_a_user_it_refuses_and_names_the_remedy(container):
    broker = container()
    assert broker.process.wait(15) == 1
    said = broker.said()
    assert "set POSTROOM_DEFAULT_USER and POSTROOM_DEFAULT_PASS" in said
    half = container(POSTROOM_DEFAULT_USER="app")
    assert half.process.wait(15) == 1
    assert "set POSTROOM_DEFAULT_PASS" in half.said()


def test_what_is_confirmed_is_on_the_volume(container, namespace):
    broker = container(**with_user())
    broker.until_ready()
    program = (sys.executable, "-c", PROGRAM, ADDRESS, PASSWORD)
    namespace.run(*program, "to make the queue", check=True)
    assert curl(namespace, "/v1/queues/letters/messages", "--data", "kept")[0] == 201
    broker.kill()
    broker.start()
    broker.until_ready()
    assert namespace.run(*program, "second").stdout == "kept\n"


def test_it_runs_as_nobody_in_particular_and_writes_to_the_volume_only(container, namespace):
    broker = container(**with_user())
    before = {path for path in broker.root.rglob("*") if broker.volume not in path.parents}
    broker.until_ready()
    namespace.run(sys.executable, "-c", PROGRAM, ADDRESS, PASSWORD, "x", check=True)
    status = Path(f"/proc/{broker.process.pid}/status").read_text()
    user, group = IMAGE.user
    assert re.search(rf"^Uid:\t{user}\t{user}\t{user}\t{user}$", status, re.M)
    assert re.search(rf"^Gid:\t{group}\t{group}\t{group}\t{group}$", status, re.M)
    assert re.search(r"^CapEff:\t0+$", status, re.M)
    after = {path for path in broker.root.rglob("*") if broker.volume not in path.parents}
    assert after == before
    assert [path for path in after if path.stat().st_uid == user] == [broker.volume]


def test_the_worker_of_the_compose_file(container, namespace):
    services = COMPOSE["services"]
    with_password = lambda text: re.sub(r"\$\{POSTROOM_PASSWORD:\?[^}]*\}", PASSWORD, text)
    variables = {
        name: {key: with_password(text) for key, text in service["environment"].items()}
        for name, service in services.items()
    }
    variables["worker"]["AMQP_HOST"] = ADDRESS  # engines resolve the service's name
    published = {int(port.rsplit(":", 1)[1]) for port in services["broker"]["ports"]}
    assert published <= set(IMAGE.ports)
    mounted = {volume.split(":")[1] for volume in services["broker"]["volumes"]}
    assert mounted == set(IMAGE.volumes)
    program = {copy.target: ROOT / "deploy/worker" / copy.source for copy in WORKER.copies}
    python, *words = (str(program.get(word, word)) for word in WORKER.command)
    assert python == "python"
    worker = subprocess.Popen(
        namespace.words(sys.executable, *words),
        env={"PATH": os.environ["PATH"], **variables["worker"]},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout.readline().startswith("no broker: "), "it waits for the broker"
        broker = container(**variables["broker"])
        broker.until_ready()
        await_line(worker, "waiting for letters")
        assert curl(namespace, "/v1/queues/letters/messages", "--data", "a letter")[0] == 201
        assert worker.stdout.readline() == "delivered: a letter\n"
        broker.process.terminate()
        assert broker.process.wait(15) == 0
        assert worker.stdout.readline().startswith("the broker hung up: ")
        broker.start()
        broker.until_ready()
        await_line(worker, "waiting for letters")
        worker.terminate()
        assert worker.wait(15) == 0
    finally:
        worker.kill()
        worker.wait()


def await_line(worker, wanted):
    while (line := worker.stdout.readline().rstrip("\n")) != wanted:
        assert line.startswith("no broker: "), line


def test_what_the_images_are_made_with():
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    assert f"FROM rust:{toolchain}-" in (ROOT / "deploy/Dockerfile").read_text()
    [pika] = [line for line in (ROOT / REQUIREMENTS).read_text().splitlines() if line.startswith("pika==")]
    assert f" {pika}\n" in (ROOT / "deploy/worker/Dockerfile").read_text()
