"""``gateway list …``: payloads, jobs, results and everything else the gateway keeps record of.

What each list shows and can be narrowed by stands in one table; the commands are made from it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import Json, Limit

app = group("List records, newest first. Singular and plural are the same.")

_DEFAULT = 50


@dataclass(frozen=True)
class _Filter:
    """One option that narrows a list."""

    option: str
    help: str
    parameter: str
    """Of the REST list."""
    flag: bool = False

    @property
    def annotation(self) -> Any:
        """As typer reads it."""
        kind = bool if self.flag else str | None
        return Annotated[kind, typer.Option(f"--{self.option}", help=self.help)]


@dataclass(frozen=True)
class _List:
    """One list: what it is called, shows, and can be narrowed by."""

    name: str
    help: str
    columns: str
    filters: tuple[_Filter, ...] = ()
    example: str = ""
    path: str = ""
    """Below ``/api/v1/`` when it is not the name."""
    whole: bool = False
    """A list of the configuration: short, and given as a whole."""


_STATE = _Filter("state", "Only those in this state.", "state")
_CALLED = _Filter("called", "Only those sent to this AE title.", "called_ae")
_CALLING = _Filter("calling", "Only those sent by this AE title.", "calling_ae")
_PAYLOAD = _Filter("payload", "Only those of this payload.", "payload")
_JOB = _Filter("job", "Only those of this job.", "job")

_PAYLOADS = _List(
    "payloads",
    """List received payloads; with --study or --accession: where is my study?

    That prints everything that happened to it, from the association to the delivery. When nothing
    of it is known, it says what was rejected, quarantined or ignored lately, and exits with 3.
    """,
    "id state called_ae calling_ae instances revision study_instance_uid opened_at reason",
    (
        _Filter("study", "Tell the whole story of this Study Instance UID.", "study"),
        _Filter("accession", "Tell the whole story of this accession number.", "accession"),
        _STATE,
        _CALLED,
        _CALLING,
        _JOB,
    ),
    "--study 1.2.840.99999.1",
)
_LISTS = (
    _PAYLOADS,
    _List(
        "reusable-payloads",
        "List payloads made by `gateway create payload`, to be the input of jobs.",
        "id created_at deleted_at metadata",
        (_Filter("deleted", "Deleted ones, too.", "deleted", flag=True),),
        "--json",
    ),
    _List(
        "jobs",
        "List jobs.",
        "id name state status priority attempt created_at started_at stopped_at reason",
        (_STATE, _Filter("status", "Such as FAULTED.", "status"), _PAYLOAD, _CALLED),
        "--state running --json",
    ),
    _List(
        "results",
        "List results and how far their delivery is.",
        "id job_id destination agent state commitment retries created_at delivered_at next_at "
        "reason commitment_reason",
        (
            _STATE,
            _Filter("destination", "Only to there.", "destination"),
            _JOB,
            _Filter("commitment", "Such as asked or failed.", "commitment"),
        ),
        "--state failed --destination PACS",
    ),
    _List(
        "commitments",
        "List what modalities asked to be committed (for ours: `list results --commitment asked`).",
        "id state calling_ae called_ae committed failed attempts received_at next_at reason",
        (_STATE, _CALLED, _CALLING),
        "--calling CT1",
        path="commitment-requests",
    ),
    _List(
        "associations",
        "List DICOM associations, rejected ones with the reason.",
        "id state calling_ae host called_ae instances ignored refused opened_at reason",
        (_STATE, _CALLED, _CALLING),
        "--state rejected",
    ),
    _List(
        "services",
        "List long-lived services that operators call, Triton among them.",
        "id name image node state jobs models cpu memory_mb gpus restarts ready_at reason",
        (_STATE,),
        "--json",
    ),
    _List(
        "events",
        "List events.",
        "time kind payload_id job_id result_id data",
        (_Filter("kind", "Such as job/stopped.", "kind"), _PAYLOAD, _JOB),
        "--kind job/stopped --limit 10",
    ),
    _List(
        "decisions",
        "List what the rules decided.",
        "decided_at payload_id revision rule outcome job_id elapsed_ms error",
        (_PAYLOAD, _JOB, _Filter("outcome", "Such as ERROR.", "outcome")),
        "--outcome error",
    ),
    _List(
        "quarantine",
        "List data sets that could not be used.",
        "id calling_ae host called_ae size received_at reason",
        (_CALLED, _CALLING, _Filter("resolved", "Those resolved, too.", "resolved", flag=True)),
        "--resolved",
    ),
    _List(
        "pipelines",
        "List registered pipelines, every version; jobs and rules take the newest of a name.",
        "lineage name version file created_at",
        (_Filter("name", "Only those of this name.", "name"),),
        "--name lung-density",
    ),
    _List(
        "destinations",
        "List destinations with the circuit of each.",
        "name ae_title host port folder calling_ae_title tls commitment circuit",
        whole=True,
    ),
    _List("sources", "List peers that may call.", "ae_title hosts port", whole=True),
    _List(
        "applications",
        "List called AE titles.",
        "ae_title group_by duplicates late_instances otherwise",
        whole=True,
    ),
)


def _command(what: _List) -> Callable[..., None]:
    """The function that lists ``what``, with a parameter for each of its options."""

    def run(ctx: typer.Context, **given: Any) -> None:
        as_json, limit = given.pop("as_json"), given.pop("limit", _DEFAULT)
        query = {f.parameter: given[f.parameter] for f in what.filters}
        if what is _PAYLOADS and (query["study"] or query["accession"]):
            from gateway.cli.where import tell

            tell(ctx.obj, query["study"], query["accession"], as_json)
            return
        _list(ctx, what, query, limit, as_json=as_json)

    kinds: dict[str, tuple[Any, Any]] = {
        f.parameter: (f.annotation, False if f.flag else None) for f in what.filters
    }
    if not what.whole:
        kinds["limit"] = (Limit, _DEFAULT)
    kinds["as_json"] = (Json, False)
    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("ctx", keyword, annotation=typer.Context),
            *(
                inspect.Parameter(n, keyword, default=d, annotation=a)
                for n, (a, d) in kinds.items()
            ),
        ]
    )
    run.__doc__ = inspect.cleandoc(what.help)
    run.__doc__ += f"\n\n\b\nExample:\n  gateway list {what.name} {what.example}".rstrip()
    return run


def _list(
    ctx: typer.Context, what: _List, query: Mapping[str, Any], limit: int, *, as_json: bool
) -> None:
    from gateway.cli import show
    from gateway.cli.client import Client

    with Client.of(ctx.obj) as client:
        items = client.items(f"/api/v1/{what.path or what.name}", query, limit)
    if as_json:
        show.as_json(items)
    elif items:
        show.table(items, what.columns.split())
        if len(items) == limit:
            show.notes([f"the newest {limit}; more with --limit"])
    else:
        show.notes([f"no {what.name}"])


for _what in _LISTS:
    app.command(_what.name)(_command(_what))
