"""Decide whether an object holds certain bytes; no other module decides that.

What S3 says of an object counts as far as this server was seen to mean it: an ETag where its ETags
are md5, a checksum where it refuses false ones. What is left open is answered by reading back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from petal_s3.core.settings import MIB
from petal_s3.objects.expected import Expected, FromObject
from petal_s3.objects.local_bytes import part_sizes
from petal_s3.outbox.remote_objects import RemoteObject
from petal_s3.outbox.rows import Receipt
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.checksums import Digest, etag_parts, multipart_etag
from petal_s3.s3.responses import HeldPart, ObjectInfo

READ_BACK = "read-back"
_LEAST_PART_BYTES = 5 * MIB  # what is smaller never came in parts


@dataclass(frozen=True)
class Judgement:
    """``proof``: by what the object is proven equal; empty when it is not.

    ``differs``: it holds other bytes for certain. Neither: what S3 says does not tell.
    """

    proof: str = ""
    differs: bool = False


UNKNOWN = Judgement()
DIFFERENT = Judgement(differs=True)


def needs_md5(capabilities: Capabilities, *, joined: bool) -> bool:
    """Whether what is sent has to be compared by md5, which costs more than all else together.

    It has not where the CRC32 proves it: where the server was seen to refuse a body whose CRC32
    is another, and is not known to keep silent about that of a body, or of the whole object.
    ``joined``: the object comes in parts.
    """
    if not capabilities.offers("checked_checksums"):
        return True
    told: list[Feature] = ["body_checksums", "echoed_checksums", "told_checksums"]
    return any(map(capabilities.lacks, [*told, "full_checksums"] if joined else told))


async def judge(
    info: ObjectInfo,
    expected: Expected,
    capabilities: Capabilities,
    *,
    own: bool = True,
    presume: bool = False,
    confirmed: str = "",
) -> Judgement:
    """Compare what S3 says of an object with the bytes that it should hold.

    ``own``: it stands at the key of these bytes; under another key a checksum alone is no proof.
    ``presume``: nothing more can be asked, so what looks like an md5 or a checksum counts as one
    unless it was seen to be none. Proofs, the strongest first: ``crc32+etag``, ``etag``, ``crc32``.
    ``confirmed``: the ETag in S3's answer to these very bytes; it alone is no sign of others.
    No md5 is computed where the CRC32 decides: it is the server's own, or rules out another's.
    """
    if info.size != expected.size:
        return DIFFERENT
    crc32 = await expected.crc32() if info.crc32 else None
    same_crc32 = None if not info.crc32 or crc32 is None else info.crc32 == crc32
    seen = _checks(info, capabilities, presume=False)
    decided = same_crc32 is not None and (own and seen if same_crc32 else not own)
    same_etag = await _same_etag(info, expected, compute=not decided)
    if same_etag is False and confirmed == info.etag:
        same_etag = None
    if same_etag and same_crc32 is not False:
        return Judgement("crc32+etag" if same_crc32 else "etag")
    if not same_etag and same_crc32:
        return Judgement("crc32") if own and _checks(info, capabilities, presume) else UNKNOWN
    certain = (
        _checks(info, capabilities, presume) and not same_etag
        if same_crc32 is False
        else same_etag is False and _tells_bytes(info, capabilities, presume)
    )
    contradiction = presume and bool(same_etag)  # it says both
    return DIFFERENT if certain or contradiction else UNKNOWN


async def _same_etag(info: ObjectInfo, expected: Expected, *, compute: bool) -> bool | None:
    """Whether the ETag is that of the bytes; none where it cannot be known.

    ``compute``: read them for it where it is not at hand.
    """
    parts = etag_parts(info.etag)
    if parts is None or info.encryption.startswith("aws:kms"):
        return None
    part_size = info.part_size if parts else None
    if parts and (part_size is None or -(-info.size // part_size) != parts):
        return None
    etag = await expected.etag(part_size) if compute else expected.known_etag(part_size)
    if etag is None or etag == info.etag:
        return None if etag is None else True
    # Of what came in parts some servers tell an ETag of another form: it says nothing.
    return None if not parts and info.part_size is not None else False


def _checks(info: ObjectInfo, capabilities: Capabilities, presume: bool) -> bool:
    """Whether the checksum is the server's own: seen to be so, or under SSE-KMS of AWS's kind."""
    if capabilities.lacks("checked_checksums"):
        return False
    seen = capabilities.offers("checked_checksums") or info.encryption.startswith("aws:kms")
    return seen or presume


def _tells_bytes(info: ObjectInfo, capabilities: Capabilities, presume: bool) -> bool:
    """Whether another ETag means other bytes."""
    feature: Feature = "joined_etags" if etag_parts(info.etag) else "md5_etags"
    return capabilities.offers(feature) or (presume and not capabilities.lacks(feature))


def still_proven(info: ObjectInfo, receipt: Receipt) -> bool:
    """Whether an object is the one that a receipt was made for."""
    told = receipt.checksum.removeprefix("crc32:")
    same = info.size == receipt.size and info.etag == receipt.etag
    return same and info.crc32 in {"", told}


async def likely_part_size(
    held: RemoteObject, size: int, expected: Expected, capabilities: Capabilities
) -> int | None:
    """Whether an object of ``size`` bytes, as it is remembered, may hold these bytes.

    The part size by which it does, 0 where S3 has to be asked, none where it holds other bytes.
    """
    if held.crc32 and held.crc32 != await expected.crc32():
        return None
    parts = etag_parts(held.etag)
    if parts == 0 and await expected.etag(None) == held.etag:
        return 0
    known = (held.part_size,) if held.part_size else ()
    for part_size in known or (part_sizes(size, parts) if parts else ()):
        if await expected.etag(part_size) == held.etag:
            return part_size
    silent = not _rules_out(held.etag, size, capabilities)
    asked = held.part_size is not None
    unasked = not asked and (silent or bool(parts))
    return 0 if unasked or (silent and held.crc32) else None


async def may_be_proven_by(
    receipt: Receipt, expected: Expected, capabilities: Capabilities
) -> bool:
    """Whether a receipt for bytes of this size and CRC32 may be one for these, by its ETag."""
    if etag_parts(receipt.etag) or not _rules_out(receipt.etag, receipt.size, capabilities):
        return True
    return await expected.etag(None) == receipt.etag


def _rules_out(etag: str, size: int, capabilities: Capabilities) -> bool:
    """Whether an object with another ETag than that of the bytes holds other bytes."""
    parts = etag_parts(etag)
    if parts is None or capabilities.lacks("md5_etags"):
        return False
    joined = parts > 0 or size > _LEAST_PART_BYTES
    return not (joined and capabilities.lacks("joined_etags"))


def copied_etag(source: ObjectInfo, part_size: int, parts: Sequence[HeldPart]) -> str:
    """The ETag that a copy made of these parts must have; empty where that cannot be known."""
    if source.part_size == part_size and etag_parts(source.etag) == len(parts):
        return source.etag
    if any(etag_parts(part.etag) != 0 for part in parts):
        return ""  # no md5 (SSE-KMS): size and checksum have to tell
    return multipart_etag([bytes.fromhex(part.etag) for part in parts])


async def copy_proof(
    there: ObjectInfo, source: ObjectInfo, crc32: str, capabilities: Capabilities, *, fresh: bool
) -> str:
    """By what a copy is proven to hold the bytes of a proven ``source``; empty when it is not.

    ``crc32``: that of the bytes, as S3 writes it. ``fresh``: the copy was made just now, and its
    ETag compared with that of the copied parts (:func:`copy_differs`).
    """
    expected = FromObject(replace(source, crc32=crc32))
    how = (await judge(there, expected, capabilities)).proof
    return how or ("crc32" if fresh and there.crc32 == crc32 else "")


def copy_differs(
    source: ObjectInfo, there: ObjectInfo, capabilities: Capabilities, etag: str = ""
) -> bool:
    """Whether a copy that S3 made is seen to be another object; ``etag``: what it should have.

    Where the ETags cannot be compared, S3 has copied this very version (CopySourceIfMatch), and
    size and checksum are all it tells.
    """
    if there.size != source.size:
        return True
    if source.crc32 and there.crc32 and source.crc32 != there.crc32:
        return True
    parts = etag_parts(there.etag)
    hidden = any(info.encryption.startswith("aws:kms") for info in (source, there))
    if hidden or parts is None or capabilities.lacks("joined_etags" if parts else "md5_etags"):
        return False
    same_cut = parts == 0 or source.part_size == there.part_size is not None
    if parts == 0 and source.part_size is not None:
        return False  # of what came in parts the source has an ETag of another form
    if not etag and parts == etag_parts(source.etag) and same_cut:
        etag = source.etag
    return etag not in {"", there.etag}


def part_differs(part: HeldPart, whole: Digest, capabilities: Capabilities) -> bool:
    """Whether a part that S3 holds is known to hold other bytes than ``whole``.

    Where the server's ETags say nothing and it tells no checksum, that stays open: the object is
    proven as a whole in the end. Where ``whole`` has no md5 the CRC32 alone is compared.
    """
    if part.size != whole.size:
        return True
    if part.crc32 == whole.crc32_base64 or (whole.md5 and part.etag == whole.etag):
        return False
    if part.crc32:
        return True
    return etag_parts(part.etag) is not None and not capabilities.lacks("part_etags")
