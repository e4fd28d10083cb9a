"""Every table of the gateway, in the order the data travels.

Times are seconds since the Unix epoch as doubles, named ``*_at``.  Identifiers of our own are 32
lower-case hex digits (:func:`new_id`).  States are upper-case words; the tables that allow their
transitions stand in the room that owns the record.  Columns marked *patient* hold patient data and
must never reach a log, metric, event or job name.
"""

from __future__ import annotations

import uuid

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(32)
Uid = String(64)
AeTitle = String(16)
State = String(16)
# SQLite numbers rows only for INTEGER keys; PostgreSQL wants 64 bits.
Serial = BigInteger().with_variant(Integer, "sqlite")


def new_id() -> str:
    """A fresh identifier: 32 lower-case hex digits."""
    return uuid.uuid4().hex


associations = Table(
    "associations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("called_ae", String(64), nullable=False),
    Column("calling_ae", String(64), nullable=False),
    Column("host", String(255), nullable=False),
    Column("port", Integer, nullable=False),
    Column("tls", String(64), comment="protocol and cipher suite; null = not over TLS"),
    Column("certificate", Text, comment="the peer's: common name and organisation"),
    Column("state", State, nullable=False, comment="OPEN RELEASED ABORTED REJECTED"),
    Column("reason", Text, comment="why it was rejected or aborted"),
    Column("opened_at", Double, nullable=False),
    Column("closed_at", Double),
    Column("instances", Integer, nullable=False, default=0, comment="answered Success and kept"),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("duplicates", Integer, nullable=False, default=0),
    Column("ignored", Integer, nullable=False, default=0),
    Column("refused", Integer, nullable=False, default=0, comment="answered with a failure"),
    Index(None, "opened_at"),
    Index(None, "state"),
)

