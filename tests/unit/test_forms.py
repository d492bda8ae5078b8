"""A multipart form gives the same file and fields however it comes, or is refused."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from petal_s3.errors import BadInput
from petal_s3.web.multipart_form import Form

T = TypeVar("T")

BOUNDARY = b"a-boundary"
KIND = "multipart/form-data; boundary=a-boundary"


async def body(blocks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what waits for nobody; a loop for each example would take most of the time."""
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    raise AssertionError("it waits")


def read(blocks: Iterable[bytes], kind: str = KIND) -> tuple[Form, bytes]:
    """The form once it has come whole, and the bytes of its file."""

    async def reading() -> tuple[Form, bytes]:
        form = Form(kind, body(blocks))
        return form, b"".join([block async for block in form.file()])

    return at_once(reading())


def part(name: str, content: bytes, more: bytes = b"", boundary: bytes = BOUNDARY) -> bytes:
    about = b'Content-Disposition: form-data; name="%s"%s' % (name.encode(), more)
    return b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, about, content)


def file_part(content: bytes, name: str = "a.ulg", boundary: bytes = BOUNDARY) -> bytes:
    return part("file", content, b'; filename="%s"' % name.encode(), boundary)


def form(*parts: bytes, boundary: bytes = BOUNDARY) -> bytes:
    return b"".join(parts) + b"--%s--\r\n" % boundary


def cut(whole: bytes, at: Sequence[int]) -> list[bytes]:
    """``whole`` in pieces, cut at these places."""
    edges = [0, *sorted(place % (len(whole) + 1) for place in at), len(whole)]
    return [whole[first:last] for first, last in itertools.pairwise(edges)]


# Bytes out of which boundaries are made, and any others.
CONTENT = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n--", BOUNDARY, BOUNDARY[:-1], b"x"]),
        max_size=40,
    ).map(b"".join),
).filter(lambda content: b"\r\n--" + BOUNDARY not in b"\r\n" + content)
PLACES = st.lists(st.integers(0, 5000), max_size=30)
FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)


@given(CONTENT, FIELDS, PLACES, st.booleans())
@example(b"\r\n--a-boundar\r\n", "x.ulg", list(range(400)), True)
def test_any_content_in_any_pieces_gives_the_same_file_and_fields(
    content: bytes, field: str, places: list[int], field_first: bool
) -> None:
    fields = part("custom_filename", field.encode())
    parts = [fields, file_part(content)] if field_first else [file_part(content), fields]
    found, taken = read(cut(form(*parts), places))
    assert taken == content
    assert found.fields == {"custom_filename": field}
    assert found.file_name == "a.ulg"


@pytest.mark.guarantee(
    "attack", "a form that ends before its last boundary", "it is refused, wherever it was cut"
)
def test_a_form_that_is_cut_anywhere_is_refused() -> None:
    whole = form(part("custom_filename", b"b.ulg"), file_part(b"\r\n--a-bound" * 3))
    assert read([whole.removesuffix(b"\r\n")])[1]
    for length in range(len(whole.removesuffix(b"\r\n"))):
        with pytest.raises(BadInput):
            read([whole[:length]])


def test_a_form_that_ends_early_gives_its_bytes_and_then_says_so() -> None:
    given_out = bytearray()

    async def reading() -> None:
        cut_off = Form(KIND, body([file_part(b"bytes of a log")[:-5]]))
        with pytest.raises(BadInput, match="ended before its last boundary"):
            async for block in cut_off.file():
                given_out.extend(block)

    at_once(reading())
    assert b"bytes of a log".startswith(bytes(given_out))


def test_blocks_are_given_out_as_they_come() -> None:
    """Nothing is gathered: memory stays flat at any size."""
    pieces = [file_part(b"")[:-2], *[bytes(1000)] * 50, b"\r\n", form()]
    sizes: list[int] = []

    async def reading() -> None:
        sizes.extend([len(block) async for block in Form(KIND, body(pieces)).file()])

    at_once(reading())
    assert sum(sizes) == 50_000
    assert max(sizes) <= 2 * 1000


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        f"multipart/form-data; boundary={'x' * 71}",
        "multipart/mixed; boundary=a-boundary",
        "multipart/form-data; border=a-boundary",
        "multipart/form-data; boundary*=utf-8",
        "multipart/form-data; boundary*=nonsense'x'%ff",
        "multipart/form-data; boundary*0=a; boundary*2=b",
        "multipart/form-data; boundary*1*=a",
    ],
)
def test_what_is_no_form_is_refused_before_anything_is_read(kind: str) -> None:
    with pytest.raises(BadInput):
        read([], kind)


