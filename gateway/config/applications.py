"""``ae_config/*.yaml``: called AE titles with their rules, sources and destinations.

:func:`load` merges every file of the folder into one :class:`AeConfig` or raises one
:class:`~gateway.config.document.ConfigError` with every fault.  CEL expressions are text here;
the caller passes a check for them (the routing room's), so this room stays free of DICOM words.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from gateway.config.document import ConfigError, Document, Fault, parse, read, validate
from gateway.config.model import Settings

CheckRule = Callable[["Rule"], Iterable[tuple[str, str]]]
"""Given a rule, yields (key, message) for each of its expressions that does not compile."""


def _ae_title(value: str) -> str:
    # PS3.5 6.2, VR AE: default repertoire without backslash and control characters, no
    # significant leading or trailing spaces, not all spaces.
    if not re.fullmatch(
        r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?", value
    ):
        raise ValueError(
            f"{value!r} is no AE title: 1 to 16 printable ASCII characters, no backslash, "
            "no space at either end"
        )
    return value


def _host(value: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F:.]+(/\d+)?", value) and not value.isalpha():
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError as error:
            raise ValueError(f"{value!r} is no address, network (CIDR) or host name") from error
        return value
    if not re.fullmatch(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", value):
        raise ValueError(f"{value!r} is no address, network (CIDR) or host name")
    return value


def _uid(value: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", value) or len(value) > 64:
        raise ValueError(f"{value!r} is no UID: up to 64 digits and dots (PS3.5 9.1)")
    return value


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Host = Annotated[str, AfterValidator(_host)]
Uid = Annotated[str, AfterValidator(_uid)]
Priority = Literal["lower", "normal", "higher", "immediate"]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]


class CompleteWhen(Settings):
    """When a payload counts as complete: whichever comes first."""

    quiet_seconds: Annotated[float, Field(gt=0)] | None = 5
    """Since the last byte on any association that fed the group; null = off."""
    association_released: bool = False
    """All associations that fed the group were released; an abort is quiet, not release."""
    instances: PositiveInt | Literal["tag"] | None = None
    """A count, or ``tag`` = NumberOfStudy/SeriesRelatedInstances when the sender gives it."""
    max_wait_seconds: Annotated[float, Field(gt=0)] = 3600
    """Longest wait since the first instance of the revision."""


class Accept(Settings):
    """Which storage SOP classes the AE title takes."""

    sop_classes: list[Uid] | None = None
    """Accepted classes; null = every storage class.  A class not listed: context rejected."""
    ignore_sop_classes: list[Uid] = Field(default_factory=list)
    """Answered Success, not kept, counted and visible."""


class Rule(Settings):
    """One rule: when it matches, its pipeline runs on the selected series."""

    name: Name
    """Unique within the AE title."""
    when: str | None = None
    """CEL, bool; absent = always."""
    select: str | None = None
    """CEL per series, bool; absent = all series of the payload."""
    prefer: str | None = None
    """CEL number per selected series; keeps only the best; absent = keep all."""
    pipeline: Name
    """Name of a registered pipeline."""
    priority: Priority = "normal"
    """Priority of the job."""
    variables: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Pipeline parameters."""
    destinations: list[Name] = Field(default_factory=list)
    """Names of destinations of the results."""


class Application(Settings):
    """One called AE title and what happens to what it receives."""

    ae_title: AeTitle
    """Called AE title."""
    group_by: Literal["patient", "study", "series"] = "study"
    """What one payload holds."""
    complete_when: CompleteWhen = CompleteWhen()
    accept: Accept = Accept()
    duplicates: Literal["keep-first", "replace", "reject"] = "keep-first"
    """Same SOP Instance UID, other data set."""
    late_instances: Literal["new-revision", "new-payload", "ignore"] = "new-revision"
    """Instances of a group that was complete already."""
    rules: list[Rule] = Field(default_factory=list)
    otherwise: Literal["keep", "discard"] = "keep"
    """No rule matched."""

    @model_validator(mode="after")
    def _completes(self) -> Application:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the rule name {twice[0]!r} stands twice under {self.ae_title}")
        return self


class Source(Settings):
    """A peer that may call the gateway."""

    ae_title: AeTitle
    """Its calling AE title."""
    hosts: list[Host] = Field(min_length=1)
    """Addresses, networks (CIDR) or host names it calls from."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where its storage commitment answers go."""
    tls: bool = False
    """They go by DICOM TLS (BCP 195 profile)."""

    @model_validator(mode="after")
    def _somewhere(self) -> Source:
        if self.tls and self.port is None:
            raise ValueError("tls says how its storage commitment answers go: it needs port")
        return self


class Destination(Settings):
    """Where results go: a DICOM peer, or a folder."""

    name: Name
    """Unique name, as rules use it."""
    ae_title: AeTitle | None = None
    """Called AE title of the peer."""
    host: Host | None = None
    """Its host."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Its port."""
    calling_ae_title: AeTitle = "GATEWAY"
    """The AE title the gateway calls with."""
    tls: bool = False
    """DICOM TLS (BCP 195 profile)."""
    commitment: bool = False
    """Ask for storage commitment."""
    associations: Annotated[int, Field(ge=1, le=16)] = 1
    """Send over so many at once; one while it is not known to work."""
    folder: Path | None = None
    """A folder instead of a peer."""

    @model_validator(mode="after")
    def _kind(self) -> Destination:
        peer = (self.ae_title, self.host, self.port)
        if self.folder is not None and any(part is not None for part in peer):
            raise ValueError("give either folder, or ae-title, host and port, not both")
        if self.folder is None and any(part is None for part in peer):
            raise ValueError("needs ae-title, host and port, or folder")
        if self.folder is not None and self.associations > 1:
            raise ValueError("a folder takes no associations")
        return self


