"""A container image without an engine: the last stage of a Dockerfile, done by hand in a folder."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path


class Image:
    """What the last stage says. An instruction that is not known here is an error, so that nothing
    happens in the image that does not happen in the folder."""

    def __init__(self, dockerfile):
        self.copies, self.runs, self.environment = [], [], {}
        self.user = self.healthcheck = None
        self.ports, self.volumes = [], []
        self.entrypoint, self.command = [], []
        text = Path(dockerfile).read_text()
        lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        instructions = lines.replace("\\\n", " ").splitlines()
        last = max(at for at, line in enumerate(instructions) if line.startswith("FROM "))
        self.base = instructions[last].split()[1]
        for instruction in instructions[last + 1 :]:
            if instruction.strip():
                name, _, rest = instruction.partition(" ")
                self.read(name, rest.strip())

    def read(self, name, rest):
        match name:
            case "COPY":
                self.copies.append(Copy(rest))
            case "RUN":
                self.runs.append(rest)
            case "ENV":
                self.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
            case "USER":
                self.user = tuple(int(number) for number in rest.split(":"))
            case "VOLUME":
                self.volumes += rest.split()
            case "EXPOSE":
                self.ports += [int(port) for port in rest.split()]
            case "HEALTHCHECK":
                self.healthcheck = json.loads(rest.split("CMD", 1)[1])
            case "ENTRYPOINT":
                self.entrypoint = json.loads(rest)
            case "CMD":
                self.command = json.loads(rest)
            case "STOPSIGNAL":
                pass
            case _:
                raise ValueError(f"the test does not know {name}")

    def lay_out(self, folder, sources, context):
        """Does the copies: what stages made comes from `sources`, by its path there."""
        assert not self.runs, f"what {self.runs} does can't be seen here"
        for copy in self.copies:
            source = sources[copy.source] if copy.stage else context / copy.source
            target = folder / copy.target.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
            if copy.owner:
                for path in [target, *target.rglob("*")]:
                    shutil.chown(path, *copy.owner)


class Copy:
    """One COPY."""

    def __init__(self, words):
        self.stage = self.owner = None
        paths = []
        for word in words.split():
            if match := re.fullmatch(r"--from=(.+)", word):
                self.stage = match[1]
            elif match := re.fullmatch(r"--chown=(\d+):(\d+)", word):
                self.owner = int(match[1]), int(match[2])
            else:
                paths.append(word)
        self.source, self.target = paths


def add_libraries(folder, program):
    """What the base image has and the program needs: the loader, and the libraries it names."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", listed):
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return listed
