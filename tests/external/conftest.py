"""Fixtures: programs of others, as Debian has them; a test without its program is skipped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.external.debian import CannotBeHadError, Program, program

Have = Callable[[str], Program]


@pytest.fixture(scope="session")
def have() -> Have:
    """``have("promtool")``: the program. Without it the test is skipped, and says why."""

    def find(name: str) -> Program:
        try:
            return program(name)
        except CannotBeHadError as error:
            pytest.skip(str(error))

    return find
