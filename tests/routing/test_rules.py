"""Judging payloads: types, null, errors, select and prefer, in the real engine."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from gateway.config.applications import Rule
from gateway.routing.context import Facts, SeriesFacts
from gateway.routing.engine import Engine
from gateway.routing.rules import Judgement, Outcome, evaluate_rules


def series(uid: str = "1", instances: int = 2, **attributes: Any) -> SeriesFacts:
    return SeriesFacts(uid, attributes, instances, ("1.2.840.10008.5.1.4.1.1.2",))


def facts(*items: SeriesFacts) -> Facts:
    return Facts("LUNG_CT", "CT1", "10.1.0.4", items or (series(Modality="CT"),))


def judge(engine: Engine, known: Facts, **keys: Any) -> Judgement:
    rule = Rule.model_validate({"name": "r", "pipeline": "p"} | keys)
    (judgement,) = evaluate_rules(engine, [rule], known)
    return judgement


def test_a_rule_without_expressions_takes_every_series(engine: Engine) -> None:
    judgement = judge(engine, facts(series("1"), series("2")))
    assert (judgement.outcome, judgement.selected) == (Outcome.MATCHED, ("1", "2"))


@pytest.mark.parametrize(
    ("when", "outcome"),
    [
        ('called == "LUNG_CT" && calling == "CT1" && host == "10.1.0.4"', Outcome.MATCHED),
        ('study.modalities == ["CT", "SR"] && study.instances == 31', Outcome.MATCHED),
        ('study.StudyDescription.startsWith("LUNG")', Outcome.MATCHED),
        ('series.exists(s, s.Modality == "CT" && s.instances >= 30)', Outcome.MATCHED),
        ('series.exists(s, s.Modality == "CT" && s.instances > 30)', Outcome.NOT_MATCHED),
        ("series[0].uid == '1' && '1.2.840.10008.5.1.4.1.1.2' in series[0].sop_classes",
         Outcome.MATCHED),
        ("type(series[0].Rows) == int && type(series[0].InstanceNumber) == int", Outcome.MATCHED),
        ("type(series[0].SliceThickness) == double", Outcome.MATCHED),
        ("type(series[0].StudyDate) == string", Outcome.MATCHED),
        ("type(series[0].PixelSpacing) == list && series[0].PixelSpacing[1] == 0.5",
         Outcome.MATCHED),
        ('"PRIMARY" in series[0].ImageType', Outcome.MATCHED),
        ("series[0].KVP == null && series[1].Rows == null", Outcome.MATCHED),
        ("has(series[0].KVP)", Outcome.MATCHED),
        # Null rules: comparing is an error, unless the other side of || or && already decides.
        ("series[0].KVP < 100.0", Outcome.ERROR),
        ("series[0].KVP < 100.0 || true", Outcome.MATCHED),
        ("series[0].KVP < 100.0 && false", Outcome.NOT_MATCHED),
        ("series.exists(s, s.SliceThickness < 2.0)", Outcome.MATCHED),
        ("series.exists(s, s.SliceThickness > 5.0)", Outcome.ERROR),
        # What series do not agree on is no attribute of the study, but for patient and study.
        ("study.Modality == null && study.StudyID == '7'", Outcome.MATCHED),
        ("study.instances", Outcome.ERROR),
        ("study.instances / 0 == 1", Outcome.ERROR),
        ("series[9].Rows == 1", Outcome.ERROR),
    ],
)  # fmt: skip
def test_when(engine: Engine, when: str, outcome: Outcome) -> None:
    ct = series(
        "1", 30, Modality="CT", StudyDescription="LUNG LOW DOSE", StudyID="7", Rows=512,
        InstanceNumber=1, SliceThickness=1.0, StudyDate="20240229", PixelSpacing=[0.7, 0.5],
        ImageType=["ORIGINAL", "PRIMARY"],
    )  # fmt: skip
    report = series("2", 1, Modality="SR", StudyDescription="LUNG LOW DOSE", StudyID="8")
    judgement = judge(engine, facts(ct, report), when=when)
    assert judgement.outcome is outcome, judgement
    assert (judgement.error is not None) == (outcome is Outcome.ERROR)


def test_the_error_names_what_was_null(engine: Engine) -> None:
    judgement = judge(engine, facts(), when="series[0].KVP < 100.0")
    assert judgement.error is not None
    assert judgement.error.startswith("when: No such overload")
    assert "null: series.KVP" in judgement.error
    assert judge(engine, facts(), when="study.instances").error == "when: yields int, not bool"


def test_select_takes_the_series_that_say_true(engine: Engine) -> None:
    known = facts(
        series("1", Modality="CT", SliceThickness=5.0),
        series("2", Modality="CT", SliceThickness=1.0),
        series("3", Modality="SR"),
        series("4", Modality="CT"),
    )
    judgement = judge(engine, known, select='s.Modality == "CT" && s.SliceThickness < 2.0')
    assert judgement.selected == ("2",)
    assert judgement.outcome is Outcome.MATCHED
    # Series 4 has no thickness: it is not selected, and the decision says so.
    assert judgement.error is not None
    assert "series 4" in judgement.error
    answers = [entry["select"][0] for entry in judgement.values["series"]]  # type: ignore[index]
    assert answers == [False, True, False, None]


def test_nothing_selected_is_not_matched_or_an_error(engine: Engine) -> None:
    assert judge(engine, facts(), select='s.Modality == "MR"').outcome is Outcome.NOT_MATCHED
    assert judge(engine, facts(), select="s.KVP > 1.0").outcome is Outcome.ERROR
    assert judge(engine, facts(), select="s.instances").outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("select", "selected"),
    [
        ("series.all(x, x.instances <= s.instances)", ("2",)),
        ("s.SliceThickness == series[0].SliceThickness // first", ("1",)),
        ("series.exists(s, s.instances == 3) && s.instances == 1", ("1",)),
        # Series 3 errs: the others are still judged.
        ("s.SliceThickness > 2.0 && series.size() == 3", ("2",)),
    ],
)
def test_select_may_look_at_all_series(
    engine: Engine, select: str, selected: tuple[str, ...]
) -> None:
    known = facts(
        series("1", 1, SliceThickness=1.0), series("2", 3, SliceThickness=3.0), series("3", 2)
    )
    assert judge(engine, known, select=select).selected == selected


@pytest.mark.parametrize(
    ("prefer", "selected"),
    [
        ("s.instances", ("1.3",)),
        ("-s.SliceThickness", ("1.10",)),
        ("1", ("1.3",)),  # a tie: more instances
        ("s.SliceThickness == 2.0 ? 1 : 0", ("1.2",)),  # a tie in instances too: lower UID
        ("s.SliceThickness == 1.0 ? 1.5 : 1.0", ("1.10",)),
    ],
)
def test_prefer_keeps_the_best(engine: Engine, prefer: str, selected: tuple[str, ...]) -> None:
    known = facts(
        series("1.4", 2, SliceThickness=2.0),
        series("1.3", 9, SliceThickness=4.0),
        series("1.2", 2, SliceThickness=2.0),
        series("1.10", 2, SliceThickness=1.0),
    )
    assert judge(engine, known, prefer=prefer).selected == selected
    turned = Facts(known.called, known.calling, known.host, known.series[::-1])
    assert judge(engine, turned, prefer=prefer).selected == selected


def test_prefer_ranks_only_what_was_selected(engine: Engine) -> None:
    known = facts(series("1", 9, Modality="SR"), series("2", 3, Modality="CT"))
    judgement = judge(engine, known, select='s.Modality == "CT"', prefer="s.instances")
    assert judgement.selected == ("2",)
    assert "prefer" not in judgement.values["series"][0]  # type: ignore[index]


def test_a_series_that_prefer_cannot_rank_is_not_the_best(engine: Engine) -> None:
    known = facts(series("1", 9), series("2", 3, SliceThickness=1.0))
    judgement = judge(engine, known, prefer="-s.SliceThickness")
    assert judgement.selected == ("2",)
    assert judgement.error is not None
    assert judge(engine, facts(), prefer="s.Modality").outcome is Outcome.ERROR
    assert judge(engine, facts(), prefer="0.0 / 0.0").outcome is Outcome.ERROR


def test_the_context_holds_only_what_the_rule_names(engine: Engine) -> None:
    known = facts(series(Modality="CT", PatientName="SECRET", Rows=1))
    judgement = judge(engine, known, when="series.exists(s, s.Rows == 1) && study.KVP == null")
    assert judgement.values == {
        "variables": {"study": {"KVP": None}},
        "when": [True, None],
        "series": [{"uid": "1", "attributes": {"Rows": 1}}],
    }


def test_one_bad_rule_leaves_the_others_alone(engine: Engine) -> None:
    rules = [
        Rule.model_validate({"name": name, "pipeline": "p", "when": when})
        for name, when in (("a", "1 +"), ("b", "true"), ("c", "study.KVP > 1.0"), ("d", "false"))
    ]
    outcomes = [j.outcome for j in evaluate_rules(engine, rules, facts())]
    assert outcomes == [Outcome.ERROR, Outcome.MATCHED, Outcome.ERROR, Outcome.NOT_MATCHED]


def test_a_study_of_500_series(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    known = facts(
        *(
            series(f"1.{n}", n, Modality="CT" if n % 2 else "SR", SliceThickness=n / 100)
            for n in range(500)
        )
    )
    begun = time.perf_counter()
    judgement = judge(
        engine,
        known,
        when='series.filter(s, s.Modality == "CT" && s.SliceThickness > 1.0).size() == 200',
        select='s.Modality == "CT" && s.SliceThickness > 4.5',
        prefer="s.instances",
    )
    elapsed = time.perf_counter() - begun
    with capsys.disabled():
        sys.stdout.write(
            f"\n500 series, 3 attributes, three expressions: {elapsed * 1000:.0f} ms\n"
        )
    assert judgement.selected == ("1.499",)
    assert elapsed < 20
