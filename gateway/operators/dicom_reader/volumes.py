"""Tell the volumes of one series apart: time points, b-values, echoes, magnitude and phase.

Several images at one position are volumes only if something says so: a label that differs, a time,
or a declared number of temporal positions. Otherwise the slices are doubled, and which of them is
right is not for a program to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.frames import Frame, Labels

Volumes = tuple[tuple[Frame, ...], ...]
Key = Callable[[Frame], Any]


def split_volumes(places: Sequence[Sequence[Frame]], declared: int) -> Volumes:
    """Return `[volume][slice]` from the frames at each place, ordered by first appearance.

    `declared` is the Number of Temporal Positions (0020,0105), 0 if unknown.

    Raises:
        InputRefusedError: DOUBLED_SLICES, INCOMPLETE_VOLUME.
    """
    counts = {len(place) for place in places}
    if counts == {1}:
        return (tuple(place[0] for place in places),)
    if len(counts) > 1:
        raise _unequal(places)
    by_label = _by_label(places)
    if by_label is not None:
        return by_label
    if _distinct_times(places):
        return _by_rank(places, _time)
    if declared == counts.pop() and _distinct(places, _order):
        return _by_rank(places, _order)
    raise refused(
        SeriesRefusal.DOUBLED_SLICES,
        f"{len(places[0])} images at every position and nothing tells them apart",
    )


def _order(frame: Frame) -> tuple[int, int]:
    return frame.order


def _time(frame: Frame) -> str:
    return frame.time


def _distinct_times(places: Sequence[Sequence[Frame]]) -> bool:
    return all(frame.time.strip("|") for place in places for frame in place) and _distinct(
        places, _time
    )


def _distinct(places: Sequence[Sequence[Frame]], key: Key) -> bool:
    return all(len({key(frame) for frame in place}) == len(place) for place in places)


def _by_rank(places: Sequence[Sequence[Frame]], key: Key) -> Volumes:
    ranked = [sorted(place, key=lambda frame: (key(frame), frame.order)) for place in places]
    return tuple(zip(*ranked, strict=True))


def _unequal(places: Sequence[Sequence[Frame]]) -> Exception:
    most = max(len(place) for place in places)
    fullest = max(places, key=len)
    several = sum(len(place) > 1 for place in places)
    if _labels_of(fullest) and several * 2 > len(places):
        return refused(
            SeriesRefusal.INCOMPLETE_VOLUME,
            f"{most} volumes, but not all of them have all {len(places)} slices",
        )
    return refused(
        SeriesRefusal.DOUBLED_SLICES,
        f"{several} of {len(places)} positions hold more than one image",
    )


def _labels_of(place: Sequence[Frame]) -> set[Labels]:
    """Return the labels of one place if each of its frames has its own, else none."""
    labels = {frame.labels for frame in place}
    return labels if len(labels) == len(place) else set()


def _by_label(places: Sequence[Sequence[Frame]]) -> Volumes | None:
    wanted = _labels_of(places[0])
    if not wanted or any(_labels_of(place) != wanted for place in places):
        return None
    first_seen: dict[Labels, tuple[int, int]] = {}
    for place in places:
        for frame in place:
            first_seen[frame.labels] = min(frame.order, first_seen.get(frame.labels, frame.order))
    lookup = [{frame.labels: frame for frame in place} for place in places]
    ordered = sorted(wanted, key=lambda labels: first_seen[labels])
    return tuple(tuple(place[labels] for place in lookup) for labels in ordered)
