"""A network of its own, with an address that is not a loopback one. Making it takes root."""

import os
import shutil
import subprocess
import time

ADDRESS = "10.77.0.2"


class NetNamespace:
    """Lives as long as the process that holds it."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 10
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == own:
            assert self.holder.poll() is None and time.monotonic() < deadline, "no namespace came"
            time.sleep(0.01)
        self.run("ip", "link", "set", "lo", "up", check=True)
        self.run("ip", "address", "add", f"{ADDRESS}/24", "dev", "lo", check=True)

    def words(self, *words):
        """The command that runs `words` in there."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *map(str, words)]

    def run(self, *words, **settings):
        return subprocess.run(
            self.words(*words), capture_output=True, text=True, timeout=60, **settings
        )

    def end(self):
        self.holder.kill()
        self.holder.wait()


def why_not():
    """Why there can be none on this machine, if so."""
    for tool in ("unshare", "nsenter", "ip", "chroot"):
        if not shutil.which(tool):
            return f"{tool} is not on the PATH"
    if os.geteuid() != 0:
        return "a network namespace takes root"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    return f"no network namespace: {tried.stderr.strip()}" if tried.returncode else None
