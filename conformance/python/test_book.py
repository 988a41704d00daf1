"""The manual hangs together: every page is in the table of contents, every link leads somewhere."""

import os
import re
import subprocess

import pytest

from broker import ROOT, binary

pytestmark = pytest.mark.skipif("CONFORMANCE_URL" in os.environ, reason="it is Postroom's manual")

DOCS = ROOT / "docs"
CONTENTS = DOCS / "SUMMARY.md"

LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
HEADING = re.compile(r"^#{1,6} +(.+?)(?: \{#(?P<id>[\w-]+)\})?$", re.M)

# Pages outside the book, whose anchors can be linked to as well.
OTHERS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "conformance/README.md"]


def text_of(path):
    return FENCE.sub("", path.read_text())


def links(path):
    return [target for target in LINK.findall(text_of(path)) if "://" not in target]


def anchors(path):
    """What mdBook and GitHub make of the headings."""
    found = set()
    for match in HEADING.finditer(text_of(path)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).lower()
        stem = match["id"] or re.sub(r"[^\w -]", "", words).strip().replace(" ", "-")
        name, again = stem, 0
        while name in found:
            again += 1
            name = f"{stem}-{again}"
        found.add(name)
    return found


def book():
    return sorted(DOCS.rglob("*.md"))


def test_every_page_is_in_the_table_of_contents():
    listed = [(DOCS / target).resolve() for target in links(CONTENTS)]
    assert len(listed) == len(set(listed)), "a page is listed twice"
    missing = {str(path.relative_to(DOCS)) for path in set(book()) - {CONTENTS} - set(listed)}
    assert missing == set(), "add these to docs/SUMMARY.md"
    assert [path for path in listed if not path.exists()] == []


def test_every_link_leads_somewhere():
    broken = []
    for page in [*book(), *(ROOT / name for name in OTHERS)]:
        for target in links(page):
            path, _, anchor = target.partition("#")
            to = (page.parent / path).resolve() if path else page
            place = f"{page.relative_to(ROOT)}: {target}"
            if not to.exists():
                broken.append(f"{place}: no such file")
            elif anchor and anchor not in anchors(to):
                broken.append(f"{place}: no such heading; there are {sorted(anchors(to))}")
            elif DOCS in page.parents and DOCS not in to.parents:
                broken.append(f"{place}: leads out of the book; name the file instead of linking")
    assert broken == []


def test_every_page_opens_with_its_title():
    for page in book():
        first = page.read_text().splitlines()[0]
        assert first.startswith("# "), page


def test_settings_are_described():
    """Every setting of the binary has its row, and no row is about one that is not there."""
    said = subprocess.run([binary(), "serve", "--help"], capture_output=True, text=True, check=True)
    # Lines that open a setting; others mention some in their text.
    known = set(re.findall(r"^ +--([a-z-]+) <", said.stdout, re.M))
    rows = set(re.findall(r"^\| `--([a-z-]+)`", (DOCS / "configuration.md").read_text(), re.M))
    assert rows == known


def test_commands_are_described():
    said = subprocess.run([binary(), "--help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"^  ([a-z]+) {2,}", said.split("Commands:")[1], re.M)) - {"help"}
    rows = re.findall(r"^\| (`[a-z]+`(?:, `[a-z]+`)*) \|", (DOCS / "cli.md").read_text(), re.M)
    assert {name for row in rows for name in re.findall(r"[a-z]+", row)} == known
