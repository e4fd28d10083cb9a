"""Configurations of base-inference: what is wrong is named by file and key; geometry is exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.operators.base_inference import Fields, Volume, default_registry
from gateway.operators.base_inference.arguments import FIELDS, Argument
from gateway.operators.base_inference.config import KEYS, load_config
from gateway.operators.base_inference.registry import GROUPS, INFERER, TRANSFORM, Registry
from gateway.operators.base_inference.spatial import resample
from gateway.operators.base_inference.volume import Grid
from gateway.operators.base_inference.windows import Scan, pad_to
from gateway.operators.sdk import OperatorError, UsageError

ROOT = Path(__file__).resolve().parents[2]
INFERER_ENTRY = {"name": "TRTISSimpleInferer", "args": {"model_name": "m"}}
REQUIRED = {
    "fields": "image", "keys": "image", "field": "image", "target_resolution": [2, 1, 1.5],
    "pixdim": [2, 1, 1.5], "factor": 0.5, "target_shape": [8, 9, 10], "spatial_size": [8, 9, 10],
    "axcodes": "LPS", "a_min": 0, "a_max": 10, "from_field": "image", "properties": ["affine"],
}  # fmt: skip


def load(folder: Path, content: Any, model: Any = None) -> Any:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "config_inference.json").write_text(text)
    if model is not None:
        (folder / "model_config.json").write_text(json.dumps(model))
    return load_config(folder, default_registry())


def transform(name: str, **args: Any) -> Any:
    registry = default_registry()
    return registry.build(TRANSFORM, {"name": name, "args": args}, "test")[1]


def volume(shape: tuple[int, int, int] = (7, 6, 5), seed: int = 1) -> Volume:
    rng = np.random.default_rng(seed)
    affine = np.array(
        [[0.1, -1.2, 0.0, 5], [0.9, 0.2, 0.3, -7], [0.0, 0.1, 2.0, 11], [0, 0, 0, 1]], float
    )
    return Volume(rng.random((1, *shape)), affine, Grid(shape, affine))


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        ({"inferer": INFERER_ENTRY, "pretransforms": []}, "pretransforms", "pre_transforms"),
        ({"inferer": {"name": "TFInferer"}}, "inferer.name", "TRTISScanWindowInferer"),
        ({"inferer": {"name": "TRTISSimpleInferer", "arg": {}}}, "inferer.arg", "name, args"),
        (
            {"inferer": {"name": "TRTISSimpleInferer", "args": {"roi": 1}}},
            "inferer.args.roi", "model_name",
        ),
        (
            {"inferer": {"name": "TRTISSimpleInferer", "args": {"port": "8000"}}},
            "inferer.args.port", "1 to 65535",
        ),
        (
            {"inferer": {"name": "TRTISSimpleInferer", "args": {"protocol": "FTP"}}},
            "inferer.args.protocol", "HTTP, GRPC",
        ),
        ({"pre_transforms": []}, "inferer", "must be given"),
        (
            {"inferer": INFERER_ENTRY, "pre_transforms": [{"name": "RandomFlip", "args": {}}]},
            "pre_transforms[0].name", "ScaleByResolution",
        ),
        (
            {"inferer": INFERER_ENTRY, "pre_transforms": [{"name": "LoadNifti"}]},
            "pre_transforms[0].args.fields", "the name of a field",
        ),
        (
            {"inferer": INFERER_ENTRY, "post_transforms": [{"name": "Orientationd", "args": {
                "keys": "image", "axcodes": "RRS"}}]},
            "post_transforms[0].args.axcodes", "RAS",
        ),
        ({"inferer": INFERER_ENTRY, "writers": {}}, "writers", "a list"),
        (
            {"inferer": INFERER_ENTRY, "model_loader": {"name": "os.system"}},
            "model_loader.name", "TRTISModelLoader",
        ),
        ("{", "config_inference.json", "no JSON"),
        ('{"inferer": 1, "inferer": 2}', "inferer", "twice"),
        ("[]", "config_inference.json", "an object"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_file_key_and_what_is_allowed(
    tmp_path: Path, content: Any, place: str, said: str
) -> None:
    with pytest.raises(UsageError, match="BAD_CONFIG") as raised:
        load(tmp_path, content)
    assert "config_inference.json" in raised.value.message
    assert place in raised.value.message
    assert said in raised.value.message


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"model_nam": "x"}, "model_name"),
        ({"data_format": "first"}, "channels_first, channels_last"),
        ({"output_channel_dict": {"y": 0}}, "1 to 4096|number of channels"),
        ({"network_input_size": [96, 96]}, "a list of three"),
    ],
)
def test_a_fault_of_the_model_file_is_named(tmp_path: Path, model: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        load(tmp_path, {"inferer": INFERER_ENTRY}, model)
    assert "model_config.json" in raised.value.message


def test_training_keys_and_text_booleans_are_accepted(tmp_path: Path) -> None:
    load(tmp_path, {
        "batch_size": 1, "multi_gpu": False, "use_amp": False, "inferer": INFERER_ENTRY,
        "pre_transforms": [{"name": "LoadNifti", "args": {
            "fields": ["image"], "as_closest_canonical": "false"}}],
    })  # fmt: skip


def test_the_reference_lists_every_name_and_every_transform_runs() -> None:
    page = (ROOT / "docs" / "reference" / "base-inference.md").read_text("utf-8")
    registry = default_registry()
    for group in GROUPS:
        for component in registry.components(group):
            assert f"`{component.name}`" in page
            assert component.note
    for key in KEYS:
        assert f"`{key}`" in page
    for component in registry.components(TRANSFORM):
        args = {a.name: REQUIRED[a.name] for a in component.arguments if a.name in REQUIRED}
        fields = Fields({"input": volume(), "image": volume()})
        registry.build(TRANSFORM, {"name": component.name, "args": args}, "x")[1](fields)
        assert fields["image"].values.ndim == 4


def test_a_site_adds_and_replaces_names() -> None:
    class Negate:
        """Negate."""

        def __init__(self, fields: tuple[str, ...]) -> None:
            self.fields = fields

        def __call__(self, fields: Fields) -> None:
            for name in self.fields:
                fields[name] = fields[name].with_values(-fields[name].values)

    registry = default_registry()
    registry.add_transform("Negate", Negate, (Argument("fields", FIELDS),))
    fields = Fields({"image": volume()})
    registry.build(TRANSFORM, {"name": "Negate", "args": {"fields": "image"}}, "x")[1](fields)
    assert fields["image"].values.max() <= 0
    assert "Negate" not in [one.name for one in default_registry().components(TRANSFORM)]
    with pytest.raises(ValueError, match="sampler"):
        Registry().add("sampler", "x", Negate)


@pytest.mark.parametrize(
    "steps",
    [
        [("Orientationd", {"keys": "image", "axcodes": "PIR"})],
        [("CropForegroundObject", {"fields": "image", "threshold": 0.5, "margin": 0})],
        [
            ("Orientation", {"fields": "image", "axcodes": "RAS"}),
            ("ScaleToShape", {"fields": "image", "target_shape": [14, 15, 24], "is_label": True}),
        ],
        [("ScaleByFactor", {"fields": "image", "factor": 3, "is_label": True})],
    ],
)
def test_the_way_back_is_exact(steps: list[tuple[str, dict[str, Any]]]) -> None:
    """Labels return voxel by voxel to the file's own grid, whatever was done to space."""
    start = volume()
    labels = (start.values > 0.5).astype(np.uint8)
    if steps[0][0].startswith("Crop"):
        labels[:, 0], labels[:, -1] = 0, 0
    fields = Fields({"image": start.with_values(labels)})
    for name, args in steps:
        transform(name, **args)(fields)
    assert fields["image"].values.shape != labels.shape or not np.array_equal(
        fields["image"].affine, start.affine
    )
    transform("Invert", field="image")(fields)
    back = fields["image"]
    assert np.array_equal(back.values, labels)
    assert np.array_equal(back.affine, start.affine)


