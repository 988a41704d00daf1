"""Pages of documentation that are run: what a comment before a code block says is done with it.

    <!-- needs go -->            the page is skipped where a program is missing
    <!-- set up -->              the shell commands are run, with the network of this machine
    <!-- serve -->               the command is run until the page is over: it is the broker
    <!-- run -->                 the block is run, and must end well: shell, Python or JavaScript
    <!-- prints -->              the block is what the last one printed; `…` stands for anything,
                                 and on a line of its own for any lines
    <!-- file hello.go -->       the block is written to a file of that name
    <!-- stands in path -->      the block is part of that file of the repository, which others run

A page that runs something and serves nothing gets a broker. Everything happens in one folder, with
what the page wrote before (for README.md at the top of the checkout), and on the ports that the page
names: in a network of its own, or, where there can be none, on this machine if they are free.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from broker import ROOT, START_SECONDS, STOP_SECONDS, binary
from net_namespace import NetNamespace, why_not

PORTS = (5672, 15672)
SECONDS = 120
SETUP_SECONDS = 600

MARKED = re.compile(
    r"^<!-- (?P<what>set up|serve|run|prints|file|stands in)(?: (?P<name>\S+))? -->\n"
    r"```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
NEEDS = re.compile(r"^<!-- needs (.+) -->$", re.M)
ANY_MARK = re.compile(r"^<!--.*-->$", re.M)

# How a block of a language is run; shell commands end at the first that fails.
RUNNERS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "javascript": ["node", "--input-type=module", "--eval"],
}


class Page:
    """One Markdown file."""

    def __init__(self, path):
        self.path = path
        self.text = path.read_text()
        self.blocks = [match.groupdict() for match in MARKED.finditer(self.text)]
        self.needs = [word for line in NEEDS.findall(self.text) for word in line.split()]

    @property
    def name(self):
        return str(self.path.relative_to(ROOT))

    def is_run(self):
        return bool(self.blocks)

    def strange_marks(self):
        """Comments that look like marks and are none."""
        known = len(self.blocks) + len(NEEDS.findall(self.text))
        marks = ANY_MARK.findall(self.text)
        return marks if len(marks) != known else []


def pages():
    documents = sorted((ROOT / "docs").rglob("*.md"))
    return [Page(path) for path in [ROOT / "README.md", *documents]]


def free_ports():
    for port in PORTS:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return False
    return True


def pattern(text):
    """What a printed block stands for."""
    lines = (
        "(?:.*\n)*" if line == "…\n" else ".*".join(map(re.escape, line.split("…")))
        for line in text.splitlines(keepends=True)
    )
    return "".join(lines)


class Reading:
    """A page being followed, step by step."""

    def __init__(self, folder):
        self.folder = self.place = folder
        self.namespace = None if why_not() else NetNamespace()
        self.broker = None
        self.printed = ""
        self.log = folder.parent / f"{folder.name}.log"
        programs = folder.parent / f"{folder.name}-bin"
        programs.mkdir()
        (programs / "postroom").symlink_to(binary())
        path = f"{Path(sys.executable).parent}:{programs}:{os.environ['PATH']}"
        quiet = {"PYTHONUNBUFFERED": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.environment = os.environ | quiet | {"PATH": path}

    def words(self, *words):
        return self.namespace.words(*words) if self.namespace else list(map(str, words))

    def follow(self, page):
        # A reader of README.md stands in the checkout.
        self.place = ROOT if page.path.parent == ROOT else self.folder
        for block in page.blocks:
            text, name = block["text"], block["name"]
            match block["what"]:
                case "file":
                    (self.place / name).write_text(text)
                case "stands in":
                    assert text in (ROOT / name).read_text(), f"not a part of {name}:\n{text}"
                case "set up":
                    self.call(RUNNERS["sh"], text, SETUP_SECONDS)
                case "serve":
                    self.serve(text)
                case "run":
                    if self.broker is None:
                        self.serve("postroom serve")
                    runner = RUNNERS[block["language"]]
                    self.printed = self.call(self.words(*runner), text, SECONDS)
                case "prints":
                    # JSON comes without a newline at its end.
                    printed = self.printed.rstrip("\n") + "\n"
                    matched = re.fullmatch(pattern(text), printed)
                    assert matched, f"printed:\n{printed}\nwanted:\n{text}"

    def call(self, runner, text, seconds):
        done = subprocess.run(
            [*runner, text],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}\n{self.said()}"
        return done.stdout

    def serve(self, text):
        """Runs the first line of the text in the background, until it takes connections."""
        command = text.splitlines()[0].split("#")[0]
        data = self.folder / "postroom-data"
        with self.log.open("ab") as log:
            self.broker = subprocess.Popen(
                self.words("bash", "-c", f"exec {command}"),
                cwd=self.place,
                # Also where the page runs it in the checkout.
                env=self.environment | {"POSTROOM_DATA_DIR": str(data)},
                stdout=log,
                stderr=log,
            )
        # A command that builds what it runs takes longer.
        deadline = time.monotonic() + (SETUP_SECONDS if "./" in command else START_SECONDS)
        while not (data / "ports.json").exists():
            assert self.broker.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def said(self):
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def end(self):
        if self.broker and self.broker.poll() is None:
            self.broker.send_signal(signal.SIGTERM)
            try:
                self.broker.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.broker.kill()
                self.broker.wait()
        if self.namespace:
            self.namespace.end()
