"""Requests that nobody thought of, made out of the service's own OpenAPI: each answer is one that it promises."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from service_fixture import RunningService

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 4  # of each route, each of them some milliseconds; an upload starts processes
SLOW = ("POST /api/kb/documents",)


def test_every_answer_is_as_promised(service: RunningService) -> None:
    """No status of 500 or more, no status, type or body that the OpenAPI does not have."""
    schema = schemathesis.openapi.from_dict(service.http.get("/openapi.json").json())
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        asked.add(operation.label)

        @hypothesis_settings(
            max_examples=2 if operation.label in SLOW else EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @pytest.importorskip("hypothesis").given(case=operation.as_strategy())
        def check(case: Case) -> None:
            case.call_and_validate(base_url=service.url, checks=CHECKS)

        check()
    assert {"POST /api/kb/ask", "DELETE /api/lmstudio/models/unload/{model_key}", "POST /v1/chat/completions"} <= asked
