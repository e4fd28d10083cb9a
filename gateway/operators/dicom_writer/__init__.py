"""dicom-writer: labels and measurements go back to DICOM as SEG, SR and Secondary Capture.

Run it as::

    python -m gateway.operators.dicom_writer --input dcm:DICOM --input lungs:LUNGS \\
        --input volume:VOLUME --output FOLDER

Inputs, by name: `dcm` = the original instances (the raw payload), `volume` = what `dicom-reader`
wrote (its `series.json` tells which instance is which slice), and either `lungs` = what
`lung-density` wrote, or `labels` = a label map with its `labels.json`, as `roi-generator` writes.

Results are files `<series-instance-uid>/<sop-instance-uid>.dcm`.

With `labels` it writes one SEG (series number 9001): a segment for each entry of `segments`, whose
category, type and laterality are the codes that stand there, in the order of their numbers. A label
without a voxel is left out; what is listed as `missing` stands in the Content Description.

With `lungs` it writes four instances in three series:

==============  ======  =========================================================================
series number   object  content
==============  ======  =========================================================================
9001            SEG     binary Segmentation Storage; segment 1 = right lung, 2 = left lung
9002            SR      Comprehensive 3D SR, TID 1500: per lung and for both volume (ml), mean
                        density (HU), LAA-950 (%), Perc15 (HU)
9003            SC      two RGB Secondary Capture images: coronal view with table; axial montage
==============  ======  =========================================================================

**Identity.** Study Instance UID, patient and study attributes and Accession Number are those of the
source series; attributes of type 2 (PS3.5 7.4.3) that the source lacks are written empty, values
the standard does not allow (a sex that is none, a date that is none) too. Text is transcoded:
whatever the source's Specific Character Set, results are in UTF-8 (ISO_IR 192).

**UIDs** derive from the job id and its attempt (without a job: from the source series and the
algorithm's version) by UUID version 5 under `2.25`, so another attempt or job makes others.

Coding scheme `99GATEWAY`: `LAA950` = share of lung voxels below -950 HU; `PERC15` = 15th
percentile of lung density. The standard has no codes of its own for them.

Refused by name, exit code 3: NO_MEASUREMENTS, NO_LABELS, BAD_LABELS (of `labels.json`: a code or a
name that DICOM cannot hold, a number without an entry), NO_SERIES_LIST, SOURCE_MISSING,
SOURCE_UNREADABLE, MIXED_PATIENTS, MIXED_SERIES, PATIENT_DIFFERS (the reader saw another patient),
GEOMETRY_MISMATCH (the labels do not lie where the source images do).
"""

from __future__ import annotations
