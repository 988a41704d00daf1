"""Worker processes of the application in `shop.py`, and what is seen of them from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from celery import Celery
from kombu import Connection

from celery_app.shop import make_app
from raw import RawConnection

START_SECONDS = 25
STOP_SECONDS = 10


class Shop:
    """An application with names of its own on a broker, and its workers."""

    def __init__(self, url, folder, **settings):
        self.url = url
        self.folder = Path(folder)
        self.stem = f"celery-{uuid.uuid4().hex[:12]}"
        self.settings = {
            "broker_url": url,
            "result_backend": "rpc://",
            "task_default_queue": self.stem,
            "task_default_exchange": self.stem,
            "task_default_routing_key": self.stem,
            "control_exchange": f"{self.stem}-control",
            "event_exchange": f"{self.stem}-events",
            "event_queue_prefix": f"{self.stem}-events",
            "broker_connection_retry_on_startup": True,
            "broker_connection_retry": True,
            "result_expires": 60,
        } | settings
        self.app: Celery = make_app(self.settings)
        self.workers = []
        self.queues = [self.stem]
        self.exchanges = [
            self.stem,
            f"{self.stem}-events",
            f"{self.stem}-control.pidbox",
            f"reply.{self.stem}-control.pidbox",
        ]

    def new_client(self):
        self.app.close()
        self.app = make_app(self.settings)

    def task(self, name):
        return self.app.tasks[name]

    def start_worker(self, *options, pool="solo", ready=True):
        worker = Worker(self, f"w{len(self.workers)}", [f"--pool={pool}", *options])
        self.workers.append(worker)
        if ready:
            worker.wait_until_ready()
        return worker

    def close(self):
        """End the workers and leave nothing on the broker."""
        for worker in self.workers:
            worker.end()
        self.app.close()
        connection = RawConnection.open(self.url)
        connection.channel(1)
        for queue in self.queues:
            connection.call("queue.delete", 1, queue=queue)
        for exchange in self.exchanges:
            connection.call("exchange.delete", 1, exchange=exchange)
        connection.close()


class Worker:
    """One worker process."""

    def __init__(self, shop, name, options):
        self.name = f"{name}@{socket.gethostname()}"
        self.log = shop.folder / f"{shop.stem}-{name}.log"
        self.file = self.log.open("ab")
        environment = os.environ | {
            "CELERY_SETTINGS": json.dumps(shop.settings),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "celery", "--app", "celery_app.shop", "worker"]
        command += ["--hostname", f"{name}@%h", "--loglevel=DEBUG", *options]
        # A group of its own, so that a kill reaches the children of a prefork pool.
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=shop.folder,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_until_ready(self):
        self.wait_for_line(f"{self.name} ready.", START_SECONDS)

    def wait_for_line(self, text, seconds, count=1):
        """Until the log holds that text so many times."""
        deadline = time.monotonic() + seconds
        while self.printed().count(text) < count:
            assert self.process.poll() is None, f"the worker ended\n{self.tail()}"
            assert time.monotonic() < deadline, f"no {text!r} in {seconds} s\n{self.tail()}"
            time.sleep(0.05)

    def printed(self):
        return self.log.read_text(errors="replace")

    def tail(self):
        return self.printed()[-6000:]

    def kill(self):
        """kill -9, children and all."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM: a warm shutdown, which must succeed."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS)
        assert status == 0, f"the worker ended with {status}\n{self.tail()}"

    def end(self):
        if self.process.poll() is None:
            self.kill()
        self.file.close()


class Watcher:
    """Keeps all events of an application's workers."""

    def __init__(self, shop):
        self.events = []
        self.over = threading.Event()
        self.connection = Connection(shop.url)
        self.receiver = shop.app.events.Receiver(self.connection, handlers={"*": self.events.append})
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        assert self.ready.wait(10), "the receiver of events does not come up"

    def watch(self):
        with self.receiver.consumer_context(wakeup=False) as (connection, _channel, _consumers):
            self.ready.set()
            while not self.over.is_set():
                try:
                    connection.drain_events(timeout=0.1)
                except TimeoutError:
                    continue

    def of_task(self, task_id):
        return [event["type"] for event in self.events if event.get("uuid") == task_id]

    def of_workers(self):
        return {event["type"] for event in self.events if event["type"].startswith("worker-")}

    def stop(self):
        self.over.set()
        self.thread.join(10)
        self.connection.release()
