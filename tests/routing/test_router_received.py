"""From instances that the spool took to decisions: the records of the payload room, unchanged."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from gateway.config.applications import AeConfig, Application
from gateway.config.settings import JobSettings
from gateway.database.schema import decisions, instances, jobs
from gateway.jobs.creation import JobCreation, supersede
from gateway.jobs.ledger import Capacity
from gateway.payloads.assembler import Assembler
from gateway.pipelines import registry
from gateway.routing.attributes import extract
from gateway.routing.engine import Engine
from gateway.routing.router import Router
from tests.payloads.conftest import Receiver
from tests.routing.conftest import PIPELINE
from tests.support.dicom import slice_

RULE = {
    "name": "thin axial",
    "pipeline": "lung-density",
    "when": 'study.PatientName == "Test^Person" && called == "AI" && calling == "CT1"',
    "select": 's.Modality == "CT" && s.spacing == [0.7, 0.7, 2.5] && s.orientation == "axial" '
    "&& s.instances == 3 && s.Rows == 8 && s.SliceThickness == 2.5",
}


def test_a_received_study_is_routed(tmp_path: Path, database_url: str, engine: Engine) -> None:
    receiver = Receiver(tmp_path, database_url)
    association = receiver.association()
    for number in (3, 1, 2):
        assert receiver.store(slice_(number), association).status == 0
    report = slice_(1, SeriesInstanceUID="1.2.9", Modality="SR", ImagePositionPatient=None)
    assert receiver.store(report, association).status == 0
    receiver.associations.closed(association, released=True)
    receiver.local.settle()
    receiver.age(60)
    assembler = Assembler(
        receiver.database, receiver.folders.root, receiver.ae_config,
            receiver.local.intake.associations,
        receiver.wakeups, extract,
    )  # fmt: skip
    while assembler._describe():
        pass
    assembler._look()
    with receiver.database.begin() as connection:
        registry.register(connection, PIPELINE.format(name="lung-density"), "p.yaml")
    application = Application.model_validate({"ae-title": "AI", "rules": [RULE]})
    config = AeConfig(applications=(application,), version="v")
    creation = JobCreation(capacity=Capacity(2, 4096), limits=JobSettings())
    router = Router(
        receiver.database, receiver.wakeups, lambda: config, engine, creation.create, supersede
    )
    assert router.route_ready() == 1
    (decision,) = receiver.rows(decisions)
    assert (decision.outcome, decision.error) == ("MATCHED", None), decision
    assert decision.selected == [slice_().SeriesInstanceUID]
    (job,) = receiver.rows(jobs)
    assert job.selected == decision.selected
    assert receiver.payload().state == "ROUTED"
    assert len(receiver.rows(instances, sa.true())) == 4
    receiver.close()
