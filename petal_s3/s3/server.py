"""The server of one bucket: how it is addressed, and which options it was seen to offer."""

from __future__ import annotations

from petal_s3.core.clock import Clock
from petal_s3.core.settings import AddressStyle
from petal_s3.core.threads import run_in
from petal_s3.errors import S3IntegrationError
from petal_s3.s3.calls import Calls
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.checksums import Digest
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.error_codes import TABLE
from petal_s3.s3.link_state import LinkState
from petal_s3.s3.request_body import FilePart
from petal_s3.s3.responses import echoed, encryption
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.server_time import ServerClock
from petal_s3.s3.shapes import Answer, Params

_NOWHERE = "petal-s3-address-style/"


class Server:
    """Calls to the server of one bucket, and what its answers have shown of it."""

    def __init__(
        self,
        settings: S3Settings,
        tokens: TokenService | None,
        server_clock: ServerClock,
        now: Clock,
    ) -> None:
        self.bucket = settings.bucket
        self.clock = server_clock
        self.calls = Calls(settings, tokens, server_clock, now=now)
        self.encryption = encryption(settings.sse)
        """The parameters that ask for encryption, of each request that stores an object."""
        self.capabilities = Capabilities()
        """What is known of the server; the process that uploads keeps it in the outbox."""
        self.signs_bodies = (settings.endpoint_url or "https").startswith("http:")
        """Whether bodies need a SHA-256 in their signature: over plain http they do."""
        # With an address of our own, botocore's "auto" is the path.
        self._may_change_style = (
            settings.address_style == "auto" and settings.endpoint_url is not None
        )

    @property
    def answered(self) -> int:
        """How many calls S3 has answered well: it grows while the link works."""
        return self.calls.answered

    @property
    def link_state(self) -> LinkState:
        """When S3 was last heard of."""
        return self.calls.link_state

    @property
    def encrypts(self) -> bool:
        """Whether the server is to encrypt objects (PETAL_S3_SSE)."""
        return bool(self.encryption)

    # -- what is known

    def learn(self, feature: Feature, *, offered: bool, by: str) -> None:
        """Remember what an answer has shown; ``by`` is that answer, in a sentence."""
        at = self.clock.seconds()
        self.capabilities = self.capabilities.with_(feature, offered=offered, at=at, by=by)

    def forget(self, feature: Feature) -> None:
        """Take back what was learnt of a feature: it is to be shown once more."""
        self.capabilities = self.capabilities.without(feature)

    def learn_encryption(self, answer: Answer) -> None:
        """Remember that an answer named the encryption that was asked for."""
        if self.encryption and answer.get("ServerSideEncryption"):
            self.learn("encryption", offered=True, by="an answer named the encryption")

    async def compared_by(self, answer: Answer, part: FilePart) -> Digest:
        """The digest by which an answer to a body is judged: with its md5 where no checksum came.

        The part is read for that where its md5 is not at hand; those that follow have it.
        """
        told = echoed(answer)
        if told and self.capabilities.lacks("echoed_checksums"):
            by = "a body was answered with its checksum"
            self.learn("echoed_checksums", offered=True, by=by)
        if told or part.digest.md5:
            return part.digest
        if not self.capabilities.lacks("body_checksums"):  # else none was sent
            by = "a body was answered without its checksum"
            self.learn("echoed_checksums", offered=False, by=by)
        return await run_in(None, part.with_md5)

    def adopt(self, capabilities: Capabilities) -> None:
        """Start from what was known of the server before."""
        self.capabilities = capabilities
        if self._may_change_style and capabilities.lacks("path_addresses"):
            self.use_style("virtual")

    def unsure_of(self, *features: Feature) -> bool:
        """Whether the server was seen neither to offer nor to lack one of ``features``."""
        return any(one not in self.capabilities.known for one in features)

    # -- calls

    async def call(
        self,
        operation: str,
        params: Params,
        *,
        part: FilePart | None = None,
        slow: bool = False,
    ) -> Answer:
        """Make a call; the other address style is used from now on where the server wants it."""
        try:
            return await self.calls.call(operation, params, part=part, slow=slow)
        except S3IntegrationError as error:
            if not await self._is_of_the_address(error):
                raise
        if part is not None:
            part.seek(0)
        return await self.calls.call(operation, params, part=part, slow=slow)

    def use_style(self, style: AddressStyle) -> None:
        """Address the bucket in this way from the next call on; calls under way go on as begun."""
        self.calls.connection.use_style(style)

    async def _is_of_the_address(self, refusal: S3IntegrationError) -> bool:
        """Whether the other address style is answered well, and no answer to this one was."""
        told = refusal.told
        named = refusal.code == "address_style"
        # A code that is known means what it says.
        unsure = told is not None and bool(told.code) and told.code not in TABLE
        unsure = unsure and told is not None and told.status in {400, 403} and not self.answered
        if not self._may_change_style or not (named or unsure):
            return False
        self._may_change_style = False  # tried once
        self.use_style("virtual")
        try:
            await self.calls.call("list_objects_v2", {"MaxKeys": 1, "Prefix": _NOWHERE})
        except S3IntegrationError:
            self.use_style("auto")
            self._may_change_style = named  # its name may not be known here for now
            return False
        self.learn("path_addresses", offered=False, by=str(told))
        return True
