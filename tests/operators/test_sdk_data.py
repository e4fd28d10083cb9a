"""The SDK's side of data in shared memory, alone: any folder will do for it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gateway.operators.sdk import run
from gateway.operators.sdk.data import Slot, find_slot, parse_slots
from gateway.operators.sdk.errors import InputRefusedError, OperatorError, UsageError


def slot(tmp_path, element="int16", shape=(2, -1)):
    return Slot("x", tmp_path / "x.npy", element, shape)


def test_what_is_written_is_read_as_a_view(tmp_path):
    one = slot(tmp_path)
    one.create((2, 5))[...] = 7
    read = one.read()
    assert isinstance(read, np.memmap)
    assert (read.shape, read.dtype, int(read.sum())) == ((2, 5), np.int16, 70)
    with pytest.raises(ValueError, match="read-only"):
        read[0, 0] = 1
    one.write(np.ones((2, 3), np.int16)[:, ::-1])
    assert one.read().tolist() == [[1, 1, 1], [1, 1, 1]]


def test_nothing_is_an_array_too(tmp_path):
    one = slot(tmp_path)
    one.write(np.empty((2, 0), np.int16))
    assert one.read().shape == (2, 0)


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3)), np.zeros((3, 3), np.int16), np.zeros(2, np.int16), [[1], [2]]]
)
def test_what_is_not_declared_is_not_written(tmp_path, values):
    with pytest.raises(OperatorError, match="DATA_MISMATCH"):
        slot(tmp_path).write(values)
    assert list(tmp_path.iterdir()) == []


def test_an_open_dimension_must_be_told(tmp_path):
    with pytest.raises(OperatorError, match="DATA_MISMATCH"):
        slot(tmp_path).create()
    assert slot(tmp_path, shape=(2, 2)).create().shape == (2, 2)


def test_what_finds_no_room_is_refused_before_a_page_is_touched(tmp_path):
    with pytest.raises(OperatorError, match="DATA_FULL"):
        slot(tmp_path).create((2, 1 << 50))


def test_what_another_wrote_wrongly_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(InputRefusedError, match="DATA_MISMATCH"):
        slot(tmp_path).read()


@pytest.mark.parametrize("text", ["{", "[1]", '[{"name": "x"}]', '[{"name": "x", "path": 1}]', "7"])
def test_a_bad_variable_is_a_usage_error(text):
    with pytest.raises(UsageError, match="BAD_DATA_VARIABLE"):
        parse_slots(text)


def test_slots_are_found_in_any_case_of_letters(tmp_path):
    assert parse_slots("") == ()
    assert find_slot([slot(tmp_path)], "X", "input").name == "x"
    with pytest.raises(UsageError, match=r"NO_DATA_OUTPUT.*given: x"):
        find_slot([slot(tmp_path)], "y", "output")


def test_a_context_hands_texts_and_numbers_on(tmp_path):
    slots = [
        {"name": "t", "path": f"{tmp_path}/t.npy", "element-type": "uint8", "shape": [-1]},
        {"name": "n", "path": f"{tmp_path}/n.npy", "element-type": "int32", "shape": [1]},
    ]

    def maker(context):
        context.write_text("t", "µ")
        context.write_number("n", -3)

    def reader(context):
        assert (context.text("t"), context.number("n")) == ("µ", -3)
        context.array("gone")

    told = json.dumps(slots)
    assert run("maker", maker, argv=[], environ={"GATEWAY_DATA_OUTPUTS": told}) == 0
    assert run("reader", reader, argv=[], environ={"GATEWAY_DATA_INPUTS": told}) == 2
