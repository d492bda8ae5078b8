"""Every code that can reach a row or a status is in the closed list."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from petal_s3 import errors
from petal_s3.intake import flight_holds
from petal_s3.s3.error_codes import STATUSES, TABLE
from petal_s3.service.reasons import CARD, CODES, ENDS, HOLDS, STATES, TROUBLES, WAITS, reason

PACKAGE = Path(errors.__file__).parent
# What rows and the drain stand on; above them a code is of a request, and is answered at once.
BELOW = ("core", "logs", "s3", "outbox", "objects", "intake", "cleanup", "upload")
OF_REQUESTS = {
    "bad_session",
    "body_stalled",
    "bucket_is_yours",
    "bucket_of_another",
    "download_failed",
    "exists",
    "no_lifecycle",
    "no_uploads",
    "not_dead",
    "not_set",
    "outbox_full",
    "row_changed",
    "spool_full",
    "too_fast",
    "too_many",
    "upload_failed",
}


def of_code(module: Path) -> Iterator[str]:
    """The codes that a module gives: ``code="..."``, ``refused("...")``, ``CODE = "..."``."""
    for node in ast.walk(ast.parse(module.read_text())):
        if not isinstance(node, ast.Call):
            continue
        given = [one.value for one in node.keywords if one.arg == "code"]
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        given += node.args[:1] if name == "refused" else []
        yield from (str(one.value) for one in given if isinstance(one, ast.Constant))


def test_every_code_below_the_service_is_in_the_list_or_of_a_request() -> None:
    found = {code for _, code, _ in (*TABLE.values(), *STATUSES.values())}
    kinds = inspect.getmembers(errors, inspect.isclass)
    found |= {kind.code for _, kind in kinds if issubclass(kind, errors.S3IntegrationError)}
    for package in BELOW:
        for module in (PACKAGE / package).rglob("*.py"):
            found |= set(of_code(module))
    assert {"offline", "bad_magic", "key_taken", "tls", "token_service_down"} <= found
    assert found - OF_REQUESTS - set(CODES) == set()


def test_why_the_vehicle_allows_no_upload_is_in_the_list() -> None:
    found = [one for one in vars(flight_holds).values() if isinstance(one, flight_holds.Hold)]
    found.append(flight_holds.declared_armed(""))
    assert {hold.code for hold in found} <= set(HOLDS)


def test_what_blocks_the_drain_holds_every_row() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    blocking = [
        kind for kind in kinds if issubclass(kind, errors.S3IntegrationError) and kind.blocks_drain
    ]
    named = {code for kind, code, _ in (*TABLE.values(), *STATUSES.values()) if kind in blocking}
    assert {kind.code for kind in blocking} | named <= set(HOLDS)


def test_a_code_means_one_thing() -> None:
    assert len(CODES) == sum(len(group) for group in (STATES, TROUBLES, HOLDS, WAITS, ENDS, CARD))


def test_every_sentence_ends() -> None:
    assert [sentence for sentence in CODES.values() if not sentence.endswith(".")] == []


def test_a_code_of_another_version_is_none_of_ours() -> None:
    assert reason("martian", "It is so.").code == "not_now"
    assert reason("martian").sentence == CODES["not_now"]
