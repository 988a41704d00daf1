"""What `deploy/` makes of the metrics: every name in the alert rules and on the dashboard is in a real
scrape, the rules raise their alerts, and Prometheus likes what it is given."""

import base64
import json
import os
import re
import shutil
import subprocess
from urllib.request import Request, urlopen

import pika
import pytest
import yaml

from broker import ROOT
from steps import PERSISTENT, parameters

PROMETHEUS = ROOT / "deploy/prometheus"
MANUAL = ROOT / "docs/metrics.md"
ALERTS = PROMETHEUS / "alerts.yml"
BOARD = json.loads((ROOT / "deploy/grafana/postroom.json").read_text())

# Where `cargo xtask test` puts it, if the system has none.
OWN_PROMTOOL = ROOT / "target/tools/bin/promtool"
PROMTOOL = shutil.which("promtool") or (OWN_PROMTOOL.exists() and str(OWN_PROMTOOL))
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="no promtool (apt install prometheus)")

pytestmark = pytest.mark.skipif("CONFORMANCE_URL" in os.environ, reason="it is about our metrics")

NAME = re.compile(r"\bpostroom_\w+")
SELECTOR = re.compile(r"\b(postroom_\w+)\{([^}]*)\}")


def rules():
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions():
    """Where, and what is asked there."""
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    for panel in BOARD["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    variables = BOARD["templating"]["list"]
    return found + [(it["name"], it["definition"]) for it in variables if it["type"] == "query"]


@pytest.fixture
def scrape(own_server):
    """Gets /metrics, once all kinds of things have happened."""
    connection = pika.BlockingConnection(parameters(own_server.url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("orders", durable=True)
    for _ in range(3):
        channel.basic_publish("", "orders", b"x", PERSISTENT)
    for method, _, _ in channel.consume("orders", auto_ack=False):
        channel.basic_ack(method.delivery_tag)
        break
    channel.basic_nack(0, multiple=True)
    login = base64.b64encode(b"guest:guest").decode()
    headers = {"Accept": "text/plain", "Authorization": f"Basic {login}"}

    def ask(path, json_body=None):
        url = f"http://{own_server.host}:{own_server.http_port}{path}"
        data = None if json_body is None else json.dumps(json_body).encode()
        more = {} if data is None else {"Content-Type": "application/json"}
        with urlopen(Request(url, data, headers={**headers, **more}), timeout=20) as answer:
            return answer.read().decode()

    channel.queue_declare("leased", durable=True)
    channel.basic_publish("", "leased", b"x", PERSISTENT)
    leased = json.loads(ask("/v1/queues/leased/lease", {}))["messages"]
    failed = {"lease": leased[0]["lease"], "error": {"type": "Timeout"}}
    ask("/v1/leases", {"fail": [failed]})

    def get():
        return ask("/metrics") + ask("/metrics/per-queue")

    yield get
    connection.close()


def series(text):
    """The label sets of each name."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"(\w+)(?:\{(.*)\})? \S+$", line):
            found.setdefault(match[1], []).append(dict(re.findall(r'(\w+)="([^"]*)"', match[2] or "")))
    return found


def test_every_name_is_in_a_scrape(scrape):
    there = series(scrape())
    asked = expressions()
    missing = {f"{name} ({where})" for where, text in asked for name in NAME.findall(text) if name not in there}
    assert missing == set()
    wrong = []
    for where, text in asked:
        for name, selector in SELECTOR.findall(text):
            for label, operator, value in re.findall(r'(\w+)(=~?|!=)"([^"]*)"', selector):
                values = {labels.get(label) for labels in there[name]}
                wanted = value.split("|") if operator == "=~" else [value]
                if None in values or not (value.startswith("$") or set(wanted) <= values):
                    wrong.append(f"{where}: {name} has no {label}{operator}{value}, but {values}")
        for _, labels in re.findall(r"\b(by|ignoring) \(([^)]*)\)", text):
            known = {label for name in NAME.findall(text) for it in there[name] for label in it}
            known |= {"instance", "le"}
            wrong += [f"{where}: no label {it}" for it in re.split(r", *", labels) if it not in known]
    assert wrong == []
    mentioned = {name for _, text in asked for name in NAME.findall(text)}
    assert len(mentioned) > 20


def test_the_board_is_whole():
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or (panel["targets"] and panel["description"])
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        squares = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not squares & taken, f"{panel['title']} lies over another"
        taken |= squares


def test_every_name_is_in_the_manual(scrape):
    there = {name for name in series(scrape()) if name.startswith("postroom_")}
    there = {re.sub(r"_(bucket|sum|count)$", "", name) for name in there}
    manual = {name for name in re.findall(r"`(postroom_\w+)`", MANUAL.read_text())}
    assert manual == there


def test_every_alert_is_in_the_manual():
    manual = MANUAL.read_text()
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in manual] == []


def promtool(*words, **settings):
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=60, **settings)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_rules_raise_their_alerts():
    promtool("check", "rules", ALERTS)
    promtool("test", "rules", PROMETHEUS / "alerts_test.yml")
    tested = (PROMETHEUS / "alerts_test.yml").read_text()
    assert [rule["alert"] for rule in rules() if f'"{rule["alert"]}"' not in tested] == []


@needs_promtool
def test_promtool_likes_the_board(tmp_path):
    """Every expression of the board is one: as a rule, with Grafana's variables filled in."""
    made = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$\w+", filled, text)}
        for number, (_, text) in enumerate(expressions())
        if not text.startswith("label_values")
    ]
    file = tmp_path / "board.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": made}]}))
    promtool("check", "rules", file)


def filled(match):
    return "5m" if match[0] == "$__rate_interval" else ".*"


@needs_promtool
def test_promtool_likes_the_metrics(scrape):
    promtool("check", "metrics", input=scrape())
