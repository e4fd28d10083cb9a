from __future__ import annotations

import pytest

from gateway.events.privacy import is_patient_key, scrub, scrub_text
from gateway.events.times import rfc3339


@pytest.mark.parametrize(
    "name",
    ["patient_id", "PatientName", "PatientBirthDate", "accession_number", "AccessionNumber",
     "StudyDescription", "series_description", "group_key", "patients-name", "values"],
)  # fmt: skip
def test_patient_keys_in_any_spelling(name: str) -> None:
    assert is_patient_key(name)


@pytest.mark.parametrize(
    "name", ["payload_id", "study_instance_uid", "called_ae", "host", "state", "reason", "job_id"]
)
def test_allowed_keys(name: str) -> None:
    assert not is_patient_key(name)


def test_nested_patient_keys_go_and_the_rest_stays() -> None:
    given = {"state": "X", "series": [{"SeriesDescription": "secret", "uid": "1.2"}], "n": (1, 2.5)}
    assert scrub(given) == {"state": "X", "series": [{"uid": "1.2"}], "n": [1, 2.5]}


def test_endless_nesting_ends() -> None:
    endless: dict[str, object] = {}
    endless["again"] = endless
    assert "…" in repr(scrub(endless))


def test_the_patient_folder_is_hidden_in_paths() -> None:
    shown = scrub_text("cannot read /data/payloads/ab/input/dcm/DOE_JOHN/1.2/1.2.3/4.dcm")
    assert shown == "cannot read /data/payloads/ab/input/dcm/*/1.2/1.2.3/4.dcm"


def test_bound_values_of_sql_are_hidden() -> None:
    text = "IntegrityError: x\n[SQL: INSERT]\n[parameters: ('DOE^JOHN',\n 'A[1]')]\n(Background)"
    assert "DOE" not in scrub_text(text)
    assert "(Background)" in scrub_text(text)


def test_values_that_postgresql_quotes_are_hidden() -> None:
    text = (
        "(psycopg.errors.UniqueViolation) duplicate key value\n"
        "DETAIL:  Key (called_ae, group_key)=(LUNG, DOE) already exists.\n"
        'CONTEXT:  JSON data, line 1: ..."PatientName": "DOE^JOHN"...\n'
        "unnamed portal parameter $7 = 'DOE'\n[SQL: INSERT]"
    )
    assert "DOE" not in scrub_text(text)
    assert "UniqueViolation" in scrub_text(text)
    assert "[SQL: INSERT]" in scrub_text(text)


def test_times_are_utc_to_the_millisecond() -> None:
    assert rfc3339(0.25) == "1970-01-01T00:00:00.250Z"
