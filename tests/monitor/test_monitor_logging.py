from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from gateway.monitor.logging import Format, configure


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield logging.getLogger("gateway.test")
    root.handlers[:] = before
    root.setLevel(level)


def written(form: Format) -> io.StringIO:
    stream = io.StringIO()
    configure(form, stream=stream)
    return stream


def test_a_json_line_has_its_fields_and_the_correlation_id(log: logging.Logger) -> None:
    stream = written("json")
    log.info("payload complete", extra={"correlation_id": "c1", "payload_id": "p1", "n": 3})
    line = json.loads(stream.getvalue())
    assert line["message"] == "payload complete"
    assert line["level"] == "info"
    assert line["correlation_id"] == "c1"
    assert (line["payload_id"], line["n"]) == ("p1", 3)
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "text"])
def test_patient_data_is_dropped_and_the_mistake_is_named(
    log: logging.Logger, form: Format
) -> None:
    stream = written(form)
    log.warning(
        "bad data set in input/dcm/SECRET/1.2/x.dcm",
        extra={
            "patient_id": "SECRET",
            "PatientName": "SECRET",
            "facts": {"AccessionNumber": "SECRET", "modality": "CT"},
        },
    )
    assert "SECRET" not in stream.getvalue()
    assert "patient_id" in stream.getvalue()
    assert "CT" in stream.getvalue()
    assert "input/dcm/*/1.2" in stream.getvalue()


def test_an_exception_is_one_json_line(log: logging.Logger) -> None:
    stream = written("json")

    def fail() -> None:
        raise ValueError("broken\nthing")

    try:
        fail()
    except ValueError:
        log.exception("failed")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert "ValueError: broken" in json.loads(lines[0])["exception"]


def test_a_peer_cannot_forge_a_line_of_text(log: logging.Logger) -> None:
    stream = written("text")
    log.info("calling", extra={"calling_ae": "CT\n12:00:00 error forged \x1b[31m"})
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_a_field_may_not_replace_what_the_line_says_itself(log: logging.Logger) -> None:
    stream = written("json")
    log.info("real", extra={"level": "forged", "odd": {1, 2}, "nan": float("nan")})
    line = json.loads(stream.getvalue())
    assert line["level"] == "info"
    assert sorted(line["odd"]) == [1, 2]


def test_a_second_configuration_replaces_the_first(log: logging.Logger) -> None:
    first, second = written("json"), written("json")
    log.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
