"""The checker of the table of behaviours sees what is missing. It needs no broker."""

import subprocess
import sys

import pytest

from broker import ROOT

CHECKER = ROOT / "conformance/check_table.py"
PYTHON = """<testsuites><testsuite>
<testcase classname="conformance.python.test_a" name="test_good[x]"/>
<testcase classname="conformance.python.test_a" name="test_good[y]"/>
<testcase classname="conformance.python.test_a" name="test_half[x]"/>
<testcase classname="conformance.python.test_a" name="test_half[y]"><failure/></testcase>
<testcase classname="conformance.python.test_a" name="test_skipped"><skipped/></testcase>
</testsuite></testsuites>"""
NODE = """<testsuites><testcase name="good"/><testcase name="bad"><failure/></testcase>
<testsuite name="outer"><testcase name="inner"/></testsuite></testsuites>"""
LAPIN = """     Running tests/publish.rs (target/debug/deps/publish-0123)
test good ... ok
test inner::bad ... FAILED
test late ... ignored
"""


def check(folder, *tests, without=None):
    """The checker's exit status and complaints for a table of one line that names these tests."""
    files = {"python": PYTHON, "node": NODE, "lapin": LAPIN}
    arguments = []
    for client, text in files.items():
        if client == without:
            continue
        (folder / client).write_text(text)
        arguments += [f"--{client}", folder / client]
    table = folder / "table.toml"
    table.write_text(f'[a]\nb = {{ says = "c", source = "d", tests = {list(tests)} }}\n')
    done = subprocess.run(
        [sys.executable, CHECKER, "--table", table, *arguments], capture_output=True, text=True
    )
    return done.returncode, done.stderr, done.stdout


@pytest.mark.parametrize(
    "test",
    [
        "python/test_a.py::test_good",
        "node/settle.test.mjs > good",
        "node/settle.test.mjs > outer > inner",
        "node/settle.test.mjs > outer",
        "lapin/publish :: good",
    ],
)
def test_a_test_that_passed_is_enough(tmp_path, test):
    status, errors, _ = check(tmp_path, test)
    assert (status, errors) == (0, "")


@pytest.mark.parametrize(
    "test, complaint",
    [
        ("python/test_a.py::test_half", "failed"),
        ("python/test_a.py::test_skipped", "skipped"),
        ("python/test_a.py::test_absent", "did not run"),
        ("python/test_b.py::test_good", "did not run"),
        ("node/settle.test.mjs > bad", "failed"),
        ("node/settle.test.mjs > absent", "did not run"),
        ("node/absent.mjs > good", "names no file"),
        ("lapin/publish :: inner::bad", "failed"),
        ("lapin/publish :: late", "skipped"),
        ("lapin/other :: good", "did not run"),
        ("perl/x.pl", "no client we know"),
    ],
)
def test_any_other_is_a_complaint(tmp_path, test, complaint):
    status, errors, _ = check(tmp_path, "python/test_a.py::test_good", test)
    assert status == 1
    assert f"a.b: {test}: " in errors and complaint in errors


def test_a_line_without_a_test_is_a_complaint(tmp_path):
    status, errors, _ = check(tmp_path)
    assert status == 1 and "a.b: no test shows it" in errors


def test_a_missing_report_is_a_complaint(tmp_path):
    status, errors, _ = check(tmp_path, "python/test_a.py::test_good", without="node")
    assert status == 1 and "no report of node was given" in errors


def test_tests_no_line_names_are_listed(tmp_path):
    _, _, output = check(
        tmp_path, "python/test_a.py::test_good", "node/settle.test.mjs > outer > inner"
    )
    listed = [line for line in output.splitlines() if line.startswith("not in the table: ")]
    assert len(listed) == 7
    assert "not in the table: python/test_a.py::test_half" in listed
    assert not any("outer" in line for line in listed)
