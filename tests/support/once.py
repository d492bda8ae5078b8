"""Clients and outboxes are made thousands of times: what is found out each time stays the same."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Iterator
from typing import Any
from unittest import mock

import botocore.hooks
import botocore.regions
import botocore.session
from aiobotocore.client import AioClientCreator
from sqlite_utils import Database

from petal_s3.outbox.database import Sql
from petal_s3.outbox.up_to_date import migrations

_KEPT: dict[str, Any] = {}
_create_loader = functools.cache(botocore.session.create_loader)
_takes_keywords = functools.lru_cache(1024)(botocore.hooks.accepts_kwargs)
_find_alias = botocore.hooks.EventAliaser._alias_event_name
_load_model = AioClientCreator._load_service_model
_make_class = AioClientCreator._create_client_class
_Provider = botocore.regions.EndpointProvider
_bring_up_to_date = Sql.bring_up_to_date


@contextlib.contextmanager
def found_out_once() -> Iterator[None]:
    """Keep descriptions, classes and rules for all clients; what is sent is the same.

    The tables of a new outbox are copied from one that has taken every step of the schema.
    """
    creator = AioClientCreator
    with (
        mock.patch.object(botocore.session, "create_loader", _create_loader),
        mock.patch.object(botocore.hooks, "accepts_kwargs", _takes_keywords),
        mock.patch.object(botocore.hooks.EventAliaser, "_alias_event_name", _alias),
        mock.patch.object(creator, "_load_service_model", _model),
        mock.patch.object(creator, "_create_client_class", _class),
        mock.patch.object(botocore.regions, "EndpointProvider", _provider),
        mock.patch.object(Sql, "bring_up_to_date", _tables),
    ):
        yield


def _alias(self: botocore.hooks.EventAliaser, event_name: str) -> str:
    name = f"alias {event_name}"
    if name not in _KEPT:
        _KEPT[name] = _find_alias(self, event_name)
    return str(_KEPT[name])


def _model(self: AioClientCreator, service: str, api_version: str | None = None) -> Any:
    name = f"model {service}"
    if name not in _KEPT:
        _KEPT[name] = _load_model(self, service, api_version)
    return _KEPT[name]


async def _class(self: AioClientCreator, service: str, model: Any) -> Any:
    name = f"class {service}"
    if name not in _KEPT:
        _KEPT[name] = await _make_class(self, service, model)
    return _KEPT[name]


def _provider(**rules: Any) -> Any:
    # The loader keeps what it has read: the rules of one service are always the same object.
    name = f"rules {id(rules['ruleset_data'])}"
    if name not in _KEPT:
        _KEPT[name] = _Provider(**rules), rules
    return _KEPT[name][0]


def _tables(self: Sql) -> None:
    if self.conn.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        _bring_up_to_date(self)
        return
    _up_to_date().backup(self.conn)


@functools.cache
def _up_to_date() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", check_same_thread=False)
    migrations().apply(Database(made, execute_plugins=False))
    return made
