"""Describe the routes for OpenAPI 3.1, from the models of requests and answers."""

from __future__ import annotations

import re
from typing import Any

from petal_s3.service.views.rows import RowView
from petal_s3.web.requests import schema
from petal_s3.web.responses import Problem
from petal_s3.web.routing import GUARD_ERRORS, Route

Json = dict[str, Any]

_SPOKEN = {
    400: "The request is wrong",
    401: "The bearer token is missing or wrong",
    403: "Not this machine's, or refused to whoever asks",
    404: "There is none",
    408: "The body stalled",
    409: "Conflict, or still being written",
    413: "Too large",
    416: "Nothing lies in this range",
    422: "Not a flight log",
    429: "Too many wrong tokens",
    503: "Not now",
    507: "The disk is full",
}
_PROBLEM: Json = {
    "application/json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}
}
_IN_PATH = re.compile(r"\{(\w+)(?::\w+)?\}")


def path_names(route: Route) -> set[str]:
    """Names of the parameters in the path."""
    return set(_IN_PATH.findall(route.path))


class Asked(dict[str, Any]):
    """:func:`asked_of` of a route, made only when the page is: schemas take long to make."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self._route = route

    def __bool__(self) -> bool:
        return True

    def items(self) -> Any:
        """Its parts, as of any dict; FastAPI asks for nothing else."""
        return asked_of(self._route).items()


def asked_of(route: Route) -> Json:
    """``parameters`` and ``requestBody`` of an operation."""
    found: Json = {"operationId": f"petal_s3_{route.name}"}
    asked = schema(route.ask)
    if route.takes_json:
        found["requestBody"] = _body("application/json", asked)
        return found
    in_path = path_names(route)
    properties = asked.get("properties", {})
    found["parameters"] = [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in asked.get("required", ()),
            "description": about.get("description", ""),
            "schema": {word: value for word, value in about.items() if word != "description"},
        }
        for name, about in properties.items()
    ]
    if route.name == "download":
        found["parameters"].append(
            {"name": "Range", "in": "header", "required": False, "schema": {"type": "string"}}
        )
    if route.form is not None:
        found["requestBody"] = _body("multipart/form-data", schema(route.form))
    return found


def responses_of(route: Route) -> dict[int | str, Json]:
    """``responses`` of an operation, with the models of its answers."""
    content: Json = {}
    if route.status == 204:
        found: dict[int | str, Json] = {204: {"description": "Done"}}
    elif isinstance(route.answer, str):
        content = {route.answer: {"schema": {"type": "string"}}}
        found = {route.status: {"description": "Done", "content": content}}
    else:
        found = {route.status: {"description": "Done", "model": route.answer}}
    if route.name == "upload":
        found[202] = {"description": "Safe in the outbox", "model": RowView}
    if route.name == "download":
        found[206] = {"description": "A part of it", "content": content}
    for status in sorted({*route.errors, *GUARD_ERRORS}):
        # FastAPI takes as long for a model as for a route: it is told of this one once.
        why = {"model": Problem} if route.name == "status" else {"content": _PROBLEM}
        found[status] = {"description": _SPOKEN[status], **why}
    return found


def _body(kind: str, schema: Json) -> Json:
    return {"required": True, "content": {kind: {"schema": schema}}}
