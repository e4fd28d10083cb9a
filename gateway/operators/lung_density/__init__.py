"""lung-density: a chest CT volume becomes a label map of both lungs and their densitometry.

Run it as `python -m gateway.operators.lung_density --input FOLDER --output FOLDER`, where the input
is what `dicom-reader` wrote. Of its volumes the CT with the most slices is measured.

What it writes
--------------
`lungs.nii.gz`: uint8, same shape and affine as the source volume; 0 = not lung, 1 = right lung,
2 = left lung (the patient's right and left, whatever the orientation of the images).

`measurements.json`::

    {"version": 1,
     "algorithm": {"name": "Gateway Lung Density", "version": "1.0.0"},
     "source": {"study_instance_uid": ..., "series_instance_uid": ...,
                "frame_of_reference_uid": ..., "volume": "<uid>.nii.gz"},
     "labels": {"file": "lungs.nii.gz", "right": 1, "left": 2},
     "parameters": {"air_hu": -400, "closing_mm": 5, "laa_hu": -950, "percentile": 15},
     "warnings": [{"code": "NO_AIRWAYS_FOUND", "message": ...}],
     "lungs": {"right": {"voxels": ..., "volume_ml": ..., "mean_hu": ..., "laa950_percent": ...,
                         "perc15_hu": ..., "centroid_lps": [x, y, z]},
               "left": {...}, "total": {...}}}

Mean density and Perc15 are in HU, LAA-950 is the share of lung voxels below -950 HU in percent.
A lung is the space within the pleura with its vessels (closed with a ball of 5 mm: vessels up to
about 10 mm across count as lung) but without trachea and main bronchi. How it is found is told in
`segment`, `airways` and `separate`.

Refused by name, exit code 3: NO_SERIES_LIST, NO_CT_VOLUME, VOLUME_UNREADABLE, NO_LUNGS_FOUND,
ONE_LUNG_FOUND. LUNGS_AT_EDGE is only a warning: the scan cuts the lungs off, so the volumes are
those of the part that was scanned.
"""

from __future__ import annotations
