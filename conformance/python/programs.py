"""Example programs, run as a reader would run them: those that go on until told, and the others."""

import os
import queue
import signal
import subprocess
import sys
import threading


class Receiver:
    """A program that runs until it is told to end, with what it prints."""

    def __init__(self, url, script, *arguments):
        self.lines = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments],
            env=os.environ | {"AMQP_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def next_line(self, seconds=15):
        return self.lines.get(timeout=seconds)

    def next_lines(self, count):
        return [self.next_line() for _ in range(count)]

    def rest(self):
        """End it as Ctrl-C does; what it had printed besides its farewell."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(10) == 0
        *lines, farewell = self.printed_to_the_end()
        assert farewell == "bye"
        return lines

    def kill(self):
        """End it at once; what it had printed besides."""
        self.process.kill()
        self.process.wait()
        return self.printed_to_the_end()

    def printed_to_the_end(self):
        self.reader.join()
        return list(self.lines.queue)


class Receivers:
    """Starts programs of a folder that wait for something, and ends them all."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder
        self.started = []

    def __call__(self, script, *arguments):
        receiver = Receiver(self.url, self.folder / script, *arguments)
        self.started.append(receiver)
        first = receiver.next_line()
        assert first.startswith("waiting for "), "\n".join([first, *receiver.kill()])
        return receiver

    def end(self):
        for receiver in self.started:
            if receiver.process.poll() is None:
                receiver.process.kill()
            receiver.process.wait()


def run(url, script, *arguments):
    """Run a program that ends by itself; the lines it printed."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env=os.environ | {"AMQP_URL": url},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
