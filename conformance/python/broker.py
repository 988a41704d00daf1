"""The broker under test: Postroom's binary, started and stopped here, or another one by its URL."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20
STOP_SECONDS = 15


def binary():
    """Where the binary under test is; fails with the remedy when there is none."""
    chosen = os.environ.get("POSTROOM_BINARY")
    places = (
        [Path(chosen)]
        if chosen
        else [
            ROOT / "target/release/postroom",
            ROOT / "target/debug/postroom",
        ]
    )
    for place in places:
        if place.is_file():
            return place.resolve()
    raise FileNotFoundError(
        f"no postroom binary at {' or '.join(map(str, places))}: run `cargo build` first, or set "
        "POSTROOM_BINARY, or CONFORMANCE_URL for another broker"
    )


class OtherBroker:
    """A broker somebody else runs, at CONFORMANCE_URL.

    CONFORMANCE_RESTART, when set, is a shell command that restarts it cleanly; without it the
    tests that need a restart are skipped.
    """

    is_postroom = False

    def __init__(self, url):
        self.url = url
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 5672
        self.restart_command = os.environ.get("CONFORMANCE_RESTART")

    def restart(self):
        subprocess.run(self.restart_command, shell=True, check=True, stdout=subprocess.DEVNULL)

    def check_alive(self):
        pass


class Postroom:
    """One data directory, and the process that serves it."""

    is_postroom = True

    def __init__(self, folder, arguments=(), environment=None):
        self.folder = Path(folder)
        self.arguments = list(arguments)
        self.environment = {**os.environ, **(environment or {})}
        self.data_dir = self.folder / "data"
        self.log = self.folder / "postroom.log"
        self.process = None
        self.host = "127.0.0.1"
        self.port = None
        self.tls_port = None
        self.amqp_port = 0  # any that is free; the one it has, to be found there after a restart

    @property
    def url(self):
        return f"amqp://guest:guest@{self.host}:{self.port}/%2F"

    def start(self):
        assert self.process is None, "it runs already"
        ports_file = self.data_dir / "ports.json"
        ports_file.unlink(missing_ok=True)
        arguments = ["serve", "--data-dir", self.data_dir, "--bind", self.host]
        arguments += ["--amqp-port", self.amqp_port, "--amqps-port", "0"]
        arguments += ["--http-port", "0", "--https-port", "0"]
        arguments += self.arguments
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), *map(str, arguments)], stdout=log, stderr=log, cwd=self.folder,
                env=self.environment,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                ports = json.loads(ports_file.read_text())
                self.port, self.tls_port = ports["amqp"], ports["amqps"]
                self.http_port, self.https_port = ports["http"], ports["https"]
                return self
            except (FileNotFoundError, json.JSONDecodeError, KeyError):
                time.sleep(0.01)
        raise AssertionError(f"no {ports_file} within {START_SECONDS} s\n{self.log_tail()}")

    def stop(self):
        """SIGTERM, and wait; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self):
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"postroom did not stop within {STOP_SECONDS} s\n{self.log_tail()}"
            ) from None
        self.process = None
        return status

    def reload(self, *words):
        """SIGHUP, and wait until the log says these words about it."""
        seen = self.log.stat().st_size
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + START_SECONDS
        while True:
            said = self.log.read_bytes()[seen:].decode(errors="replace")
            if "SIGHUP" in said and all(word in said for word in words):
                return
            assert time.monotonic() < deadline, f"not reloaded with {words}: {said}"
            time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self):
        status = self.stop()
        assert status == 0, f"postroom ended with {status}\n{self.log_tail()}"
        self.start()

    def kill_and_start(self):
        self.kill()
        self.start()

    def check_alive(self):
        status = self.process.poll()
        assert status is None, f"postroom ended by itself with {status}\n{self.log_tail()}"

    def log_tail(self):
        return self.log.read_text(errors="replace")[-4000:]
