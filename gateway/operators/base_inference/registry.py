"""The names a configuration may use. A registry is made anew for each run: nothing is global.

A site adds its own before the run::

    registry = default_registry()
    registry.add_transform("HalveIntensity", Halve, (Argument("fields", FIELDS),))

A transform is made with its arguments as keywords and called with the fields; it changes them in
place. An inferer is made with its arguments and called with an `InferenceRun`, a writer with a
`WriteRun`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.operators.base_inference.arguments import Argument, bad_config, read_arguments

TRANSFORM: Final = "transform"
INFERER: Final = "inferer"
LOADER: Final = "model_loader"
WRITER: Final = "writer"
GROUPS: Final = (TRANSFORM, INFERER, LOADER, WRITER)


@dataclass(frozen=True, slots=True)
class Component:
    """What a name stands for. `note` is one sentence for the reference."""

    name: str
    group: str
    make: Callable[..., Any]
    arguments: tuple[Argument, ...]
    note: str


class Registry:
    """Components by group and name. Not for several threads."""

    def __init__(self) -> None:
        self._components: dict[tuple[str, str], Component] = {}

    def add(
        self,
        group: str,
        name: str,
        make: Callable[..., Any],
        arguments: Sequence[Argument] = (),
        note: str = "",
    ) -> None:
        """Add a component; one that stands there under the name is replaced.

        Without `note` the first line of the component's docstring is taken.

        Raises:
            ValueError: there is no such group.
        """
        if group not in GROUPS:
            raise ValueError(f"{group!r} is none of {GROUPS}")
        note = note or (make.__doc__ or "").strip().partition("\n")[0]
        self._components[group, name] = Component(name, group, make, tuple(arguments), note)

    def add_transform(
        self, name: str, make: Callable[..., Any], arguments: Sequence[Argument] = ()
    ) -> None:
        """Add a transform, for pre and post alike."""
        self.add(TRANSFORM, name, make, arguments)

    def components(self, group: str) -> tuple[Component, ...]:
        """Return the components of a group by name."""
        found = [component for (of, _), component in self._components.items() if of == group]
        return tuple(sorted(found, key=lambda component: component.name))

    def build(self, group: str, entry: Any, place: str) -> tuple[str, Any]:
        """Return name and component of an entry `{"name": …, "args": {…}}` of a file.

        Raises:
            UsageError: BAD_CONFIG, with file, key and what is allowed.
        """
        if not isinstance(entry, dict):
            bad_config(place, 'must be an object {"name": …, "args": {…}}')
        for key in entry:
            if key not in ("name", "args"):
                bad_config(f"{place}.{key}", "there is no such key; allowed: name, args")
        name, args = entry.get("name"), entry.get("args", {})
        component = self._components.get((group, name)) if isinstance(name, str) else None
        if component is None:
            known = ", ".join(one.name for one in self.components(group))
            bad_config(f"{place}.name", f"{name!r} is no {group} known here; allowed: {known}")
        if not isinstance(args, dict):
            bad_config(f"{place}.args", "must be an object")
        keywords = read_arguments(args, component.arguments, f"{place}.args")
        return component.name, component.make(**keywords)
