"""The native API is held to its own document: schemathesis makes requests of it, good and bad, and no
answer may be a 5xx or other than the document says."""

import os

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings

import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.postroom_only(reason="an API of its own")

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Of each request there is.
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "8"))


def document(server):
    return f"http://{server.host}:{server.http_port}/v1/openapi.json"


@pytest.fixture
def random_server(start_own):
    """What is asked at random may change anything."""
    return start_own()


def complaints(operation):
    """What is wrong with the answers to one kind of request."""

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        case.call_and_validate(auth=("guest", "guest"), checks=CHECKS, timeout=30)

    try:
        ask()
    except (Exception, BaseExceptionGroup) as error:
        found = getattr(error, "exceptions", [error])
        return "\n".join(f"{operation.label}: {it}" for it in found)
    return None


@pytest.mark.timeout(600)
def test_every_answer_is_in_the_document(random_server):
    schema = schemathesis.openapi.from_url(document(random_server))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 10
    found = [complaint for it in operations if (complaint := complaints(it))]
    assert not found, "\n\n".join(found)


def test_every_request_of_the_document_may_be_refused(server):
    paths = requests.get(document(server), timeout=30).json()["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            answers = operation["responses"]
            assert any(status.startswith("2") for status in answers), (method, path)
            [content_type] = answers["default"]["content"]
            assert content_type == "application/problem+json", (method, path)
