"""The native API is held to its own document: schemathesis makes requests of it, good and bad, and no
answer may be a 5xx or other than the document says."""

import os

import pytest

schemathesis = pytest.importorskip("schemathesis")

if "CONFORMANCE_URL" in os.environ:
    pytest.skip("an API of its own", allow_module_level=True)

import requests  # noqa: E402
from hypothesis import HealthCheck, Phase, settings  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "15"))


def document(server):
    return f"http://{server.host}:{server.http_port}/v1/openapi.json"


@pytest.fixture
def described(server):
    # What is asked at random may well be deleted: the queues have names nobody else uses.
    return schemathesis.openapi.from_url(document(server))


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_in_the_document(case):
    case.call_and_validate(auth=("guest", "guest"), checks=CHECKS, timeout=30)


def test_the_document_names_every_route_and_its_problems(server):
    paths = requests.get(document(server), timeout=30).json()["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            answers = operation["responses"]
            assert any(status.startswith("2") for status in answers), (method, path)
            [content_type] = answers["default"]["content"]
            assert content_type == "application/problem+json", (method, path)