@given(st.text(max_size=60).map(lambda text: f"multipart/form-data; {text}"))
@example("multipart/form-data; \u0100=x")
@example("multipart/form-data; boundary=\ud800")
def test_a_hostile_content_type_is_a_bad_request_at_most(kind: str) -> None:
    try:
        Form(kind, body([]))
    except BadInput as refused:
        assert refused.status == 400


@pytest.mark.parametrize("boundary", ["x", "x" * 70, "'()+_,-./:=?", "----WebKitFormBoundary7MA4"])
def test_any_boundary_that_a_client_may_choose_is_read(boundary: str) -> None:
    inner = boundary.encode()
    whole = form(file_part(b"a log", boundary=inner), boundary=inner)
    assert read([whole], f'multipart/form-data; boundary="{boundary}"')[1] == b"a log"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"a log without any form",
        b"\r\n",
        b"--another\r\n",
        form(),
        form(part("custom_filename", b"a.ulg")),
        form(part("file", b"a file without a name")),
        form(part("log", b"under another name", b'; filename="a.ulg"')),
        form(file_part(b"one"), file_part(b"two")),
        b"--a-boundary\r\n: no name\r\n\r\nx\r\n" + form(),
        b"--a-boundary\r\nContent Disposition: x\r\n\r\nx\r\n" + form(),
        b"--a-boundary\rContent-Disposition: form-data\r\n\r\nx\r\n" + form(),
        b'--a-boundary\r\nContent-Disposition: attachment; name="file"; filename="a"\r\n\r\nx\r\n'
        + form(),
    ],
)
def test_a_form_without_exactly_one_file_is_refused(sent: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        read([sent])
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "sent",
    [
        form(part("custom_filename", bytes(70_000)), file_part(b"a log")),
        form(*[part(f"field-{number}", b"x" * 90) for number in range(1000)], file_part(b"a log")),
        part("x" * 100_000, b""),
        b"--a-boundary\r\n" + b"X: y\r\n" * 20_000,
    ],
)
def test_fields_and_headers_without_end_are_refused(sent: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        read(cut(sent, range(0, len(sent), 4096)))
    assert refused.value.status in {400, 413}


@given(st.binary(max_size=120))
@example(b"form-data; name*=utf-8'x'%00; filename*0*=a")
@example(b"form-data; name=file; filename*=nonsense''x")
@example(b'form-data; name="file; filename*5="')
def test_a_hostile_header_is_a_bad_request_at_most(value: bytes) -> None:
    sent = b"--a-boundary\r\nContent-Disposition: %s\r\n\r\nx\r\n" % value + form()
    try:
        read([sent])
    except BadInput as refused:
        assert refused.status in {400, 413}


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("a.ulg", "a.ulg"),
        ("my flight.ulg", "my flight.ulg"),
        ("Flüg 1.ulg", "Flüg 1.ulg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\\\logs\\\\a.ulg", "a.ulg"),
        ("/etc/", ""),
        ("", ""),
    ],
)
def test_a_file_has_a_name_and_no_path(given_name: str, name: str) -> None:
    assert read([form(file_part(b"x", given_name))])[0].name == name


def test_the_name_that_was_asked_for_wins_wherever_it_stands() -> None:
    wanted = part("custom_filename", b"wanted.ulg")
    for parts in ((wanted, file_part(b"x")), (file_part(b"x"), wanted)):
        assert read([form(*parts)])[0].name == "wanted.ulg"
    assert read([form(part("custom_filename", b""), file_part(b"x"))])[0].name == "a.ulg"


def test_what_follows_the_last_boundary_is_passed_over() -> None:
    found, taken = read([form(file_part(b"a log")), b"an epilogue"])
    assert (taken, found.name) == (b"a log", "a.ulg")
