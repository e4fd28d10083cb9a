"""Volumes for the browser lie exactly where their sources say, at every resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody

from gateway.demo.phantom import Options, Series, write_series
from gateway.render.errors import NoDataset, Unreadable
from gateway.render.making.dicom import read_series
from gateway.render.making.grid import Grid
from tests.render.conftest import GREEN, RED, World, segmentation

MOST = 1 << 30


def ras(ds: Any, row: int, column: int) -> Any:
    """Where a pixel lies, from the attributes of its image (PS3.3 C.7.6.2.1.1), in RAS."""
    right, down = np.split(np.asarray(ds.ImageOrientationPatient, float), 2)
    spacing = [float(value) for value in ds.PixelSpacing]
    place = np.asarray(ds.ImagePositionPatient, float)
    place = place + right * spacing[1] * column + down * spacing[0] * row
    return np.append(place * [-1, -1, 1], 1.0)


def value_at(affine: Any, voxels: Any, place: Any) -> float:
    """The voxel (k, j, i) at a place, which must be the middle of one."""
    index = np.linalg.inv(affine) @ place
    whole = np.rint(index)
    assert np.abs(index - whole).max() < 1e-3
    i, j, k = (int(each) for each in whole[:3])
    return float(voxels[k, j, i])


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP"])
def test_a_series_lies_where_its_images_say(tmp_path: Path, position: str) -> None:
    options = Options(slices=60, matrix=64, position=position, tilt=8)
    series = write_series(tmp_path / "series", options)
    grid = read_series(tmp_path / "series", MOST)
    thin = grid.thinned(2)
    assert thin.voxels.shape == (30, 32, 32)
    for number, path in enumerate(series.files):
        ds = pydicom.dcmread(path)
        hu = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        assert value_at(grid.affine, grid.voxels, ras(ds, 11, 43)) == hu[11, 43]
        index = np.linalg.inv(grid.affine) @ ras(ds, 0, 0)
        if round(index[2]) % 2 == 0 and number % 3 == 0:
            assert value_at(thin.affine, thin.voxels, ras(ds, 12, 42)) == hu[12, 42]


def test_a_stack_of_few_slices_keeps_each_of_them() -> None:
    grid = Grid(np.zeros((20, 512, 512), np.int16), np.eye(4))
    assert grid.thinned(4).voxels.shape == (20, 128, 128)


def test_labels_end_in_nothing_and_stay_in_place() -> None:
    grid = Grid(np.ones((2, 3, 4), np.uint8), np.diag([2.0, 3.0, 4.0, 1.0]))
    framed = grid.framed()
    assert framed.voxels.shape == (4, 5, 6)
    assert framed.voxels.sum() == grid.voxels.sum()
    assert value_at(framed.affine, framed.voxels, np.array([0, 0, 0, 1.0])) == 1
    assert value_at(framed.affine, framed.voxels, np.array([-2.0, 0, 0, 1])) == 0


def test_a_segmentation_has_names_and_colours_and_lies_over_its_images(
    world: World, series: Series
) -> None:
    job = world.job(series=series)
    segmentation(series, world.output(job) / "seg.dcm")
    found = world.of_job(job)
    assert [(one.role, one.format) for one in found.volumes] == [
        ("image", "dicom"), ("label", "seg"),
    ]  # fmt: skip
    assert found.volumes[0].frame == found.volumes[1].frame != ""
    image, manifest = world.load(found, found.volumes[1])
    voxels = np.asarray(image.dataobj).transpose(2, 1, 0)
    assert int(image.header["intent_code"]) == 1002
    segments = manifest["segments"]
    assert [one["label"] for one in segments] == ["One", "Two"]
    for one, rgb in zip(segments, (RED, GREEN), strict=True):
        shown = [int(one["color"][at : at + 2], 16) for at in (1, 3, 5)]
        assert np.abs(np.subtract(shown, rgb)).max() <= 3
    for number, path in enumerate(series.files):
        ds = pydicom.dcmread(path)
        if number < 3:
            continue
        assert value_at(image.affine, voxels, ras(ds, 15, 6)) == 1
        assert value_at(image.affine, voxels, ras(ds, 15, 22)) == 2
        assert value_at(image.affine, voxels, ras(ds, 15, 16)) == 0


def test_nifti_and_metaimage_of_operators(world: World) -> None:
    job = world.job()
    turned = np.array([[0, 2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, 3.0, 9], [0, 0, 0, 1]])
    values = np.arange(4 * 5 * 6, dtype=np.float64).reshape(4, 5, 6) / 3
    output = world.output(job)
    nibabel.Nifti1Image(values, turned).to_filename(output / "a.nii.gz")
    labels = np.zeros((4, 5, 6), np.int16)
    labels[1:3] = 4
    nibabel.Nifti1Image(labels, turned).to_filename(output / "b_seg.nii")
    picture = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    picture.SetOrigin((1, 2, 3))
    picture.SetSpacing((2, 2, 4))
    sitk.WriteImage(picture, str(output / "c.mhd"))
    found = world.of_job(job)
    by_name = {one.name: one for one in found.volumes}
    assert {name: one.role for name, one in by_name.items()} == {
        "a.nii.gz": "image", "b_seg.nii": "label", "c.mhd": "image",
    }  # fmt: skip
    image, manifest = world.load(found, by_name["a.nii.gz"])
    assert manifest["dtype"] == "float32"
    assert np.allclose(image.affine, turned)
    assert np.allclose(np.asarray(image.dataobj), values)
    image, manifest = world.load(found, by_name["b_seg.nii"])
    assert [one["number"] for one in manifest["segments"]] == [4]
    sitk.WriteImage(picture, str(output / "d.mha"))
    again = world.of_job(job)
    local = next(one for one in again.volumes if one.name == "d.mha")
    assert np.asarray(world.load(again, local)[0].dataobj)[2, 1, 0] == 7
    image, _ = world.load(found, by_name["c.mhd"])
    assert np.asarray(image.dataobj)[2, 1, 0] == 7
    assert (image.affine @ [2, 1, 0, 1])[:3].tolist() == [-5.0, -4.0, 3.0]


def test_no_file_outside_of_the_payload_is_read(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "secret.nii"
    nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)).to_filename(secret)
    (tmp_path / "secret.raw").write_bytes(bytes(27))
    job = world.job()
    output = world.output(job)
    (output / "link.nii").symlink_to(secret)
    (output / "folder").symlink_to(tmp_path)
    for number, line in enumerate(
        (
            f"ElementDataFile = {tmp_path}/secret.raw",
            "ElementDataFile = ../../../../../../secret.raw",
            f"ElementDataFile: {tmp_path}/secret.raw",
            f"ElementDataFile = LIST\n{tmp_path}/secret.raw",
            f"ElementDataFile = {tmp_path}/secret.%03d 1 3 1",
        )
    ):
        (output / f"evil{number}.mhd").write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 3 3 3\nElementType = MET_UCHAR\n" + line
        )
    found = world.of_job(job)
    assert len(found.volumes) == 6
    for volume in found.volumes:
        with pytest.raises(Unreadable):
            world.cache.whole(found, volume, 60)


@pytest.mark.parametrize("name", ["j0", "x" * 33, f"j{'0' * 32}", f"r{'0' * 32}", "j../../etc"])
def test_what_is_no_data_set(world: World, name: str) -> None:
    with pytest.raises(NoDataset):
        world.datasets.get(name)
