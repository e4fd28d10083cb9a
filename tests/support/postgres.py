"""A real PostgreSQL on an ephemeral loopback port, made anew for the tests and thrown away."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.programs import START_SECONDS, free_port, missing

_VERSIONS = Path("/usr/lib/postgresql")


def _program(name: str) -> str:
    found = sorted(_VERSIONS.glob(f"*/bin/{name}"))
    if not found:
        missing(f"PostgreSQL's {name} is not installed (Debian package postgresql)")
    return str(found[-1])


@contextmanager
def running_postgres() -> Iterator[str]:
    """A server with an empty cluster; yields the URL of its ``postgres`` database."""
    initdb, server = _program("initdb"), _program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-", dir="/tmp"))
    account = pwd.getpwnam("postgres") if os.getuid() == 0 else None
    # PostgreSQL refuses to run as root.
    who = {"user": account.pw_uid, "group": account.pw_gid} if account else {}
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    data, port = folder / "data", free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    try:
        subprocess.run(
            [initdb, "-D", data, "-U", "gateway", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            **quiet,
            **who,
        )
        process = subprocess.Popen(
            [
                *(server, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder),
                # Gateways are killed here, the server never: it need not flush.
                *("-c", "max_connections=400", "-c", "fsync=off"),
            ],
            **quiet,
            **who,
        )
        try:
            _wait(port)
            yield f"postgresql+psycopg://gateway@127.0.0.1:{port}/postgres"
        finally:
            # Fast shutdown: a test that failed may have left connections open.
            process.send_signal(signal.SIGINT)
            process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(f"postgresql://gateway@127.0.0.1:{port}/postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def fresh_database(server_url: str, name: str, *, keep: bool = False) -> str:
    """Make an empty database on the server; ``keep`` one that is there.  Returns its URL."""
    plain = server_url.replace("+psycopg", "")
    known = contextlib.suppress(psycopg.errors.DuplicateDatabase if keep else ())
    with psycopg.connect(plain, autocommit=True) as connection, known:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server_url.rsplit("/", 1)[0] + f"/{name}"
