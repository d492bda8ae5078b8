"""Fixtures of the tests that type commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A machine of its own; whatever was started there has ended afterwards."""
    made = Desk(tmp_path)
    yield made
    made.clear()
