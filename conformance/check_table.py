#!/usr/bin/env python3
"""Checks that every line of behaviours.toml was shown by tests that ran and passed.

    check_table.py --python report.xml --node node.xml --lapin lapin.txt

Fails when a line has no test, or names one that does not exist, was skipped or failed. Tests that
no line names are listed, which is no failure.
"""

import argparse
import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


def outcome(case):
    """What a <testcase> of a JUnit report came to."""
    tags = {child.tag for child in case}
    if tags & {"failure", "error"}:
        return FAILED
    return SKIPPED if "skipped" in tags else PASSED


def python_outcomes(report):
    """python/<file>.py::<test>, the parameters left out, to the outcomes of its runs."""
    outcomes = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        module = case.get("classname", "").rsplit(".", 1)[-1]
        test = case.get("name").split("[", 1)[0]
        outcomes[f"python/{module}.py::{test}"].append(outcome(case))
    return outcomes


def node_outcomes(report):
    """<title> > <title> to outcomes. Node's report does not tell the file of a test."""
    outcomes = defaultdict(list)

    def walk(element, titles):
        for child in element:
            if child.tag == "testsuite":
                inner = [*titles, child.get("name")]
                walk(child, inner)
                failed = int(child.get("failures", 0)) or int(child.get("errors", 0))
                outcomes[" > ".join(inner)].append(FAILED if failed else PASSED)
            elif child.tag == "testcase":
                outcomes[" > ".join([*titles, child.get("name")])].append(outcome(child))

    walk(ElementTree.parse(report).getroot(), [])
    return outcomes


def lapin_outcomes(output):
    """lapin/<file stem> :: <test> to outcomes, from what `cargo test` printed."""
    outcomes = defaultdict(list)
    words = {"ok": PASSED, "ignored": SKIPPED, "FAILED": FAILED}
    stem = None
    for line in output.read_text().splitlines():
        if running := re.match(r"\s*Running (?:unittests )?(\S+) \(", line):
            stem = Path(running[1]).stem
        elif test := re.match(r"test (\S+)(?: - should panic)? \.\.\. (ok|ignored|FAILED)", line):
            outcomes[f"lapin/{stem} :: {test[1]}"].append(words[test[2]])
    return outcomes


CLIENTS = {"python": python_outcomes, "node": node_outcomes, "lapin": lapin_outcomes}


def find(name, outcomes):
    """The outcomes of the test the table names so, and a complaint about the name if it is wrong."""
    client = name.split("/", 1)[0]
    if client not in CLIENTS:
        return [], "is of no client we know"
    if client not in outcomes:
        return [], None
    key = name
    if client == "node":
        file, separator, key = name.partition(" > ")
        if not separator or not (HERE / file).is_file():
            return [], "names no file of conformance/node"
    runs = outcomes[client].get(key, [])
    return runs, None if runs else "did not run"


def problems(table, outcomes):
    """What is wrong, a sentence each, and the names the table used."""
    found = [f"no report of {client} was given" for client in CLIENTS if client not in outcomes]
    named = set()
    for section, lines in table.items():
        for line_id, line in lines.items():
            here = f"{section}.{line_id}"
            if set(line) != {"says", "source", "tests"} or not line["says"] or not line["source"]:
                found.append(f"{here}: a line has says, source and tests")
                continue
            if not line["tests"]:
                found.append(f"{here}: no test shows it")
            for name in line["tests"]:
                runs, complaint = find(name, outcomes)
                named.add(name.partition(" > ")[2] if name.startswith("node/") else name)
                if complaint:
                    found.append(f"{here}: {name}: {complaint}")
                for bad in sorted(set(runs) - {PASSED}):
                    found.append(f"{here}: {name}: {bad}")
    return found, named


def unnamed(outcomes, named):
    """Tests that ran and that no line names; a nested one is named with any of those around it."""
    for client, tests in outcomes.items():
        for name in tests:
            titles = name.split(" > ") if client == "node" else [name]
            around = {" > ".join(titles[:count]) for count in range(1, len(titles) + 1)}
            inside = any(each.startswith(name + " > ") for each in named)
            if not around & named and not inside:
                yield f"{client}: {name}" if client == "node" else name


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, default=HERE / "behaviours.toml")
    parser.add_argument("--python", type=Path, help="pytest --junitxml=…")
    parser.add_argument("--node", type=Path, help="node --test --test-reporter=junit")
    parser.add_argument("--lapin", type=Path, help="what cargo test printed")
    given = parser.parse_args(arguments)
    outcomes = {
        client: read(getattr(given, client))
        for client, read in CLIENTS.items()
        if getattr(given, client)
    }
    table = tomllib.loads(given.table.read_text())
    found, named = problems(table, outcomes)
    for name in unnamed(outcomes, named):
        print(f"not in the table: {name}")
    for problem in found:
        print(problem, file=sys.stderr)
    lines = sum(map(len, table.values()))
    ran = sum(len(runs) for tests in outcomes.values() for runs in tests.values())
    if found:
        print(f"conformance table: {len(found)} problems in {lines} lines", file=sys.stderr)
        return 1
    print(f"conformance table: {lines} behaviours, each shown by tests that passed ({ran} runs)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
