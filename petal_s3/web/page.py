"""The status page: files of the package, which tell nothing; the data comes over REST."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from petal_s3.errors import S3FileNotFoundError
from petal_s3.service.service import Service
from petal_s3.web import requests as asks
from petal_s3.web.routing import Call, Reply, Route

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a browser lets the page do (Content Security Policy Level 3): nothing from elsewhere, and no
script or style but those files. A log may be called anything."""
_INDEX = "index.html"
_KINDS: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_FOLDER = Path(__file__).with_name("static")


@dataclass(frozen=True)
class StaticFile:
    """A file of the page; ``etag`` as it stands in the header."""

    content: bytes
    content_type: str
    etag: str


@cache
def static_files() -> Mapping[str, StaticFile]:
    """The files of the page by name, read once; blocking."""
    found = sorted(path for path in _FOLDER.iterdir() if path.suffix in _KINDS)
    return {path.name: _read(path) for path in found}


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return StaticFile(content, _KINDS[path.suffix], f'"{digest}"')


async def get_page(service: Service, _: asks.Nothing, call: Call) -> Reply:
    """The status page, for people."""
    return await _answer(service, _INDEX, call)


async def get_static(service: Service, ask: asks.StaticAsk, call: Call) -> Reply:
    """A file of the status page."""
    return await _answer(service, ask.name, call)


async def _answer(service: Service, name: str, call: Call) -> Reply:
    files = await service.files.run(static_files)
    file = files.get(name)
    if file is None:
        raise S3FileNotFoundError("The status page has no such file.")
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",
        "ETag": file.etag,
        "Referrer-Policy": "no-referrer",
    }
    known = {
        tag.strip().removeprefix("W/") for tag in call.headers.get("if-none-match", "").split(",")
    }
    if file.etag in known:
        return Reply(b"", status=304, headers=headers, content_type=file.content_type)
    return Reply(file.content, headers=headers, content_type=file.content_type)


PAGE_ROUTES: tuple[Route, ...] = (
    Route("GET", "/", "page", "The status page", get_page, answer="text/html", public=True),
    Route(
        "GET",
        "/static/{name}",
        "static",
        "A file of the status page",
        get_static,
        ask=asks.StaticAsk,
        answer="*/*",
        errors=(400, 404, 503),
        public=True,
    ),
)
