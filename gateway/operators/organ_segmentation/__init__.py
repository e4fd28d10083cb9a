"""organ-segmentation: one abdominal organ in the region that `roi-generator` cut out for it.

Run it as `python -m gateway.operators.organ_segmentation --input ROI --output FOLDER`. Which organ
it looks for stands in the region's `roi.json`; one image serves `liver`, `spleen`, `right-kidney`
and `left-kidney`.

What it writes: `mask.nii.gz`, uint8 of the region's shape and affine, 1 = the organ; and
`mask.json`::

    {"version": 1, "organ": "liver", "stage": <operator's name>, "found": true,
     "code": null, "message": null,            # of what was not found: NOT_FOUND, TOO_LARGE
     "algorithm": {"name": "Gateway Organ Segmentation", "version": "1.0.0"},
     "parameters": {"window_hu": [85, 150], ...}, "measured": {"core_hu": ...},
     "source": {...}, "box": [...], "shape": [...],   # of roi.json
     "file": "mask.nii.gz", "sha256": ..., "voxels": ..., "at_edge": false}

An organ that is not there is no failure: patients live without a spleen or with one kidney. Then
the mask is empty, `found` is false, and merging tells it.

**How.** Classical image processing, step by step in `segment`: a window of densities, a core by
erosion where the organ usually lies, the core's own density, the connected tissue of that density
without thin bridges, holes and vessels filled, the border halfway to what lies beside it.

**What it is not.** It knows contrast-enhanced CT in a portal venous phase and nothing of disease.
It was measured against phantoms only. Not for diagnosis, planning or any decision about a patient:
it proves that a pipeline of several algorithms works, and a trained network goes where it stands.

Refused by name, exit code 3: NO_ROI, ROI_UNREADABLE, UNKNOWN_ORGAN.
"""

from __future__ import annotations
