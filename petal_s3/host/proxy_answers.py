"""Turn what a method of the bucket proxy gives, or raises, into what the host understands."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from pydantic import BaseModel

from petal_s3.errors import S3FileNotFoundError, S3IntegrationError

log = logging.getLogger("petal_s3")

Answer = dict[str, object]
Fail = Callable[[S3IntegrationError], Mapping[str, object]]
Wrap = Callable[[S3IntegrationError], S3IntegrationError]
P = ParamSpec("P")
T = TypeVar("T")


class Answering(Protocol):
    """What has methods that answer."""

    fail: Fail
    """Turns an error into an answer, or raises what the host understands."""

    async def ensure_started(self) -> None:
        """Start when that was not done yet."""


A = TypeVar("A", bound=Answering)


def answered(
    wrap: Wrap | None = None,
) -> Callable[
    [Callable[Concatenate[A, P], Awaitable[BaseModel]]],
    Callable[Concatenate[A, P], Coroutine[None, None, Answer]],
]:
    """Answer the view of a method as a dict, and its errors as ``fail`` does.

    ``wrap`` turns an error into one of another class before.

    A missing object is never wrapped: host and sibling know it by its sentence.
    """

    def decorate(
        method: Callable[Concatenate[A, P], Awaitable[BaseModel]],
    ) -> Callable[Concatenate[A, P], Coroutine[None, None, Answer]]:
        @functools.wraps(method)
        async def answer(self: A, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            try:
                await self.ensure_started()
                return (await method(self, *args, **kwargs)).model_dump()
            except S3FileNotFoundError as error:
                return dict(self.fail(error))
            except S3IntegrationError as error:
                log.info("proxy call failed code=%s reason=%s", error.code, error.message)
                return dict(self.fail(error if wrap is None else wrap(error)))

        return answer

    return decorate


async def raised(proxy: Answering, work: Awaitable[T]) -> T:
    """Await what cannot carry an error in a dict: errors raise, as the host understands them."""
    try:
        await proxy.ensure_started()
        return await work
    except S3FileNotFoundError:
        raise
    except S3IntegrationError as error:
        proxy.fail(error)
        raise
