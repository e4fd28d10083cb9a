"""How long the rules of one payload take: a study of many series, evaluated by the real engine.

Prints one line per shape of rule (median of the rounds) and the library alone with every
attribute in the context, which is what the engine's cut-down context saves.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cel

from gateway.config.applications import Rule
from gateway.routing.context import Facts, SeriesFacts
from gateway.routing.engine import Engine
from gateway.routing.rules import evaluate_rules

RULES = {
    "exists, 3 attributes": {
        "when": 'series.exists(s, s.Modality == "MR" && s.SliceThickness < 2.0 && s.instances > 9)'
    },
    "filter and count, 3 attributes": {
        "when": "series.filter(s, s.Modality == 'CT' && s.SliceThickness < 2.0 "
        "&& s.instances > 9).size() > 600"
    },
    "when, select, prefer, 3 attributes": {
        "when": 'series.exists(s, s.Modality == "CT" && s.instances >= 20)',
        "select": 's.Modality == "CT" && s.SliceThickness < 2.0',
        "prefer": "s.instances",
    },
    "select that looks at all series": {
        "select": "series.all(x, x.instances <= s.instances)",
    },
}


def study(series: int, attributes: int) -> Facts:
    """A study of ``series`` CT series with ``attributes`` header values each."""
    return Facts(
        called="RULES",
        calling="CT1",
        host="127.0.0.1",
        series=tuple(
            SeriesFacts(
                uid=f"1.2.826.0.1.3680043.9.{number}",
                attributes={"Modality": "CT", "SliceThickness": 1.25}
                | {f"Filler{n}": f"value {n}" if n % 2 else n * 0.5 for n in range(attributes)},
                instances=number,
            )
            for number in range(series)
        ),
    )


def median_ms(rounds: int, call: Callable[[], object]) -> float:
    """Median time of ``call``, in milliseconds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=500)
    parser.add_argument("--attributes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    facts = study(options.series, options.attributes)
    print(f"{options.series} series of {options.attributes} attributes; limit 200 ms")
    with Engine(seconds=60) as engine:
        for name, keys in RULES.items():
            rule = Rule.model_validate({"name": name, "pipeline": "p", **keys})
            evaluate_rules(engine, [rule], facts)
            taken = median_ms(
                options.rounds, lambda rule=rule: evaluate_rules(engine, [rule], facts)
            )  # type: ignore[misc]
            outcome = evaluate_rules(engine, [rule], facts)[0].outcome
            print(f"  {name:40} {taken:8.1f} ms  {outcome}")
    program = cel.compile(RULES["filter and count, 3 attributes"]["when"])
    whole = [dict(s.attributes) | {"instances": s.instances} for s in facts.series]
    taken = median_ms(1, lambda: program.execute({"series": whole}))
    print(f"  {'the library, whole context, filter':40} {taken:8.1f} ms")


if __name__ == "__main__":
    main()
