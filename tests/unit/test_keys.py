"""Keys follow from the log, never collide, and belong to one machine."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from petal_s3.errors import BadInput, ConfigError, NotAllowed
from petal_s3.objects.key_names import key_name, key_with_crc, log_key
from petal_s3.objects.ownership import MAX_KEY_BYTES, KeyOwnership, well_formed
from petal_s3.objects.user_metadata import header_value, metadata

WHEN = datetime(2025, 7, 27, 14, 30, 22, tzinfo=timezone.utc)
HOME = "flight_logs/m-1/"
PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
# Any name a file system or a caller can hand over: bytes that are no UTF-8 come as surrogates.
NAMES = st.text(max_size=300) | st.binary(max_size=255).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
LOG_NAMES = st.builds(str.__add__, NAMES, st.sampled_from([".ulg", ".bag", ".ULG"]))
MACHINE_IDS = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)


@pytest.fixture
def ownership() -> KeyOwnership:
    return KeyOwnership("flight_logs/", ("m-1",))


# -- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mission_log.ulg", "mission_log.ulg"),
        ("Mission-7.v2.BAG", "Mission-7.v2.BAG"),
        ("my flight  log.ulg", "my_flight_log.ulg"),
        ("größe & co.ulg", "gr_e_co.ulg"),
        ("  spaced  .ulg", "spaced.ulg"),
        ("__under__.ulg", "under.ulg"),
        ("日本.ulg", "log.ulg"),
        (".ulg", "log.ulg"),
        ("", "log"),
        ("___", "log"),
        ("noextension", "noextension"),
        ("a/b\\c.ulg", "a_b_c.ulg"),
        ("a\0b.ulg", "a_b.ulg"),
        ("a.ü", "a"),
        ("a.tar.gz", "a.tar.gz"),
        ("x" * 300 + ".ulg", "x" * 200 + ".ulg"),
        ("x" * 199 + "ü" + "y.ulg", "x" * 199 + ".ulg"),
        ("a." + "x" * 5000, "a." + "x" * 200),
    ],
)
def test_a_file_name_becomes_plain_ascii(name: str, expected: str) -> None:
    assert key_name(name) == expected


@given(NAMES)
def test_any_name_gives_a_plain_name_of_bounded_length(name: str) -> None:
    plain = key_name(name)
    assert PLAIN.fullmatch(plain)
    assert len(plain) <= 401


@given(LOG_NAMES)
def test_a_log_keeps_its_extension(name: str) -> None:
    assert key_name(name).endswith(name[-4:])


@given(NAMES)
@example("..")
@example(".0.")
def test_no_underscore_stands_at_the_ends_of_a_stem(name: str) -> None:
    stem, dot, extension = key_name(name).rpartition(".")
    stem = stem if dot else extension
    assert stem == stem.strip("_")
    assert stem


@given(NAMES)
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert key_name(key_name(name)) == key_name(name)


# -- keys


def test_a_key_tells_machine_time_and_name() -> None:
    assert log_key(HOME, "mission_log.ulg", WHEN) == (
        "flight_logs/m-1/20250727_143022_mission_log.ulg"
    )


def test_date_folders_stand_between_machine_and_time() -> None:
    assert log_key(HOME, "a.ulg", WHEN, date_folders=True) == (
        "flight_logs/m-1/2025/07/27/20250727_143022_a.ulg"
    )


@given(NAMES, MACHINE_IDS, st.booleans())
@pytest.mark.guarantee(
    "attack",
    "any file name and any time",
    "its key lies in the folder of this machine",
)
def test_any_log_gets_a_key_that_its_machine_owns(
    name: str, machine_id: str, date_folders: bool
) -> None:
    if machine_id in {".", "..", "deleted", "flight_logs"}:
        return
    land = KeyOwnership("flight_logs/", (machine_id,))
    key = log_key(land.machine_prefix, name, WHEN, date_folders=date_folders)
    assert land.owns(key)
    assert land.check(key) == key
    assert len(key) <= MAX_KEY_BYTES // 2
    assert PLAIN.fullmatch(key.removeprefix(land.machine_prefix).replace("/", ""))


@given(NAMES, st.integers(0, 0xFFFFFFFF))
def test_the_second_spelling_is_another_key_with_the_same_extension(name: str, crc: int) -> None:
    key = log_key(HOME, name, WHEN)
    second = key_with_crc(key, crc)
    assert second != key
    assert second.replace(f"-{crc:08x}", "", 1) == key
    folder, _, rest = second.rpartition("/")
    assert folder == "flight_logs/m-1"
    assert rest.rpartition(".")[2] == key.rpartition(".")[2] or "." not in key


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("p/m/a.ulg", "p/m/a-0000abcd.ulg"),
        ("p/m/a.b.ulg", "p/m/a.b-0000abcd.ulg"),
        ("p.x/m/noextension", "p.x/m/noextension-0000abcd"),
        ("a.ulg", "a-0000abcd.ulg"),
    ],
)
def test_the_checksum_stands_before_the_extension(key: str, expected: str) -> None:
    assert key_with_crc(key, 0xABCD) == expected


# -- who owns what

OWN = [
    "flight_logs/m-1/a.ulg",
    "flight_logs/m-1/2025/07/27/a.ulg",
    "m-1/a.ulg",
    "deleted/flight_logs/m-1/a.ulg",
    "deleted/m-1/a.ulg",
    "flight_logs/m-1/ä ö+?#.ulg",
    "flight_logs/m-1/..a",
]
FOREIGN = [
    "flight_logs/m-10/a.ulg",
    "flight_logs/m-/a.ulg",
    "flight_logs/M-1/a.ulg",
    "flight_logs/m-1",
    "flight_logs/m-1x",
    "flight_logs/a.ulg",
    "m-10/a.ulg",
    "other/m-1/a.ulg",
    "deleted/flight_logs/m-10/a.ulg",
    "deleted/m-10/a.ulg",
    "deleted/a.ulg",
    "deleted/deleted/m-1/a.ulg",
    "a.ulg",
]
CLIMBING = [
    "/",
    "flight_logs/m-1/",
    "flight_logs/m-1//a.ulg",
    "/flight_logs/m-1/a.ulg",
    "flight_logs/m-1/../m-10/a.ulg",
    "flight_logs/m-1/./a.ulg",
    "flight_logs/m-1/a/..",
    "../flight_logs/m-1/a.ulg",
]
# Harmless to S3 as they stand; not to whoever decodes them once more on the way.
VEILED = [
    "flight_logs/m-1/%2e%2e/m-10/a.ulg",
    "flight_logs/m-1/%252e%252e/m-10/a.ulg",
    "flight_logs/m-1/..%2fm-10/a.ulg",
    "flight_logs/m-1/..\\m-10\\a.ulg",
    "flight_logs/m-1/%5c..%5cm-10",
    "flight_logs/m-1/%2F%2F",
    "flight_logs/m-1/a%0ab.ulg",
    "flight_logs/m-1/%25252525252525252e",
]
UNWRITABLE = [
    "",
    "flight_logs/m-1/a\nb.ulg",
    "flight_logs/m-1/a\0.ulg",
    "flight_logs/m-1/a\x7f.ulg",
    "flight_logs/m-1/a\x9b31m.ulg",
    "flight_logs/m-1/a\x85b.ulg",
    "flight_logs/m-1/a\u2028b.ulg",
    "flight_logs/m-1/\udcff.ulg",
    "flight_logs/m-1/" + "x" * 1024,
    "flight_logs/m-1/" + "ä" * 510,
]


@pytest.mark.parametrize("key", OWN)
def test_a_machine_owns_its_four_roots(ownership: KeyOwnership, key: str) -> None:
    assert ownership.owns(key)
    assert ownership.check(key) == key


@pytest.mark.parametrize("key", FOREIGN)
def test_what_lies_elsewhere_is_not_its_own(ownership: KeyOwnership, key: str) -> None:
    assert not ownership.owns(key)
    with pytest.raises(NotAllowed):
        ownership.check(key)


@pytest.mark.parametrize("key", CLIMBING + VEILED)
@pytest.mark.guarantee(
    "attack",
    "a key that climbs out of its folder, as it stands or when it is decoded once more",
    "refused before anything is asked",
)
@pytest.mark.threat("neighbour")
def test_a_key_that_climbs_out_by_any_reading_is_not_ours(
    ownership: KeyOwnership, key: str
) -> None:
    assert well_formed(key) is (key in VEILED)
    assert not ownership.owns(key)
    with pytest.raises(NotAllowed):
        ownership.check(key)


@pytest.mark.parametrize("key", UNWRITABLE)
@pytest.mark.guarantee(
    "attack", "a key that holds control characters or is too long", "refused: it can be no key"
)
def test_a_key_that_cannot_be_signed_is_no_key(ownership: KeyOwnership, key: str) -> None:
    assert not well_formed(key)
    assert not ownership.owns(key)
    with pytest.raises(BadInput) as caught:
        ownership.check(key)
    assert key not in caught.value.message or not key


def test_a_key_may_be_given_as_a_uri_of_its_own_bucket() -> None:
    land = KeyOwnership("flight_logs/", ("m-1",), "logs")
    assert land.check("s3://logs/m-1/a.ulg") == "m-1/a.ulg"
    assert land.check("S3://logs/m-1/a.ulg") == "m-1/a.ulg"
    assert land.listing_prefix("s3://logs/m-1/") == "m-1/"
    for elsewhere in ("s3://other/m-1/a.ulg", "s3://log/m-1/a.ulg", "s3:///m-1/a.ulg", "s3://"):
        with pytest.raises(NotAllowed):
            land.check(elsewhere)
    with pytest.raises(NotAllowed):
        land.check("s3://logs/m-10/a.ulg")


@pytest.mark.parametrize("key", ["flight_logs/m-1/100%.ulg", "flight_logs/m-1/a%20b%41.ulg"])
def test_a_percent_sign_in_a_key_is_nothing_bad(ownership: KeyOwnership, key: str) -> None:
    assert ownership.check(key) == key


def test_a_key_may_have_1024_bytes_and_no_more(ownership: KeyOwnership) -> None:
    longest = HOME + "x" * (MAX_KEY_BYTES - len(HOME))
    assert ownership.owns(longest)
    assert not ownership.owns(longest + "x")


def test_a_machine_with_two_ids_owns_the_keys_of_both() -> None:
    both = KeyOwnership("flight_logs/", ("new-id", "host-id"))
    assert both.machine_prefix == "flight_logs/new-id/"
    for machine_id in ("new-id", "host-id"):
        for root in ("flight_logs/", "", "deleted/flight_logs/", "deleted/"):
            assert both.owns(f"{root}{machine_id}/a.ulg")
    assert not both.owns("flight_logs/new-id-2/a.ulg")


def test_without_an_upload_prefix_the_machine_stands_first() -> None:
    bare = KeyOwnership("", ("m-1",))
    assert bare.machine_prefix == "m-1/"
    assert bare.owned_prefixes == ("m-1/", "deleted/m-1/")
    assert bare.listing_prefix("m-10/") == "m-1/m-10/"


@given(MACHINE_IDS, MACHINE_IDS, st.sampled_from(["flight_logs/", "", "a/b/"]), NAMES)
@pytest.mark.threat(
    "neighbour",
    "it has an id that begins like another's, or any other",
    "no key belongs to two machines",
)
def test_no_two_machines_own_the_same_key(one: str, other: str, prefix: str, name: str) -> None:
    ids = {one, other}
    if len(ids) == 1 or ids & {".", "..", "deleted", "flight_logs", "a"}:
        return
    for root in KeyOwnership(prefix, (one,)).owned_prefixes:
        key = root + key_name(name)
        assert KeyOwnership(prefix, (one,)).owns(key)
        assert not KeyOwnership(prefix, (other,)).owns(key)


@pytest.mark.parametrize(
    ("prefix", "machine_id"),
    [
        ("flight_logs/", "flight_logs"),
        ("flight_logs/", "deleted"),
        ("a/b/", "a"),
        ("", "deleted"),
        ("deleted/x/", "x"),
    ],
)
@pytest.mark.threat(
    "neighbour",
    "its id is the name of a folder that others are in",
    "refused at start, with the setting named",
)
def test_a_machine_named_like_a_shared_folder_is_refused(prefix: str, machine_id: str) -> None:
    with pytest.raises(ConfigError, match=f"PETAL_S3_MACHINE_ID: {machine_id} names a folder"):
        KeyOwnership(prefix, (machine_id,))
    with pytest.raises(ConfigError):
        KeyOwnership(prefix, ("m-1", machine_id))


# -- what may be listed


@pytest.mark.parametrize(
    ("prefix", "whole"),
    [
        (None, "flight_logs/m-1/"),
        ("", "flight_logs/m-1/"),
        ("2025/", "flight_logs/m-1/2025/"),
        ("2025/07", "flight_logs/m-1/2025/07"),
        ("20250727_", "flight_logs/m-1/20250727_"),
        ("flight_logs/m-1/", "flight_logs/m-1/"),
        ("flight_logs/m-1/2025", "flight_logs/m-1/2025"),
        ("m-1/", "m-1/"),
        ("deleted/m-1/", "deleted/m-1/"),
        ("deleted/flight_logs/m-1/x", "deleted/flight_logs/m-1/x"),
        ("m-10/", "flight_logs/m-1/m-10/"),
    ],
)
def test_a_listing_stays_inside_an_owned_root(
    ownership: KeyOwnership, prefix: str | None, whole: str
) -> None:
    assert ownership.listing_prefix(prefix) == whole


@pytest.mark.parametrize(
    "prefix",
    [
        "flight_logs/",
        "flight_logs/m-1",
        "flight_logs/m-10/",
        "flight_logs/m",
        "deleted/",
        "deleted/m-10/",
        "deleted/flight_logs/",
    ],
)
def test_another_root_cannot_be_listed(ownership: KeyOwnership, prefix: str) -> None:
    with pytest.raises(NotAllowed):
        ownership.listing_prefix(prefix)


@pytest.mark.parametrize(
    "prefix",
    [
        "../m-10/",
        "a/../../m-10/",
        "flight_logs/m-1/../m-10/",
        "flight_logs/m-1/%2e%2e/m-10/",
        "%2e%2e%2fm-10/",
        "..\\..\\m-10",
        "..",
        "/m-10/",
        "a//b",
        "s3://other/m-1/",
    ],
)
def test_a_listing_cannot_escape(ownership: KeyOwnership, prefix: str) -> None:
    with pytest.raises(NotAllowed):
        ownership.listing_prefix(prefix)


@pytest.mark.parametrize("prefix", ["a\nb", "x" * 1024, "flight_logs/m-1/\0"])
def test_what_can_be_no_prefix_is_refused(ownership: KeyOwnership, prefix: str) -> None:
    with pytest.raises(BadInput):
        ownership.listing_prefix(prefix)


@given(st.text(max_size=60))
def test_whatever_is_asked_for_a_listing_is_ours_or_refused(prefix: str) -> None:
    land = KeyOwnership("flight_logs/", ("m-1",))
    try:
        whole = land.listing_prefix(prefix)
    except (NotAllowed, BadInput):
        return
    assert whole.startswith(land.owned_prefixes)
    assert ".." not in whole.split("/")


# -- metadata


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("mission_log.ulg", "mission_log.ulg"),
        ("größe.ulg", "gr%C3%B6%C3%9Fe.ulg"),
        ("a b%c", "a%20b%25c"),
        ("a\r\nx-amz-acl: public", "a%0D%0Ax-amz-acl:%20public"),
        ("\udcff.ulg", "%FF.ulg"),
    ],
)
def test_metadata_travels_percent_encoded(text: str, encoded: str) -> None:
    assert header_value(text) == encoded


@given(NAMES)
def test_an_original_name_can_be_read_back(name: str) -> None:
    value = header_value(name)
    raw = name.encode("utf-8", "surrogateescape")
    assert value.isascii()
    assert value.isprintable()
    assert raw.startswith(unquote_to_bytes(value))  # whole, or cut where 1 KB would not hold it
    if len(value) < 1000:
        assert unquote(value, errors="surrogateescape") == name


@pytest.mark.parametrize("shift", range(6))
def test_a_name_that_is_cut_is_never_cut_inside_an_escape(shift: int) -> None:
    name = "x" * shift + "ä" * 400
    value = header_value(name)
    assert 1021 < len(value) <= 1024
    assert name.encode().startswith(unquote_to_bytes(value))


def test_metadata_never_exceeds_what_s3_takes() -> None:
    kept = metadata([(f"name-{number}", "x" * 300) for number in range(20)])
    assert 1700 < sum(len(name) + len(text) for name, text in kept.items()) <= 2048
    assert list(kept)[:2] == ["name-0", "name-1"]


def test_a_value_that_finds_no_room_does_not_keep_out_a_smaller_one() -> None:
    big = [(f"big-{number}", "x" * 1000) for number in range(3)]
    assert list(metadata([*big, ("small", "y")])) == ["big-0", "big-1", "small"]


def test_empty_values_are_left_out_and_take_no_room() -> None:
    empty = [(f"{number:03}" + "n" * 100, "") for number in range(50)]
    assert metadata([*empty, ("kept", "x")]) == {"kept": "x"}


@given(st.lists(st.tuples(st.from_regex(r"[a-z-]{1,30}", fullmatch=True), NAMES), max_size=30))
def test_any_metadata_fits_into_two_kilobytes(pairs: list[tuple[str, str]]) -> None:
    kept = metadata(pairs)
    assert sum(len(name) + len(text) for name, text in kept.items()) <= 2048
    assert all(text.isascii() and text for text in kept.values())
