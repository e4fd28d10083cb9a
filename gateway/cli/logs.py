"""``gateway logs job``: what the operators of a job wrote, to the end or as they write it."""

from __future__ import annotations

import codecs
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.groups import group
from gateway.cli.options import JobOption, OptionalIdentifier, one

if TYPE_CHECKING:
    from gateway.cli.client import Client, Params

app = group("Print the logs of operators.")

LOOK_SECONDS = 0.5


@app.command("job")
def job(
    ctx: typer.Context,
    identifier: OptionalIdentifier = None,
    option: JobOption = None,
    operator: Annotated[
        str | None, typer.Option("--operator", help="Only of this operator.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="Of this attempt [default: the last].")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has stopped.")
    ] = False,
) -> None:
    """Print what a job's operators wrote.

    They are foreign programs: what they print may name patients.

    \b
    Examples:
      gateway logs job JOB --operator make
      gateway logs job -j JOB --follow
    """
    from gateway.cli.client import Client

    job_id = one("job", identifier, option)
    with Client.of(ctx.obj) as client:
        if follow:
            _Follower(client, job_id, operator, attempt).run()
            return
        params = {"operator": operator, "attempt": attempt}
        with client.stream(f"{_path(job_id)}/logs", params) as pieces:
            decode = codecs.getincrementaldecoder("utf-8")("replace").decode
            for piece in pieces:
                _write(decode(piece))


class _Follower:
    """Prints what is new of each operator's log, in the order of the definition."""

    def __init__(
        self, client: Client, job_id: str, operator: str | None, attempt: int | None
    ) -> None:
        self._client = client
        self._job_id = job_id
        self._operator = operator
        self._attempt = attempt
        self._read: dict[tuple[int, str], tuple[int, codecs.IncrementalDecoder]] = {}
        self._shown: tuple[int, str] | None = None

    def run(self) -> None:
        """Until the job has stopped and its logs are told to their ends."""
        while True:
            # The state first: what is written before a job stops is there when it has.
            job = self._client.get(_path(self._job_id))
            for row in self._chosen(job["operators"]):
                while self._more(row["attempt"], row["name"]):
                    pass
            if job["state"] == "STOPPED":
                return
            time.sleep(LOOK_SECONDS)

    def _chosen(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        last = max((row["attempt"] for row in rows), default=0)
        attempt = self._attempt or last
        wanted = None if self._operator is None else self._operator.lower()
        found = [r for r in rows if r["attempt"] == attempt and wanted in (None, r["name"].lower())]
        if rows and not found:
            from gateway.cli.errors import NOT_FOUND, CliError

            what = f"operator {self._operator!r}" if self._operator else "operator"
            raise CliError(f"attempt {attempt} of job {self._job_id} has no {what}", NOT_FOUND)
        return found

    def _more(self, attempt: int, name: str) -> bool:
        """Print the next piece; False when there is none yet."""
        key = (attempt, name)
        fresh = codecs.getincrementaldecoder("utf-8")("replace")
        begin, decoder = self._read.get(key, (0, fresh))
        offset = begin
        params: Params = {"operator": name, "attempt": attempt, "offset": offset}
        with self._client.stream(f"{_path(self._job_id)}/logs", params) as pieces:
            for piece in pieces:
                if self._operator is None and key != self._shown:
                    _write(f"==> {name} <==\n")
                    self._shown = key
                offset += len(piece)
                _write(decoder.decode(piece))
        self._read[key] = (offset, decoder)
        return offset > begin


def _path(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='')}"


def _write(text: str) -> None:
    from gateway.cli import show

    # An operator's words must not drive the terminal.
    sys.stdout.write(show.clean(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
