"""Identifiers, times, metadata and names: what is taken, what is refused, and how."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.platform import convert, metadata
from gateway.platform.errors import Code, PlatformError
from gateway.platform.names import parts, shown
from gateway.platform.wire.common_pb2 import Identifier, Timestamp

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
HEX = GUID.replace("-", "")


@pytest.mark.parametrize("text", [HEX, HEX.upper(), GUID, f"{{{GUID}}}", f"({GUID})", f" {GUID} "])
def test_every_guid_form_is_the_same_identifier(text: str) -> None:
    assert convert.identified(Identifier(value=text), "job") == HEX


@pytest.mark.parametrize("text", ["", "x", HEX[:-1], HEX + "0", f"{{{GUID}", "../" + HEX, "g" * 32])
def test_other_texts_are_no_identifier(text: str) -> None:
    with pytest.raises(PlatformError) as caught:
        convert.identified(Identifier(value=text), "job")
    assert caught.value.code == Code.INVALID


def test_times_count_from_year_one() -> None:
    at = datetime(2020, 5, 17, 12, 30, 15, tzinfo=UTC)
    sent = convert.timestamp(at.timestamp())
    assert sent.value == (at - datetime(1, 1, 1, tzinfo=UTC)).total_seconds()
    assert convert.unix(sent) == at.timestamp()
    assert convert.timestamp(None).value == 0
    assert convert.old_time(at.timestamp()) == "2020-05-17 12:30:15Z"
    with pytest.raises(PlatformError):
        convert.unix(Timestamp(value=2**62))


def test_metadata_keys_have_no_case() -> None:
    present = {"Site": "A"}
    assert metadata.added(present, {"b": "1"}) == {"Site": "A", "b": "1"}
    assert metadata.removed(present, ["SITE", "absent"]) == {}
    for more in ({"SITE": "B"}, {"x": "1", "X": "2"}):
        with pytest.raises(PlatformError) as caught:
            metadata.added(present, more)
        assert caught.value.code == Code.EXISTS
    assert present == {"Site": "A"}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"k" * 128: "v" * 256}, None),
        ({"k" * 129: "v"}, Code.LIMIT),
        ({"é" * 65: "v"}, Code.LIMIT),
        ({"k": "v" * 257}, Code.LIMIT),
        ({"": "v"}, Code.INVALID),
        ({"a\nb": "v"}, Code.INVALID),
        ({"a": "\0"}, Code.INVALID),
        ({f"k{n:05}": "v" * 256 for n in range(14_000)}, None),
        ({f"k{n:05}": "v" * 256 for n in range(15_000)}, Code.LIMIT),
    ],
)
def test_metadata_limits(more: dict[str, str], code: Code | None) -> None:
    if code is None:
        assert metadata.added({}, more) == more
        return
    with pytest.raises(PlatformError) as caught:
        metadata.added({}, more)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "name", ["/input/x.dcm", "./input/x.dcm", "input//x.dcm", "//input/./x.dcm"]
)
def test_one_file_has_many_names(name: str) -> None:
    assert shown(parts(name)) == "/input/x.dcm"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", Code.INVALID),
        ("/", Code.INVALID),
        ("./.", Code.INVALID),
        ("..", Code.INVALID),
        ("a/../../b", Code.INVALID),
        ("/../etc/passwd", Code.INVALID),
        ("a\0b", Code.INVALID),
        ("a\nb", Code.INVALID),
        ("a" * 256, Code.LIMIT),
        ("é" * 128, Code.LIMIT),
        ("a/" * 513, Code.LIMIT),
        ("a/" * 65, Code.LIMIT),
    ],
)
def test_bad_names(name: str, code: Code) -> None:
    with pytest.raises(PlatformError) as caught:
        parts(name)
    assert caught.value.code == code


@given(st.text(alphabet="ab./\\ \0\n~é", max_size=40))
def test_no_name_leads_out(name: str) -> None:
    try:
        found = parts(name)
    except PlatformError:
        return
    assert found
    assert not {"", ".", ".."} & set(found)
    assert not any("/" in part or "\0" in part for part in found)
