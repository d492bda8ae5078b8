"""Compare what came with the known answer, in words."""

from __future__ import annotations

from collections.abc import Callable

from petal_s3.errors import S3IntegrationError


class WrongAnswer(Exception):
    """Something gave another answer than the known one: ``what``, and what to do about it."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


class Skipped(Exception):
    """A check cannot be made here: ``what`` it lacks, and how to have it."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


def expect(what: str, came: object, known: object, advice: str = "") -> None:
    """Raise :class:`WrongAnswer` unless ``came`` is the ``known`` answer."""
    if came != known:
        raise WrongAnswer(f"{what}: {known!r} is right, {came!r} came", advice)


def expect_refusal(what: str, work: Callable[[], object], code: str) -> None:
    """Raise :class:`WrongAnswer` unless ``work`` is refused with this code."""
    try:
        came = work()
    except S3IntegrationError as error:
        expect(what, error.code, code)
    else:
        raise WrongAnswer(f"{what}: it was to be refused ({code}), {came!r} came")
