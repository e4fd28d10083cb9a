"""Transforms of intensities and labels; those of space are in `spatial`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from gateway.operators.base_inference.volume import Array, Fields
from gateway.operators.sdk import OperatorError


class EachField:
    """A transform that changes the values of each named field; subclasses say how.

    `change` takes and returns values `[channel, i, j, k]`.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)

    def __call__(self, fields: Fields) -> None:
        """Change the fields in place."""
        for name in self.fields:
            volume = fields[name]
            fields[name] = volume.with_values(self.change(volume.values))

    def change(self, values: Array) -> Array:
        """Return the new values; the shape along i, j, k stays."""
        raise NotImplementedError


class ScaleIntensityRange(EachField):
    """Map a_min..a_max linearly to b_min..b_max; `clip` cuts what lies outside."""

    def __init__(
        self,
        fields: Sequence[str],
        a_min: float,
        a_max: float,
        b_min: float,
        b_max: float,
        clip: bool,
    ) -> None:
        super().__init__(fields)
        if a_max == a_min:
            raise OperatorError("BAD_RANGE", "a_min and a_max are equal: nothing to scale")
        self.source, self.target, self.clip = (a_min, a_max), (b_min, b_max), clip

    def change(self, values: Array) -> Array:
        """Scale as float32."""
        (a_min, a_max), (b_min, b_max) = self.source, self.target
        slope = (b_max - b_min) / (a_max - a_min)
        scaled = values.astype(np.float32)
        scaled -= np.float32(a_min)
        scaled *= np.float32(slope)
        scaled += np.float32(b_min)
        if self.clip:
            np.clip(scaled, min(b_min, b_max), max(b_min, b_max), out=scaled)
        return scaled


class NormalizeIntensities(EachField):
    """Subtract the mean, divide by the standard deviation; `nonzero`: of and on voxels not 0."""

    def __init__(self, fields: Sequence[str], nonzero: bool) -> None:
        super().__init__(fields)
        self.nonzero = nonzero

    def change(self, values: Array) -> Array:
        """Normalise each channel by itself; a constant channel only loses its mean."""
        result = values.astype(np.float32)
        for channel in result:
            chosen = channel != 0 if self.nonzero else np.ones(channel.shape, bool)
            if chosen.any():
                inside = channel[chosen]
                channel[chosen] = (inside - inside.mean()) / (inside.std() or 1.0)
        return result


class CenterData(EachField):
    """Subtract `subtrahend` (default: the mean), divide by `divisor` (default: the deviation)."""

    def __init__(
        self, fields: Sequence[str], subtrahend: float | None, divisor: float | None
    ) -> None:
        super().__init__(fields)
        self.subtrahend, self.divisor = subtrahend, divisor

    def change(self, values: Array) -> Array:
        """Center as float32."""
        result = values.astype(np.float32)
        result -= result.mean() if self.subtrahend is None else np.float32(self.subtrahend)
        deviation = result.std() if self.divisor is None else np.float32(self.divisor)
        return np.asarray(result / (deviation or 1.0), dtype=np.float32)


class Activation(EachField):
    """Apply the sigmoid, or the softmax across channels."""

    def __init__(self, fields: Sequence[str], sigmoid: bool, softmax: bool) -> None:
        super().__init__(fields)
        self.sigmoid, self.softmax = sigmoid, softmax

    def change(self, values: Array) -> Array:
        """Turn what the model answered into probabilities."""
        result = values.astype(np.float32)
        if self.sigmoid:
            result = np.asarray(1.0 / (1.0 + np.exp(-np.clip(result, -80, 80))), np.float32)
        if self.softmax:
            result = np.exp(result - result.max(axis=0, keepdims=True))
            result /= result.sum(axis=0, keepdims=True)
        return result


class Discrete(EachField):
    """Make labels: the channel with the largest value, or 1 where a value reaches a threshold."""

    def __init__(self, fields: Sequence[str], argmax: bool, threshold: float | None) -> None:
        super().__init__(fields)
        self.argmax, self.threshold = argmax, threshold

    def change(self, values: Array) -> Array:
        """Return uint8 labels."""
        if self.argmax:
            if len(values) > 255:
                raise OperatorError("TOO_MANY_LABELS", f"{len(values)} channels, 255 allowed")
            values = values.argmax(axis=0)[None].astype(np.uint8)
        if self.threshold is not None:
            values = (values >= self.threshold).astype(np.uint8)
        return values


class ArgmaxAcrossChannels(Discrete):
    """Make labels: at each voxel the number of the channel with the largest value."""

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__(fields, argmax=True, threshold=None)


class ThresholdValues(Discrete):
    """Make labels: 1 where a value reaches `threshold`, else 0."""

    def __init__(self, fields: Sequence[str], threshold: float) -> None:
        super().__init__(fields, argmax=False, threshold=threshold)


class KeepLargestComponent(EachField):
    """Keep the largest connected part of each label; the rest becomes 0."""

    def __init__(
        self, fields: Sequence[str], labels: Sequence[int] | None, independent: bool
    ) -> None:
        super().__init__(fields)
        self.labels, self.independent = labels, independent

    def change(self, values: Array) -> Array:
        """Look at voxels that share a face; with `independent` false all labels are one."""
        result = values.copy()
        for channel in result:
            present = np.unique(channel)
            chosen = [n for n in present if n and (self.labels is None or n in self.labels)]
            groups = [[n] for n in chosen] if self.independent else [chosen]
            for group in groups:
                _keep_largest(channel, np.isin(channel, group))
        return result


def _keep_largest(channel: Array, mask: Array) -> None:
    parts, count = ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        channel[mask & (parts != sizes.argmax())] = 0


class Nothing(EachField):
    """Accepted for old configurations; here there is nothing left to do."""

    def change(self, values: Array) -> Array:
        """Return the values as they are."""
        return values


class CopyProperties:
    """Take the place in the patient of one field for others; their grids must be equally large."""

    def __init__(self, fields: Sequence[str], from_field: str, properties: Sequence[str]) -> None:
        known = ("affine", "original_affine", "as_canonical")
        for name in properties:
            if name not in known:
                raise OperatorError("BAD_PROPERTY", f"{name!r} is none of {', '.join(known)}")
        self.fields, self.source = tuple(fields), from_field

    def __call__(self, fields: Fields) -> None:
        """Change the fields in place."""
        source = fields[self.source]
        for name in self.fields:
            volume = fields[name]
            if volume.affine.shape == source.affine.shape and np.allclose(
                volume.affine, volume.original.affine
            ):
                # It lies on the file's grid again: that place is the right one.
                continue
            fields[name] = source.with_values(volume.values)
