"""Let only our errors out of a block that talks to S3."""

from __future__ import annotations


class ErrorTranslation:
    """A ``with`` block that lets only our errors out; cancellation passes as it is.

    ``options``: what the request carried beside the necessary, in words. ``over_http``: without
    TLS.
    """

    def __init__(
        self, peer: tuple[str, int] | None, options: str = "", *, over_http: bool = False
    ) -> None:
        self._peer = peer
        self._options = options
        self._over_http = over_http

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception):
            from petal_s3.s3.error_mapping import translate  # noqa: PLC0415 - imports botocore

            ours = translate(
                error, peer=self._peer, options=self._options, over_http=self._over_http
            )
            if ours is not error:
                raise ours from error