intake_positions = Table(
    "intake_positions",
    metadata,
    Column("receiver", Integer, primary_key=True, autoincrement=False, comment="number of its log"),
    Column("seq", BigInteger, nullable=False, comment="last record that is in the index"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("sop_instance_uid", Uid, nullable=False),
    Column("sop_class_uid", Uid, nullable=False),
    Column("transfer_syntax_uid", Uid, nullable=False),
    Column("study_instance_uid", Uid, nullable=False),
    Column("series_instance_uid", Uid, nullable=False),
    Column("patient_id", Text, nullable=False, default="", comment="patient"),
    Column("accession_number", Text, nullable=False, default="", comment="patient"),
    Column("called_ae", AeTitle, nullable=False),
    Column("calling_ae", AeTitle, nullable=False),
    Column("host", String(255), nullable=False),
    Column("association_id", Id, nullable=False),
    Column("path", Text, nullable=False, comment="relative to data-dir"),
    Column("size", BigInteger, nullable=False, comment="bytes of the data set"),
    Column("digest", String(64), nullable=False, comment="XXH3-128 of the bytes as sent"),
    Column("kind", State, nullable=False, comment="RECEIVED, or RETURNED = our own came back"),
    Column("state", State, nullable=False, comment="STORED REPLACED DELETED"),
    Column("geometry", JSON, comment="position, orientation, spacing, number; null if absent"),
    Column("received_at", Double, nullable=False),
    Index(None, "called_ae", "sop_instance_uid", "state"),
    Index(None, "study_instance_uid", "patient_id"),
    Index(None, "series_instance_uid", "patient_id"),
    Index(None, "association_id"),
)

payloads = Table(
    "payloads",
    metadata,
    Column("id", Id, primary_key=True),
    Column("correlation_id", Id, nullable=False, comment="from association to delivery"),
    Column("called_ae", AeTitle, nullable=False),
    Column("calling_ae", AeTitle, nullable=False),
    Column("host", String(255), nullable=False),
    Column("group_by", State, nullable=False, comment="patient study series"),
    Column("group_key", Text, nullable=False, comment="patient"),
    Column("generation", Integer, nullable=False, default=1, comment="late-instances: new-payload"),
    Column("state", State, nullable=False),
    Column("revision", Integer, nullable=False, default=1),
    Column("instances", Integer, nullable=False, default=0),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("study_instance_uid", Uid, nullable=False, comment="of the first instance"),
    Column("patient_id", Text, nullable=False, default="", comment="patient"),
    Column("accession_number", Text, nullable=False, default="", comment="patient"),
    Column("expected", Integer, comment="instances announced by the sender's related-count tag"),
    Column("reason", Text, comment="why the state: completion, conflict, deletion"),
    Column("conflict", Boolean, nullable=False, default=False, comment="several Patient IDs"),
    Column("conflict_released", Boolean, nullable=False, default=False, comment="by a person"),
    Column("discard", Boolean, nullable=False, default=False, comment="otherwise: discard"),
    Column("opened_at", Double, nullable=False, comment="first instance of this revision"),
    Column("last_received_at", Double, nullable=False),
    Column("completed_at", Double),
    Column("routed_at", Double),
    Column("finished_at", Double, comment="last job, result and commitment ended"),
    Column("deleted_at", Double),
    UniqueConstraint("called_ae", "group_by", "group_key", "generation"),
    Index(None, "state"),
    Index(None, "study_instance_uid"),
    Index(None, "accession_number"),
    Index(None, "opened_at"),
)

payload_revisions = Table(
    "payload_revisions",
    metadata,
    Column("payload_id", ForeignKey("payloads.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("instances", Integer, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("completed_at", Double, nullable=False),
    Column("reason", String(32), nullable=False, comment="quiet released count tag max-wait"),
)

payload_instances = Table(
    "payload_instances",
    metadata,
    Column("payload_id", ForeignKey("payloads.id"), primary_key=True),
    Column("instance_id", ForeignKey("instances.id"), primary_key=True),
    Column("revision", Integer, nullable=False, comment="first revision that holds it"),
    Column("removed", Integer, comment="first revision that no longer holds it (replaced)"),
    Index(None, "instance_id"),
)

payload_series = Table(
    "payload_series",
    metadata,
    Column("payload_id", ForeignKey("payloads.id"), primary_key=True),
    Column("series_instance_uid", Uid, primary_key=True),
    Column("first_instance_id", ForeignKey("instances.id"), nullable=False),
    Column("attributes", JSON, comment="patient: keyword to value of the first instance"),
)

payload_associations = Table(
    "payload_associations",
    metadata,
    Column("payload_id", ForeignKey("payloads.id"), primary_key=True),
    Column("association_id", ForeignKey("associations.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Index(None, "association_id"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Id, primary_key=True),
    Column("payload_id", ForeignKey("payloads.id"), nullable=False),
    Column("association_id", Id, nullable=False),
    Column("called_ae", AeTitle, nullable=False),
    Column("calling_ae", AeTitle, nullable=False),
    Column("host", String(255), nullable=False),
    Column("sop_class_uid", Uid, nullable=False),
    Column("sop_instance_uid", Uid, nullable=False),
    Column("transfer_syntax_uid", Uid, nullable=False),
    Column("path", Text, nullable=False, comment="relative to data-dir"),
    Column("size", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("resolved_at", Double),
    Column("resolution", String(32), comment="retried deleted"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("payload_id", ForeignKey("payloads.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("rule", Text, comment="null = no rule: otherwise"),
    Column("config_version", String(64), nullable=False),
    Column("outcome", State, nullable=False, comment="MATCHED NOT_MATCHED ERROR UNCHANGED"),
    Column("expressions", JSON, nullable=False, comment="when, select, prefer as written"),
    Column("values", JSON, nullable=False, comment="patient: what was evaluated"),
    Column("selected", JSON, nullable=False, comment="series instance UIDs"),
    Column("selection_digest", String(64), comment="of the selected instances"),
    Column("error", Text),
    Column("elapsed_ms", Double, nullable=False),
    Column("job_id", Id),
    Column("decided_at", Double, nullable=False),
    UniqueConstraint("payload_id", "revision", "rule"),
)

pipelines = Table(
    "pipelines",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False, comment="SHA-256 of the definition and its files"),
    Column("definition", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("files", JSON(none_as_null=True), comment="texts of what it imports; null = nothing"),
    Column("metadata", JSON, nullable=False),
    Column(
        "lineage",
        Id,
        nullable=False,
        default=lambda context: context.get_current_parameters()["id"],
        comment="id that callers know: that of its first version",
    ),
    Column("created_at", Double, nullable=False),
    Column("removed_at", Double),
    UniqueConstraint("name", "version"),
    Index(None, "lineage", "version"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("correlation_id", Id, nullable=False),
    Column("name", String(255), nullable=False),
    Column("pipeline_id", ForeignKey("pipelines.id"), nullable=False),
    Column("payload_id", Id, nullable=False, unique=True, comment="job payload: payloads/<id>/"),
    Column("received_payload_id", ForeignKey("payloads.id"), comment="null = made by hand"),
    Column("revision", Integer),
    Column("rule", Text),
    Column("called_ae", AeTitle),
    Column("selected", JSON, nullable=False, comment="series instance UIDs of its input"),
    Column("selection_digest", String(64)),
    Column("priority", Integer, nullable=False, comment="1 LOWER 2 NORMAL 3 HIGHER 4 IMMEDIATE"),
    Column("state", State, nullable=False, comment="PENDING RUNNING STOPPED"),
    Column("status", State, nullable=False, comment="HEALTHY FAULTED CANCELED EVICTED TERMINATED"),
    Column("attempt", Integer, nullable=False, default=0),
    Column("retries", Integer, nullable=False, default=0, comment="attempts lost to a fault"),
    Column("reason", Text),
    Column("exit_code", Integer),
    Column("variables", JSON, nullable=False),
    Column("destinations", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("cpu", Double, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("timeout_seconds", Double, nullable=False),
    Column("cancel_requested", Text, comment="reason; the scheduler ends the job"),
    Column("not_before", Double, comment="back-off of a retry"),
    Column("created_at", Double, nullable=False),
    Column("queued_at", Double, comment="null = created, not yet started by its owner"),
    Column("started_at", Double),
    Column("stopped_at", Double),
    Column("payload_deleted_at", Double, comment="its files were deleted, job and logs were not"),
    Column("notes", JSON, nullable=False, default=list, comment="about the last attempt"),
    Column("owner", Id, comment="scheduler of the last attempt"),
    Column("node", String(255), comment="machine of the last attempt"),
    Column("devices", JSON(none_as_null=True), comment="indices of GPUs that the attempt has"),
    Column("rerun_from", Text, comment="operator; what stands before it is kept"),
    Column("services", JSON(none_as_null=True), comment="identity to [cpu, memory_mb, gpus]"),
    Column("labels", Text, comment="JSON list of name=value that its machine must have, sorted"),
    UniqueConstraint("received_payload_id", "revision", "rule"),
    CheckConstraint("priority BETWEEN 1 AND 4", name="priority"),
    Index(None, "state", "priority", "queued_at"),
    Index(None, "created_at", "id"),
    Index(None, "status", "created_at", "id"),
    # A list that is narrowed stays as quick as the whole one.
    Index(None, "state", "created_at", "id"),
    Index(None, "called_ae", "created_at", "id"),
    Index(None, "rule", "created_at", "id"),
    Index(None, "priority", "created_at", "id"),
    Index(None, "pipeline_id", "created_at", "id"),
    Index(None, "stopped_at", "id"),
    Index(None, "received_payload_id"),
)

schedulers = Table(
    "schedulers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("node", String(255), nullable=False, comment="whose cores, memory and GPUs it gives"),
    Column("process", Text, nullable=False, comment="kernel, pid and start of its process"),
    Column("lease_until", Double, comment="on the database's clock; null = while its lock holds"),
    Column("started_at", Double, nullable=False),
)

scheduling = Table(
    "scheduling",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="1: there is one queue"),
    Column("version", BigInteger, nullable=False, comment="one more with each change"),
    Column("history", JSON, nullable=False, comment="what a decision leaves to the next one"),
)

scheduling_holds = Table(
    "scheduling_holds",
    metadata,
    Column("pipeline", String(255), primary_key=True, comment="its name; empty = all of them"),
    Column("mode", State, nullable=False, comment="PAUSED DRAINING"),
    Column("since", Double, nullable=False),
)

services = Table(
    "services",
    metadata,
    Column("id", Id, primary_key=True, comment="of one life: its processes are found by it"),
    Column("identity", String(64), nullable=False, comment="the same program has the same"),
    Column("name", String(255), nullable=False, comment="as the definition calls it"),
    Column("image", Text, nullable=False, comment="image:tag"),
    Column("owner", Id, nullable=False, comment="scheduler that runs it"),
    Column("node", String(255), nullable=False),
    Column("state", State, nullable=False, comment="RESERVED STARTING READY RESTARTING STOPPING"),
    Column("reason", Text, comment="why it is not READY, or why it was started again"),
    Column("cpu", Double, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("devices", JSON, nullable=False, comment="indices of GPUs that are its own"),
    Column("models", JSON, nullable=False, comment="loaded; of the gateway's own Triton"),
    Column("jobs", Integer, nullable=False, comment="that need it now"),
    Column("restarts", Integer, nullable=False),
    Column("log", Text, nullable=False, comment="relative to data-dir"),
    Column("stop_requested", Boolean, nullable=False, comment="as soon as no job needs it"),
    Column("created_at", Double, nullable=False),
    Column("ready_at", Double, comment="of its present process"),
    Column("used_at", Double, nullable=False, comment="a job needed it last"),
    Index(None, "node", "owner"),
)

reusable_payloads = Table(
    "reusable_payloads",
    metadata,
    Column("id", Id, primary_key=True, comment="payloads/<id>/"),
    Column("metadata", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("deleted_at", Double, comment="its files go after this was committed"),
)

models = Table(
    "models",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False, unique=True, comment="folder below models"),
    Column("type", Integer, nullable=False, comment="0 unknown 1 TensorFlow 2 TensorRT 3 PyTorch"),
    Column("metadata", JSON, nullable=False),
    Column("file", Text, comment="the single file it was uploaded as; null = an archive"),
    Column("size", BigInteger, nullable=False, comment="bytes of what was uploaded"),
    Column("digest", String(64), nullable=False, comment="SHA-256 of what was uploaded"),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

model_lists = Table(
    "model_lists",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", State, nullable=False, comment="CATALOG INSTANCE"),
    Column("model_ids", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

operators = Table(
    "operators",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("status", State, nullable=False, comment="PENDING RUNNING COMPLETED FAULTED"),
    Column("reason", Text),
    Column("exit_code", Integer),
    Column("log", Text, nullable=False, comment="relative to data-dir"),
    Column("tail", Text, comment="last lines of the log"),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("stopped_at", Double),
)

results = Table(
    "results",
    metadata,
    Column("id", Id, primary_key=True),
    Column("correlation_id", Id, nullable=False),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("agent", String(64), nullable=False, comment="as registered; compared lower-cased"),
    Column("destination", String(64), comment="null = parameters say it all"),
    Column("parameters", Text, nullable=False, comment="a JSON-encoded value"),
    Column("deliverable", Boolean, nullable=False, default=False, comment="the job is HEALTHY"),
    Column("state", State, nullable=False),
    Column("retries", Integer, nullable=False, default=0),
    Column("reason", Text),
    Column("next_at", Double, comment="WAITING until"),
    Column("lease_until", Double, comment="a poller of the HTTP service holds it until"),
    Column("created_at", Double, nullable=False),
    Column("delivered_at", Double),
    Column("commitment", State, comment="null = not asked for; DUE ASKED COMMITTED FAILED"),
    Column("commitment_reason", Text),
    Column("commitment_tries", Integer, nullable=False, default=0, comment="requests in a row"),
    Column("commitment_at", Double, comment="when it is asked (again)"),
    Column("committed_at", Double),
    Index(None, "state", "next_at"),
    Index(None, "commitment", "commitment_at"),
    Index(None, "job_id"),
)

result_files = Table(
    "result_files",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("result_id", ForeignKey("results.id"), nullable=False),
    Column("path", Text, nullable=False, comment="relative to the job payload: operators/…"),
    Column("sop_instance_uid", Uid, comment="null = no DICOM file"),
    Column("sop_class_uid", Uid),
    Column("transfer_syntax_uid", Uid),
    Column("series_instance_uid", Uid),
    Column("size", BigInteger, nullable=False),
    Column("state", State, nullable=False, comment="PENDING SENT WARNING FAILED"),
    Column("status", Integer, comment="of the last C-STORE response"),
    Column("comment", Text),
    Column("attempts", Integer, nullable=False, default=0),
    Column("sent_at", Double),
    Column("committed_at", Double, comment="the destination reported that it keeps it"),
    Column("commitment_failure", Integer, comment="Failure Reason of the last report"),
    UniqueConstraint("result_id", "path"),
    Index(None, "sop_instance_uid"),
)

commitments = Table(
    "commitments",
    metadata,
    Column("transaction_uid", Uid, primary_key=True),
    Column("result_id", ForeignKey("results.id"), nullable=False),
    Column("destination", String(64), nullable=False),
    Column("state", State, nullable=False, comment="ASKING ASKED REPORTED ENDED"),
    Column("reason", Text),
    Column("resent", Boolean, nullable=False, default=False, comment="its report asked for that"),
    Column("created_at", Double, nullable=False),
    Column("asked_at", Double, comment="the destination accepted the request"),
    Column("reported_at", Double),
    Index(None, "result_id", "created_at"),
)

commitment_requests = Table(
    "commitment_requests",
    metadata,
    Column("id", Id, primary_key=True),
    Column("transaction_uid", Uid, nullable=False),
    Column("association_id", Id, nullable=False),
    Column("called_ae", AeTitle, nullable=False),
    Column("calling_ae", AeTitle, nullable=False),
    Column("host", String(255), nullable=False),
    Column("references", JSON, nullable=False, comment="pairs of SOP class and instance UID"),
    Column("answers_here", Boolean, nullable=False, comment="over the association that asked"),
    Column("state", State, nullable=False, comment="RECEIVED ANSWERING REPORTED FAILED"),
    Column("reason", Text),
    Column("committed", Integer, comment="instances reported as kept"),
    Column("failed", Integer, comment="instances reported as not kept"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Double),
    Column("received_at", Double, nullable=False),
    Column("reported_at", Double),
    Index(None, "state", "next_at"),
)

circuits = Table(
    "circuits",
    metadata,
    Column("destination", String(64), primary_key=True),
    Column("state", State, nullable=False, comment="CLOSED OPEN HALF_OPEN"),
    Column("failures", Integer, nullable=False, default=0),
    Column("reason", Text),
    Column("changed_at", Double, nullable=False),
    Column("retry_at", Double),
)

delivery_holds = Table(
    "delivery_holds",
    metadata,
    Column("destination", String(64), primary_key=True, comment="its name in small letters"),
    Column("since", Double, nullable=False),
    Column("by", String(64), comment="who paused it; null = an open gateway"),
)

events = Table(
    "events",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("id", Id, nullable=False, unique=True),
    Column("time", Double, nullable=False),
    Column("kind", String(64), nullable=False, comment="also the MQTT topic below the prefix"),
    Column("correlation_id", Id),
    Column("association_id", Id),
    Column("payload_id", Id),
    Column("job_id", Id),
    Column("result_id", Id),
    Column("data", JSON, nullable=False, comment="identifiers and states, no patient data"),
    Column("published", Boolean, nullable=False, default=False, comment="the broker has it"),
    Index(None, "published", "seq"),
    Index(None, "payload_id"),
    Index(None, "job_id"),
    Index(None, "correlation_id"),
    sqlite_autoincrement=True,
)

trace_position = Table(
    "trace_position",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="1: there is one"),
    Column("seq", BigInteger, nullable=False, comment="last event whose spans were exported"),
)

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", State, nullable=False, comment="viewer operator administrator"),
    Column("password", Text, nullable=False, comment="argon2id, with its parameters and salt"),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", Double, nullable=False),
    Column("password_at", Double, nullable=False),
    Column("seen_at", Double),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True, comment="SHA-256 of what the cookie holds"),
    Column("user", ForeignKey("users.name"), nullable=False),
    Column("address", String(64), nullable=False, comment="where it began"),
    Column("created_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, comment="whatever is done with it"),
    Index(None, "user"),
    Index(None, "expires_at"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True, comment="SHA-256 of the token"),
    Column("role", State, nullable=False, comment="viewer operator administrator"),
    Column("created_by", String(64)),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("used_at", Double),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("user", String(64), comment="null = nobody in particular"),
    Column("via", State, nullable=False, comment="session token open sign-in cli"),
    Column("role", State),
    Column("address", String(64), comment="null = on this machine, without HTTP"),
    Column("action", String(128), nullable=False, comment="method and route, or the command"),
    Column("target", Text, comment="identifiers that stood in the route"),
    Column("data", JSON, nullable=False, comment="what was asked for, no patient data"),
    Column("status", Integer, comment="of the HTTP answer; null = it was never given"),
    Index(None, "time", "id"),
    Index(None, "user", "time"),
    sqlite_autoincrement=True,
)