def test_resampling_keeps_places_in_the_patient() -> None:
    """A linear ramp in mm stays that ramp on any grid inside the volume."""
    shape = (30, 28, 26)
    affine = np.array([[-1.0, 0.2, 0, 9], [0.2, 1.1, 0, -4], [0, 0, 1.7, 3], [0, 0, 0, 1]])
    index = np.stack([*np.indices(shape), np.ones(shape)])
    ramp = np.tensordot(affine[:3], index, axes=1)[2] + 2 * np.tensordot(affine[:3], index, 1)[0]
    start = Volume(ramp[None], affine, Grid(shape, affine))
    fields = Fields({"image": start})
    transform("ScaleByResolution", fields="image", target_resolution=[0.8, 1.3, 1.0])(fields)
    moved = fields["image"]
    assert moved.grid.spacing == pytest.approx((0.8, 1.3, 1.0), rel=0.05)
    inner = tuple(slice(3, -3) for _ in range(3))
    at = np.stack([*np.indices(moved.grid.shape), np.ones(moved.grid.shape)])
    place = np.tensordot(moved.affine[:3], at, axes=1)
    np.testing.assert_allclose(moved.values[0][inner], (place[2] + 2 * place[0])[inner], atol=1e-3)


def test_outside_of_the_volume_is_nothing() -> None:
    start = volume().with_values(np.ones((1, 7, 6, 5)))
    far = start.affine.copy()
    far[:3, 3] += start.affine[:3, 0] * 4
    moved = resample(start, Grid((7, 6, 5), far), nearest=True)
    assert moved.values[0, :3].all()
    assert not moved.values[0, 3:].any()


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize(
    ("shape", "overlap"), [((20, 9, 33), 0.0), ((8, 8, 8), 0.5), ((3, 31, 5), 0.7)]
)
def test_windows_cover_all_and_blend_to_what_the_model_says(
    shape: tuple[int, int, int], overlap: float, blend: str
) -> None:
    rng = np.random.default_rng(2)
    image = rng.random((2, *shape)).astype(np.float32)
    padded, cut = pad_to(image, (8, 7, 6), 0.0)
    scan = Scan.plan(padded.shape[1:], (8, 7, 6), overlap, blend)
    total = np.zeros_like(padded)
    places = list(scan.places())
    assert len(places) == scan.count
    for place in places:
        scan.add(total, padded[(slice(None), *scan.cut(place))], place)
    scan.finish(total)
    np.testing.assert_allclose(total[cut], image, rtol=1e-5)


def test_labels_keep_their_largest_part_each() -> None:
    labels = np.zeros((1, 12, 6, 6), np.uint8)
    labels[0, 0:4], labels[0, 5:7, 0:2] = 1, 1
    labels[0, 8:10, :, 0:3], labels[0, 11, 5, 5] = 2, 2
    base = volume((12, 6, 6))
    fields = Fields({"model": base.with_values(labels)})
    transform("KeepLargestCC", fields="model")(fields)
    kept = fields["model"].values[0]
    assert (kept == 1).sum() == 4 * 36
    assert (kept == 2).sum() == 2 * 6 * 3


def test_a_range_of_nothing_and_a_field_of_nobody_are_refused() -> None:
    with pytest.raises(OperatorError, match="BAD_RANGE"):
        transform("ScaleIntensityRange", fields="image", a_min=1, a_max=1)
    with pytest.raises(UsageError, match="FIELD_UNKNOWN"):
        transform("ArgmaxAcrossChannels", fields="nobody")(Fields({"image": volume()}))


def test_inferers_of_the_seed_are_there() -> None:
    names = {one.name for one in default_registry().components(INFERER)}
    assert {"TRTISScanWindowInferer", "TRTISSimpleInferer"} <= names
