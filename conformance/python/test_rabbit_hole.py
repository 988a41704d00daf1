"""The management API through Go's client for it, which Terraform's provider is made of."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from management import Management

GO = shutil.which("go")
TESTS = Path(__file__).resolve().parent.parent / "go"


@pytest.mark.skipif(GO is None, reason="Go is not installed")
# The first run fetches and builds the client.
@pytest.mark.timeout(300)
def test_resources_are_made_read_changed_and_deleted(server):
    api = Management.of(server)
    done = subprocess.run(
        [GO, "test", "-count=1", "-v", "./..."],
        cwd=TESTS,
        env=os.environ | {"MANAGEMENT_URL": f"http://{api.host}:{api.port}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("--- PASS") == 4, done.stdout
