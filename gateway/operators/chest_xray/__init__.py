"""chest-xray: frontal chest radiographs become findings, a table, and a DICOM Structured Report.

Run it as `python -m gateway.operators.chest_xray --input DICOM --output FOLDER`; it asks the model
`chest_xray_findings` of the Triton server in `NVIDIA_TRITON_GRPCURI`, `NVIDIA_TRITON_HTTPURI`,
`CLARA_TRITON_URI` or `NVIDIA_CLARA_TRTISURI`.

**What it finds.** Round bright spots of 10 to 70 mm within lung-like darkness, by a network built
by hand (`models/chest_xray_findings/make.py`) and tuned on drawn phantoms: `nodule` up to 32 mm,
`opacity` above. It knows no disease, was never tried on patients' images, and is not for diagnosis;
it shows how a served model is put into a pipeline. Every report says so.

Read are CR, DX (for presentation) and Secondary Capture images of Modality CR or DX: rescaled
(PS3.3 C.11.1), MONOCHROME1 inverted, 8 to 16 stored bits, brought to 1 mm per pixel by Pixel
Spacing, else Imager Pixel Spacing (divided by the magnification, if that is there). Others are
skipped by name.

What it writes, into the output `results` if there is one, else the first output:

`findings.json`::

    {"version": 1, "algorithm": {"name": ..., "version": ..., "model": ...},
     "not_for_diagnosis": true,
     "skipped": [{"sop_instance_uid": ..., "code": ..., "message": ...}],
     "images": [{"sop_instance_uid": ..., "series_instance_uid": ..., "study_instance_uid": ...,
                 "rows": ..., "columns": ..., "spacing_mm": [row, column],
                 "findings": [{"kind": "nodule", "row": ..., "column": ..., "diameter_mm": ...,
                               "score": ...}]}]}

`findings.csv`: one line per finding; an image without one has a line with the kind `none`. Row and
column count pixels from 0 at the first pixel's centre. `score` is the spot's contrast (0 to 1).

Into the output `dicom`, else `dicom/` below the first output: `<series>/<sop>.dcm`, one
Comprehensive SR (TID 1500) per study, its circles on the source images (series number 9011).

Refused by name, exit code 3: NO_RADIOGRAPH, MIXED_PATIENTS, MIXED_STUDIES. Skipped by name:
NOT_A_RADIOGRAPH, COLOUR, SEVERAL_FRAMES, NO_SPACING, BAD_SIZE, UNDECODABLE. Exit code 1: what
`base_inference` says of Triton and model.
"""

from __future__ import annotations