class AeFile(Settings):
    """One file of ``ae_config/``."""

    applications: list[Application] = Field(default_factory=list)
    sources: list[Source] = Field(default_factory=list)
    destinations: list[Destination] = Field(default_factory=list)


class AeConfig(Settings):
    """All files of ``ae_config/`` merged; immutable, swapped as a whole on reload."""

    applications: tuple[Application, ...] = ()
    sources: tuple[Source, ...] = ()
    destinations: tuple[Destination, ...] = ()
    version: str = ""
    """SHA-256 of the files, hex: names the state a decision was made with."""

    def application(self, ae_title: str) -> Application | None:
        """The application called ``ae_title`` or None; asked for every instance."""
        return self._by_title.get(ae_title)

    @cached_property
    def _by_title(self) -> dict[str, Application]:
        return {a.ae_title: a for a in self.applications}

    def destination(self, name: str) -> Destination | None:
        """The destination named ``name`` (case-insensitive, as Clara's adapter) or None."""
        lower = name.lower()
        return next((d for d in self.destinations if d.name.lower() == lower), None)


def files(folder: Path) -> list[Path]:
    """The files that make up the configuration, in the order they are read.

    Hidden ones are not among them: editors keep locks and half-written copies under such names.
    """
    found = (p for p in folder.glob("*.y*ml") if p.suffix in {".yaml", ".yml"})
    return sorted(p for p in found if not p.name.startswith("."))


def load(
    folder: Path,
    check_rule: CheckRule | None = None,
    instead: Mapping[Path, str] | None = None,
) -> AeConfig:
    """Read and merge every file of ``folder``; raise :class:`ConfigError` with every fault.

    ``instead`` are texts that count as the contents of files of the folder, whether those are
    there or not: a change is checked so before it is written.
    """
    texts = dict(instead or {})
    if not folder.is_dir():
        raise ConfigError([Fault(str(folder), None, "", "is no folder (setting ae-config)")])
    faults: list[Fault] = []
    documents: list[tuple[Document, AeFile]] = []
    digest = hashlib.sha256()
    for path in sorted({*files(folder), *texts}):
        try:
            document = parse(texts[path], str(path)) if path in texts else read(path)
            documents.append((document, validate(AeFile, document)))
        except ConfigError as error:
            faults += error.faults
            continue
        # Of the text that was parsed: the file may have changed since.
        digest.update(f"{path.name}\0{document.digest}\0".encode())
    faults += _twice(documents)
    faults += _rules(documents, check_rule)
    if faults:
        raise ConfigError(faults)
    return AeConfig(
        applications=tuple(a for _, f in documents for a in f.applications),
        sources=tuple(s for _, f in documents for s in f.sources),
        destinations=tuple(_absolute(d, folder) for _, f in documents for d in f.destinations),
        version=digest.hexdigest(),
    )


def _absolute(destination: Destination, folder: Path) -> Destination:
    if destination.folder is None or destination.folder.is_absolute():
        return destination
    return destination.model_copy(update={"folder": folder.resolve() / destination.folder})


_IDENTITY: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("applications", "ae-title", lambda item: item.ae_title),
    ("sources", "ae-title", lambda item: item.ae_title),
    ("destinations", "name", lambda item: item.name.lower()),
)


def _twice(documents: list[tuple[Document, AeFile]]) -> list[Fault]:
    """Name both lines where an AE title, source or destination stands twice."""
    faults = []
    for section, key, identity in _IDENTITY:
        seen: dict[str, str] = {}
        for document, file in documents:
            for index, item in enumerate(getattr(file, section)):
                place = (section, index, key)
                name = identity(item)
                here = f"{document.file}:{document.line(place)}"
                if name in seen:
                    faults.append(document.fault(place, f"{name!r} stands already in {seen[name]}"))
                seen.setdefault(name, here)
    return faults


def _rules(documents: list[tuple[Document, AeFile]], check: CheckRule | None) -> list[Fault]:
    """Check destinations named by rules and, with ``check``, their expressions."""
    known = {d.name.lower() for _, file in documents for d in file.destinations}
    listed = ", ".join(sorted(known)) or "none"
    faults = []
    for document, file in documents:
        for a, application in enumerate(file.applications):
            for r, rule in enumerate(application.rules):
                at: tuple[str | int, ...] = ("applications", a, "rules", r)
                faults += [
                    document.fault(
                        (*at, "destinations", i),
                        f"no destination is named {name!r}; known: {listed}",
                    )
                    for i, name in enumerate(rule.destinations)
                    if name.lower() not in known
                ]
                for key, message in check(rule) if check else ():
                    faults.append(document.fault((*at, key), message))
    return faults
