"""What README and docs tell a reader to run, run as it stands there. See `pages.py`."""

import os
import shutil

import pytest

from broker import ROOT, binary
from net_namespace import why_not
from pages import Reading, free_ports, pages

pytestmark = pytest.mark.skipif("CONFORMANCE_URL" in os.environ, reason="it is Postroom's manual")

PAGES = pages()
RUN = [page for page in PAGES if page.is_run()]


@pytest.fixture
def reading(tmp_path):
    if why_not() and not free_ports():
        pytest.skip(f"{why_not()}, and the ports of the pages are taken")
    folder = tmp_path / "reader"
    folder.mkdir()
    reading = Reading(folder)
    yield reading
    reading.end()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_it_does_what_it_says(page, reading):
    missing = [program for program in page.needs if not shutil.which(program)]
    if missing:
        pytest.skip(f"not on the PATH: {', '.join(missing)}")
    is_release = binary() == ROOT / "target/release/postroom"
    if any(block["text"].startswith("./run") for block in page.blocks) and not is_release:
        # It builds a release binary first: the test command has done that before it comes here.
        pytest.skip("./run is for target/release/postroom, and another binary is to be tested")
    reading.follow(page)


def test_every_mark_is_understood():
    strange = {page.name: page.strange_marks() for page in PAGES if page.strange_marks()}
    assert strange == {}


def test_those_that_must_be_run_are():
    must = {"README.md", "docs/first-message.md", *(f"docs/clients/{c}.md" for c in CLIENTS)}
    assert must <= {page.name for page in RUN}


CLIENTS = ("pika", "aio-pika", "celery", "amqplib", "lapin", "go", "java")
