"""How a command is answered: with the words of petal-flight-log, around what REST answers.

``status`` is ``success`` or ``error``, ``message`` a sentence, ``error_code`` our stable code, and
``data`` the answer of REST, that of an error too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

from pydantic import BaseModel, ValidationError

from petal_s3.core.settings import Settings
from petal_s3.core.wrong_values import first_mistake
from petal_s3.errors import BadInput, NotAllowed, S3IntegrationError, as_json
from petal_s3.host.mqtt_commands import Command, Streams
from petal_s3.host.mqtt_requests import CardAsk
from petal_s3.service.service import Service
from petal_s3.service.views.card import CardView
from petal_s3.web.guard import read_only
from petal_s3.web.responses import RowsView

MOST_BYTES = 100_000
"""Of one answer: AWS IoT, the host's broker, takes messages of 128 KiB (AWS IoT Core endpoints and
quotas), and the host adds names of its own."""
_READ_ONLY = "Nothing may be changed over MQTT: PETAL_S3_MQTT is read."

Json: TypeAlias = dict[str, object]


async def answer(
    command: Command, active: Callable[[], Service], payload: object, streams: Streams
) -> Json:
    """Run a command, and say how it went; nothing that is our error is raised."""
    try:
        service = active()
        ask = _asked(command, payload)
        _check_allowed(command, ask, service.settings)
        if service.outbox.is_starting:
            raise service.outbox.why_closed()
        return _success(command, await command.run(service, ask, streams))
    except S3IntegrationError as error:
        return failure(error)


def failure(error: S3IntegrationError) -> Json:
    """How an error is answered."""
    return {
        "status": "error",
        "message": error.message,
        "error_code": error.code,
        "data": plain_json(as_json(error)),
    }


def _asked(command: Command, payload: object) -> BaseModel:
    if payload is not None and not isinstance(payload, Mapping):
        raise BadInput("The payload of the message has to be a JSON object.")
    try:
        return command.ask.model_validate({**(payload or {})})
    except ValidationError as error:
        place, expected = first_mistake(error)
        where = ".".join(str(part) for part in place) or "The payload"
        raise BadInput(f"{where}: {expected}.") from None


def _check_allowed(command: Command, ask: BaseModel, settings: Settings) -> None:
    """Raise :class:`NotAllowed` where the settings forbid a command."""
    needs = "change" if isinstance(ask, CardAsk) and ask.scan else command.needs
    if needs == "presign" and settings.mqtt != "presign":
        raise NotAllowed(
            "No URLs are given over MQTT, whose brokers often have no login:"
            " PETAL_S3_MQTT=presign allows it.",
            code="presign_off",
        )
    if needs == "change" and settings.rest_read_only:
        raise read_only()
    if needs == "change" and settings.mqtt == "read":
        raise NotAllowed(_READ_ONLY, code="read_only")


def _success(command: Command, view: BaseModel) -> Json:
    shown, left_out = fitted(view)
    content = plain_json(shown.model_dump())
    said: Json = {"status": "success", "message": left_out or f"{command.summary}: done."}
    return {**said, **content} if command.flat else {**said, "data": content}


def fitted(view: BaseModel) -> tuple[BaseModel, str]:
    """A view so that it fits into one message, and a sentence where it is not the whole.

    Raises :class:`BadInput` for one that cannot be cut.
    """
    whole = _count(view)
    while (size := _size(view)) > MOST_BYTES:
        keep = min(_count(view) - 1, int(_count(view) * MOST_BYTES / size))
        if keep < 1:
            raise BadInput("The answer is too large for a message.", code="too_large", status=413)
        view = _cut(view, keep)
    if _count(view) == whole:
        return view, ""
    further = "; next_token leads to the others" if isinstance(view, RowsView) else ""
    return view, f"{_count(view)} of {whole} fit into a message{further}."


def _count(view: BaseModel) -> int:
    if isinstance(view, RowsView):
        return len(view.rows)
    return len(view.files) if isinstance(view, CardView) else 0


def _cut(view: BaseModel, keep: int) -> BaseModel:
    if isinstance(view, RowsView):
        rows = view.rows[:keep]
        return RowsView(rows=rows, next_token=str(rows[-1].id))
    return view.model_copy(update={"files": cast("CardView", view).files[:keep]})


def _size(view: BaseModel) -> int:
    return len(json.dumps(view.model_dump()))


def plain_json(content: object) -> Json:
    """The same without what is no text: a name on the disk may be none."""
    text = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return cast("Json", json.loads(text))
