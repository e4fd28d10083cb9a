"""roi-generator: cuts regions of interest out of a CT, and merges what was found in them.

Run it as `python -m gateway.operators.roi_generator`; `$ROI_OPERATION` (or `--operation`) says
what it does: `split` (the default) or `merge`, as Clara's operator of that name.

Split
-----
The input is what `dicom-reader` wrote; of its volumes the CT with the most slices is taken. Each
output except `config` is an organ of the atlas, by its name: `liver`, `spleen`, `right-kidney`,
`left-kidney`. Into each goes `roi.nii.gz`, the part of the volume where a patient of usual anatomy
has that organ, and `roi.json`: `{"version": 1, "organ": ..., "source": {...}, "box": [[i0, i1],
[j0, j1], [k0, k1]], "shape": [...], "body": {...}}`. `box` are half-open index ranges of the source
volume, `body` the box of the patient's trunk in millimetres (LPS). Into `config` goes `rois.json`,
the list of all of them, which merging needs.

Left and right are the patient's, from the affine, never an array's.

Merge
-----
Inputs: `config`, `volume` (what `dicom-reader` wrote), and one input per organ by its name, as
`organ-segmentation` wrote it. What it
writes into its first output:

`labels.nii.gz`: uint8, same shape and affine as the source volume; each organ has the number that
the atlas gives it. Where two masks overlap, a voxel goes to the organ whose mean density it is
nearer to; how many were so decided is told.

`labels.json`, which `dicom-writer` turns into a SEG::

    {"version": 1,
     "algorithm": {"name": "Gateway Abdominal Organs", "version": "1.0.0"},
     "source": {"study_instance_uid": ..., "series_instance_uid": ..., ...},
     "title": "Abdominal organs", "labels": {"file": "labels.nii.gz"}, "body_part": "ABDOMEN",
     "segments": [{"number": 1, "label": "Liver", "organ": "liver", "color": [r, g, b],
                   "category": {code}, "type": {code}, "laterality": {code} or null,
                   "voxels": ..., "volume_ml": ..., "mean_hu": ..., "centroid_lps": [x, y, z],
                   "provenance": {"stage": ..., "algorithm": ..., "parameters": ..., "box": ...,
                                  "sha256": <of the mask's file>, "overlap_voxels": ...}}],
     "missing": [{"organ": "spleen", "code": "NOT_FOUND", "message": ...}],
     "warnings": [{"code": "ORGAN_NOT_FOUND" | "ORGAN_AT_EDGE" | "OVERLAP", "message": ...}]}

Codes are `{"value", "scheme", "meaning"}` of SNOMED CT (PS3.16 CID 7150, 7151, 244).

Refused by name, exit code 3: NO_SERIES_LIST, NO_CT_VOLUME, VOLUME_UNREADABLE, NO_BODY_FOUND; when
merging NO_CONFIG, NO_MASK (an organ of the config has no input, or not one of ours),
GEOMETRY_MISMATCH, SOURCE_DIFFERS (a mask of another series), NO_ORGAN_FOUND. Exit code 2:
UNKNOWN_OPERATION, UNKNOWN_ORGAN.

**Not for diagnosis.** The atlas is a handful of boxes for adults of usual anatomy: with situs
inversus, a transplanted or a horseshoe kidney it looks in the wrong place.
"""

from __future__ import annotations
