"""What S3 says of an object proves it, rules it out, or leaves it open: nothing else decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from petal_s3.objects.expected import FromObject
from petal_s3.objects.proof import (
    DIFFERENT,
    UNKNOWN,
    Judgement,
    copy_differs,
    judge,
    needs_md5,
    part_differs,
    still_proven,
)
from petal_s3.outbox.rows import Receipt
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.checksums import digest_of, multipart_etag
from petal_s3.s3.responses import HeldPart, ObjectInfo

BODY = b"0123456789"
OTHER = b"9876543210"
PART = 4
Make = Callable[..., ObjectInfo]
KMS = "aws:kms:dsse"
OWN_FORM = "opaque-to-us"  # an ETag that is no md5


def crc32_of(body: bytes) -> str:
    return digest_of(body).crc32_base64


def etag_of(body: bytes, part_size: int | None = None) -> str:
    if part_size is None:
        return digest_of(body).etag
    cut = [body[at : at + part_size] for at in range(0, len(body), part_size)]
    return multipart_etag([digest_of(part).md5 for part in cut])


@dataclass(frozen=True)
class Bytes:
    """Bytes that are at hand; ``knows`` says what of them was computed."""

    body: bytes = BODY
    knows: frozenset[str] = frozenset({"crc32", "etag"})

    @property
    def size(self) -> int:
        return len(self.body)

    async def crc32(self) -> str | None:
        return crc32_of(self.body) if "crc32" in self.knows else None

    async def etag(self, part_size: int | None) -> str | None:
        return self.known_etag(part_size)

    def known_etag(self, part_size: int | None) -> str | None:
        return etag_of(self.body, part_size) if "etag" in self.knows else None


def server(*, offers: tuple[Feature, ...] = (), lacks: tuple[Feature, ...] = ()) -> Capabilities:
    known = Capabilities()
    for feature in offers:
        known = known.with_(feature, offered=True, at=1, by="seen")
    for feature in lacks:
        known = known.with_(feature, offered=False, at=1, by="seen")
    return known


NEW = server()  # nothing is known of it
GOOD = server(offers=("md5_etags", "joined_etags", "checked_checksums"))
HONEST = server(offers=("checked_checksums",), lacks=("md5_etags", "joined_etags"))
ECHO = server(lacks=("checked_checksums",))


def whole(body: bytes = BODY, *, crc32: str = "", encryption: str = "") -> ObjectInfo:
    """Stored by one request."""
    return ObjectInfo("k", len(body), etag_of(body), crc32, encryption=encryption)


def joined(body: bytes = BODY, *, part_size: int = PART, crc32: str = "") -> ObjectInfo:
    """Stored in parts; its uploader wrote down how large they are."""
    metadata = {"part-size": str(part_size)}
    return ObjectInfo("k", len(body), etag_of(body, part_size), crc32, metadata=metadata)


def opaque(info: ObjectInfo) -> ObjectInfo:
    return replace(info, etag=OWN_FORM)


async def found(
    info: ObjectInfo, known: Capabilities, *, own: bool = True, presume: bool = False
) -> Judgement:
    return await judge(info, Bytes(), known, own=own, presume=presume)


# -- what proves


@pytest.mark.parametrize("known", [NEW, GOOD, HONEST, ECHO])
@pytest.mark.parametrize("make", [whole, joined])
async def test_checksum_and_etag_prove_at_any_server(make: Make, known: Capabilities) -> None:
    """An md5 that is that of the bytes comes from the bytes, whatever else the server does."""
    assert await found(make(crc32=crc32_of(BODY)), known) == Judgement("crc32+etag")


@pytest.mark.parametrize("known", [NEW, GOOD, HONEST, ECHO])
@pytest.mark.parametrize("make", [whole, joined])
async def test_an_etag_alone_proves(make: Make, known: Capabilities) -> None:
    assert await found(make(), known) == Judgement("etag")


async def test_an_etag_proves_where_our_own_checksum_is_not_known() -> None:
    bytes_ = Bytes(knows=frozenset({"etag"}))
    info = whole(crc32=crc32_of(OTHER))
    assert await judge(info, bytes_, GOOD) == Judgement("etag")


@pytest.mark.parametrize(
    "info", [opaque(whole(crc32=crc32_of(BODY))), joined(crc32=crc32_of(BODY))]
)
async def test_a_checksum_alone_proves_only_where_a_false_one_was_seen_to_be_refused(
    info: ObjectInfo,
) -> None:
    info = replace(info, etag=OWN_FORM)
    assert await found(info, HONEST) == Judgement("crc32")
    assert await found(info, NEW) == UNKNOWN  # it may be the one that was sent along
    assert await found(info, ECHO) == UNKNOWN


async def test_under_kms_the_checksum_is_the_servers_own() -> None:
    info = whole(crc32=crc32_of(BODY), encryption=KMS)
    info = replace(info, etag=etag_of(OTHER))  # there it is no md5 of the bytes
    assert await found(info, NEW) == Judgement("crc32")
    assert await found(info, ECHO) == UNKNOWN


async def test_under_another_key_a_checksum_alone_is_no_proof() -> None:
    info = opaque(whole(crc32=crc32_of(BODY)))
    assert await found(info, HONEST, own=False) == UNKNOWN
    assert await found(whole(crc32=crc32_of(BODY)), HONEST, own=False) == Judgement("crc32+etag")


async def test_an_etag_of_another_form_is_no_reason_to_refuse_what_the_checksum_proves() -> None:
    for etag in (OWN_FORM, etag_of(OTHER), f"{etag_of(OTHER)}-3", f"{etag_of(OTHER)}-9"):
        info = replace(joined(crc32=crc32_of(BODY)), etag=etag)
        assert await found(info, HONEST) == Judgement("crc32")


# -- what rules out


@pytest.mark.parametrize("presume", [False, True])
@pytest.mark.parametrize("known", [NEW, GOOD, HONEST, ECHO])
async def test_another_size_means_other_bytes(known: Capabilities, presume: bool) -> None:
    info = replace(whole(crc32=crc32_of(BODY)), size=len(BODY) + 1)
    assert await found(info, known, presume=presume) == DIFFERENT


@pytest.mark.parametrize("make", [whole, joined])
async def test_another_etag_means_other_bytes_where_the_servers_etags_are_md5(make: Make) -> None:
    assert await found(make(OTHER), GOOD) == DIFFERENT
    assert await found(make(OTHER), NEW) == UNKNOWN
    assert await found(make(OTHER), HONEST) == UNKNOWN


async def test_whole_objects_and_joined_ones_are_told_apart_by_what_was_seen_of_each() -> None:
    only_whole = server(offers=("md5_etags",), lacks=("joined_etags",))
    only_joined = server(offers=("joined_etags",), lacks=("md5_etags",))
    assert await found(whole(OTHER), only_whole) == DIFFERENT
    assert await found(joined(OTHER), only_whole) == UNKNOWN
    assert await found(whole(OTHER), only_joined) == UNKNOWN
    assert await found(joined(OTHER), only_joined) == DIFFERENT


async def test_another_checksum_means_other_bytes_where_the_server_checks_them() -> None:
    info = opaque(whole(crc32=crc32_of(OTHER)))
    assert await found(info, HONEST) == DIFFERENT
    assert await found(info, NEW) == UNKNOWN
    assert await found(info, ECHO) == UNKNOWN


async def test_two_that_differ_rule_out_as_far_as_the_checksum_is_trusted() -> None:
    info = whole(OTHER, crc32=crc32_of(OTHER))
    assert await found(info, GOOD) == DIFFERENT
    assert await found(info, server(offers=("md5_etags",))) == UNKNOWN  # it is read back


async def test_an_etag_that_fits_beside_a_checksum_that_does_not_is_open() -> None:
    """A server that says both says nothing; the bytes are compared."""
    info = whole(crc32=crc32_of(OTHER))
    for known in (NEW, GOOD, HONEST, ECHO):
        assert await found(info, known) == UNKNOWN
        assert await found(info, known, presume=True) == DIFFERENT


async def test_an_etag_that_does_not_fit_beside_a_checksum_that_does_proves_where_it_checks() -> (
    None
):
    info = whole(OTHER, crc32=crc32_of(BODY))
    assert await found(info, GOOD) == Judgement("crc32")
    assert await found(info, NEW) == UNKNOWN


# -- what leaves it open


@pytest.mark.parametrize("known", [NEW, GOOD, HONEST, ECHO])
async def test_an_etag_of_the_servers_own_making_says_nothing(known: Capabilities) -> None:
    assert await found(opaque(whole()), known) == UNKNOWN
    assert await found(opaque(whole()), known, presume=True) == UNKNOWN


@pytest.mark.parametrize(
    "metadata",
    [{}, {"part-size": "5"}, {"part-size": "nine"}, {"part-size": "0"}],
    ids=["not written down", "of a cut into two", "no number", "none at all"],
)
async def test_a_joined_etag_whose_cut_is_not_known_says_nothing(metadata: dict[str, str]) -> None:
    for body in (BODY, OTHER):
        info = replace(joined(body), metadata=metadata)
        assert await found(info, GOOD) == UNKNOWN


async def test_under_kms_an_etag_says_nothing() -> None:
    assert await found(whole(encryption=KMS), GOOD) == UNKNOWN
    assert await found(whole(OTHER, encryption=KMS), GOOD) == UNKNOWN
    assert await found(whole(OTHER, encryption="AES256"), GOOD) == DIFFERENT


async def test_a_plain_etag_of_what_came_in_parts_says_nothing_unless_it_fits() -> None:
    """Some servers tell the md5 of the whole there, others something that looks like one."""
    came_in_parts = {"part-size": str(PART)}
    assert await found(replace(whole(), metadata=came_in_parts), GOOD) == Judgement("etag")
    assert await found(replace(whole(OTHER), metadata=came_in_parts), GOOD) == UNKNOWN


async def test_bytes_of_which_nothing_was_computed_are_open() -> None:
    nothing = Bytes(knows=frozenset())
    assert await judge(whole(OTHER, crc32=crc32_of(OTHER)), nothing, GOOD) == UNKNOWN


# -- where nothing more can be asked


async def test_presumed_what_looks_like_a_checksum_counts_unless_it_was_seen_to_be_none() -> None:
    same, other = (opaque(whole(crc32=crc32_of(body))) for body in (BODY, OTHER))
    assert await found(same, NEW, presume=True) == Judgement("crc32")
    assert await found(same, ECHO, presume=True) == UNKNOWN
    assert await found(other, NEW, presume=True) == DIFFERENT
    assert await found(other, ECHO, presume=True) == UNKNOWN


@pytest.mark.parametrize("make", [whole, joined])
async def test_presumed_what_looks_like_an_md5_counts_unless_it_was_seen_to_be_none(
    make: Make,
) -> None:
    assert await found(make(OTHER), NEW, presume=True) == DIFFERENT
    assert await found(make(OTHER), HONEST, presume=True) == UNKNOWN
    assert await found(make(), NEW, presume=True) == Judgement("etag")


# -- the object of a receipt

RECEIPT = Receipt("k", etag_of(BODY), f"crc32:{crc32_of(BODY)}", len(BODY), "crc32+etag", 1)


def test_the_object_of_a_receipt_is_known_again_with_or_without_its_checksum() -> None:
    assert still_proven(whole(), RECEIPT)
    assert still_proven(whole(crc32=crc32_of(BODY)), RECEIPT)


@pytest.mark.parametrize(
    "changed",
    [{"size": 11}, {"etag": etag_of(OTHER)}, {"crc32": crc32_of(OTHER)}],
    ids=["size", "ETag", "checksum"],
)
def test_an_object_that_differs_in_one_of_them_is_another(changed: dict[str, Any]) -> None:
    assert not still_proven(replace(whole(crc32=crc32_of(BODY)), **changed), RECEIPT)


# -- a copy that S3 made


def test_a_copy_of_another_size_or_checksum_is_another_object() -> None:
    source = whole(crc32=crc32_of(BODY))
    assert copy_differs(source, replace(source, size=11), NEW)
    assert copy_differs(source, replace(source, crc32=crc32_of(OTHER)), NEW)
    assert not copy_differs(source, replace(source, crc32=""), NEW)
    assert not copy_differs(replace(source, crc32=""), source, NEW)


def test_a_copy_keeps_the_md5_of_its_source_where_etags_are_md5() -> None:
    assert not copy_differs(whole(), whole(), NEW)
    assert copy_differs(whole(), whole(OTHER), NEW)
    assert copy_differs(whole(), whole(OTHER), GOOD)
    assert not copy_differs(whole(), whole(OTHER), HONEST)  # its ETags say nothing
    assert not copy_differs(whole(), opaque(whole()), NEW)


def test_a_copy_in_the_same_parts_keeps_the_joined_etag() -> None:
    assert not copy_differs(joined(), joined(), NEW)
    assert copy_differs(joined(), joined(OTHER), NEW)
    assert not copy_differs(joined(), joined(OTHER), HONEST)


def test_a_copy_in_other_parts_has_the_etag_of_these_parts() -> None:
    """By its ETag it can only be compared with what was computed for the new cut."""
    there = joined(part_size=3)  # four parts
    same_number = joined(part_size=5)  # two, as with six
    assert not copy_differs(joined(), there, NEW)
    assert not copy_differs(joined(part_size=6), same_number, NEW)
    assert not copy_differs(joined(), there, NEW, etag_of(BODY, 3))
    assert copy_differs(joined(), there, NEW, etag_of(OTHER, 3))


def test_a_joined_copy_without_a_written_cut_is_not_compared_by_its_etag() -> None:
    source, there = (replace(joined(body), metadata={}) for body in (BODY, OTHER))
    assert not copy_differs(source, there, GOOD)


def test_a_whole_copy_of_what_came_in_parts_cannot_be_compared_by_its_etag() -> None:
    assert not copy_differs(joined(), whole(OTHER), GOOD)
    assert copy_differs(joined(crc32=crc32_of(BODY)), whole(crc32=crc32_of(OTHER)), GOOD)


@pytest.mark.parametrize("side", [0, 1])
def test_under_kms_a_copy_is_not_compared_by_its_etag(side: int) -> None:
    pair = [whole(), whole(OTHER)]
    pair[side] = replace(pair[side], encryption=KMS)
    assert not copy_differs(*pair, GOOD)


# -- a part that S3 holds


def held(body: bytes = BODY, *, etag: str | None = None, crc32: str = "") -> HeldPart:
    return HeldPart(1, len(body), etag_of(body) if etag is None else etag, crc32)


def test_a_part_of_another_size_holds_other_bytes() -> None:
    assert part_differs(replace(held(crc32=crc32_of(BODY)), size=9), digest_of(BODY), NEW)


def test_a_part_is_the_same_by_its_etag_or_by_its_checksum() -> None:
    lacks = server(lacks=("part_etags",))
    for known in (NEW, lacks):
        assert not part_differs(held(), digest_of(BODY), known)
        assert not part_differs(held(etag=OWN_FORM, crc32=crc32_of(BODY)), digest_of(BODY), known)
        assert not part_differs(held(OTHER, crc32=crc32_of(BODY)), digest_of(BODY), known)
        assert not part_differs(held(crc32=crc32_of(OTHER)), digest_of(BODY), known)


def test_a_part_with_another_checksum_holds_other_bytes() -> None:
    for etag in (None, OWN_FORM):
        part = held(OTHER, etag=etag, crc32=crc32_of(OTHER))
        assert part_differs(part, digest_of(BODY), server(lacks=("part_etags",)))


def test_a_part_with_another_md5_holds_other_bytes_unless_its_etags_are_no_md5() -> None:
    assert part_differs(held(OTHER), digest_of(BODY), NEW)
    assert part_differs(held(OTHER), digest_of(BODY), server(offers=("part_etags",)))
    assert not part_differs(held(OTHER), digest_of(BODY), server(lacks=("part_etags",)))
    assert not part_differs(held(OTHER, etag=OWN_FORM), digest_of(BODY), NEW)


def test_only_what_is_known_of_parts_counts_for_a_part() -> None:
    assert part_differs(held(OTHER), digest_of(BODY), server(lacks=("md5_etags", "joined_etags")))


# -- the bytes of another object


async def test_another_object_stands_for_its_bytes_as_far_as_it_tells_of_them() -> None:
    bytes_ = FromObject(joined(crc32=crc32_of(BODY)))
    assert bytes_.size == len(BODY)
    assert await bytes_.crc32() == crc32_of(BODY)
    assert await bytes_.etag(PART) == etag_of(BODY, PART)
    assert await bytes_.etag(3) is None
    assert await bytes_.etag(None) is None


async def test_a_whole_object_has_an_etag_of_the_whole_alone() -> None:
    bytes_ = FromObject(whole())
    assert await bytes_.crc32() is None
    assert await bytes_.etag(None) == etag_of(BODY)
    assert await bytes_.etag(PART) is None


async def test_an_object_whose_etag_is_no_md5_tells_no_etag() -> None:
    assert await FromObject(opaque(whole())).etag(None) is None
    assert await FromObject(opaque(joined())).etag(PART) is None


async def test_a_joined_etag_whose_cut_is_not_known_is_that_of_no_cut() -> None:
    """Else a whole copy of what somebody else joined would be called other bytes."""
    source = replace(joined(), metadata={})
    assert await FromObject(source).etag(None) is None
    assert await judge(whole(), FromObject(source), GOOD) == UNKNOWN
    assert await judge(joined(), FromObject(source), GOOD) == UNKNOWN


# -- md5 costs more than all else: it is computed where nothing else decides


class Unread(Bytes):
    """Their md5 is not at hand: to ask for it is to read the file."""

    async def etag(self, part_size: int | None) -> str | None:
        raise AssertionError("the file was read for its md5")

    def known_etag(self, part_size: int | None) -> str | None:
        return None


CHECKED = server(offers=("checked_checksums", "md5_etags", "joined_etags"))


@pytest.mark.parametrize("make", [whole, joined])
async def test_a_checksum_of_the_servers_own_proves_without_an_md5(make: Make) -> None:
    found = await judge(make(crc32=crc32_of(BODY)), Unread(), CHECKED)

    assert found.proof == "crc32"


@pytest.mark.parametrize("known", [NEW, ECHO, CHECKED])
async def test_what_another_checksum_rules_out_elsewhere_needs_no_md5(known: Capabilities) -> None:
    found = await judge(whole(crc32=crc32_of(OTHER)), Unread(), known, own=False)

    assert not found.proof


@pytest.mark.parametrize(("known", "own"), [(NEW, True), (ECHO, True), (CHECKED, False)])
async def test_an_md5_is_asked_for_where_the_checksum_alone_proves_nothing(
    known: Capabilities, own: bool
) -> None:
    with pytest.raises(AssertionError, match="read for its md5"):
        await judge(whole(crc32=crc32_of(BODY)), Unread(), known, own=own)


async def test_other_bytes_are_called_so_after_the_etag_was_compared_too() -> None:
    """A server may check the checksum of each part, and tell a false one of the whole."""
    with pytest.raises(AssertionError, match="read for its md5"):
        await judge(whole(crc32=crc32_of(OTHER)), Unread(), CHECKED)


async def test_the_etag_by_which_a_body_was_confirmed_is_no_sign_of_other_bytes() -> None:
    info = whole(OTHER)

    assert (await judge(info, Bytes(), CHECKED)).differs
    assert await judge(info, Bytes(), CHECKED, confirmed=info.etag) == UNKNOWN
    assert (await judge(info, Bytes(), CHECKED, confirmed="another")).differs


@pytest.mark.parametrize("joined_", [False, True])
@pytest.mark.parametrize(
    "silent", ["body_checksums", "echoed_checksums", "told_checksums", "full_checksums"]
)
def test_an_md5_is_needed_unless_the_checksum_is_checked_and_told(
    silent: Feature, joined_: bool
) -> None:
    assert needs_md5(NEW, joined=joined_)
    assert needs_md5(ECHO, joined=joined_)
    assert not needs_md5(CHECKED, joined=joined_)
    told = server(offers=("checked_checksums",), lacks=(silent,))
    assert needs_md5(told, joined=joined_) is (joined_ or silent != "full_checksums")


def test_without_an_md5_a_part_is_compared_by_its_checksum_alone() -> None:
    read = replace(digest_of(BODY), md5=b"")

    assert not part_differs(held(crc32=crc32_of(BODY), etag=OWN_FORM), read, CHECKED)
    assert part_differs(held(crc32=crc32_of(OTHER)), read, CHECKED)
