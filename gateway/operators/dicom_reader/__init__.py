"""dicom-reader: a folder of DICOM files becomes one volume per series, with exact geometry.

Run it as `python -m gateway.operators.dicom_reader --input FOLDER --output FOLDER`.

What it writes into its output folder
-------------------------------------
`series.json` (always, also when the run is refused) and, per series that is a volume,
`<series-instance-uid>.nii.gz` (or `.nii`) and/or `<series-instance-uid>.mhd` with its `.zraw`
(or `.raw`), after `--format` (default `$DICOM_READER_FORMATS`, else `nifti,mhd`) and `--compress`.

Voxels are in the unit of the Modality LUT (HU for CT): Rescale Slope and Intercept are applied,
in integers where the result is one (int16, uint16, int32), else float32. Axes are those of DICOM,
never flipped: i = column (x of the image), j = row, k = slice along the normal (row direction x
column direction), t = volume. `nibabel.load(f).dataobj[i, j, k]` and, of the same volume in
SimpleITK, `GetArrayFromImage(image)[k, j, i]` are the pixel in column i, row j of slice k.
A series needs 6 images to be a volume, or `--min-images` (`$DICOM_READER_MIN_IMAGES`).

`series.json`::

    {"version": 1,
     "code": null,                        # why the whole run was refused: MIXED_PATIENTS, ...
     "message": null,
     "patient_digest": "<sha256>",        # sdk.Patient.digest() of every source; null if refused
     "skipped": [{"file": ..., "code": ..., "message": ...}],     # files that are no instance
     "series": [
       {"series_instance_uid": ..., "study_instance_uid": ..., "modality": "CT",
        "sop_class_uid": ..., "frame_of_reference_uid": ..., "instances": 275,
        "status": "volume",               # or "refused"
        "code": null, "message": null,    # refused: a name from `codes.py` and a sentence
        "files": {"nifti": "<uid>.nii.gz", "mhd": "<uid>.mhd"},
        "refused_formats": {"mhd": {"code": "GANTRY_TILT", "message": ...}},
        "warnings": [{"code": ..., "message": ...}],
        "shape": [512, 512, 275],         # columns, rows, slices[, volumes]
        "dtype": "int16",
        "spacing": [0.7, 0.7, 1.0],       # mm along i, j, k (length of the step to the next voxel)
        "direction": [[1,0,0],[0,1,0],[0,0,1]],   # columns = unit vectors of i, j, k in DICOM LPS
        "origin": [x, y, z],              # mm, LPS, centre of voxel (0, 0, 0)
        "affine_lps": [[4 x 4]],          # voxel index → mm in DICOM's patient coordinates
        "tilt_degrees": 0.0,              # angle of the step against the slice normal
        "sources": [[{"sop_instance_uid": ..., "frame": null, "file": "dcm/…/x.dcm"}, ...k], ...t],
                                          # [volume][slice]; frame counts from 1 in multi-frame
        "volumes": [{"temporal_position": ..., "b_value": ..., "echo_time": ..., ...}, ...t]}]}

A key that has no meaning for a refused series is null or empty. `file` is relative to the input.
`direction` is orthonormal unless `tilt_degrees` is not 0.

Exit codes: 0 at least one series became a volume; 3 none did (each one's reason is in
`series.json` and on standard error) or the whole run is refused, as for mixed patients; 2 usage;
1 anything unexpected.

Gantry tilt: the NIfTI affine is sheared, exactly as the slices lie in the patient; nothing is
resampled. MetaImage can say only orthonormal directions, so MHD is refused with GANTRY_TILT.
"""

from __future__ import annotations
