"""Which expressions are accepted when a file is loaded, and which names they use."""

from __future__ import annotations

from pathlib import Path

import cel
import pytest

from gateway.config.applications import Rule, load
from gateway.config.document import ConfigError
from gateway.routing.checks import check, check_rule
from gateway.routing.errors import ExpressionError
from gateway.routing.names import FUNCTIONS
from gateway.routing.tokens import MAX_DEPTH, MAX_LENGTH, tokens


@pytest.mark.parametrize(
    ("text", "study", "series"),
    [
        ('called == "A" || calling == host', set(), set()),
        ('study.StudyDescription.contains("LUNG")', {"StudyDescription"}, set()),
        ('study["PatientID"] == "1"', {"PatientID"}, set()),
        ('"CT" in study.modalities && study.instances > 3', {"modalities", "instances"}, set()),
        ('series.exists(s, s.Modality == "CT")', set(), {"Modality"}),
        ("series.filter(a, a.Rows > 1).exists(b, b.Columns > 1)", set(), {"Rows", "Columns"}),
        ("series[0].Rows == 512", set(), {"Rows"}),
        ("(size(series) > 1 ? series[1] : series[0]).Rows == 1", set(), {"Rows"}),
        ("series.map(x, x)[0].Rows > 1", set(), {"Rows"}),
        ("[series[0]].exists(q, q.Rows == 1)", set(), {"Rows"}),
        ("(series + series).all(q, q.Rows == 1)", set(), {"Rows"}),
        ("series.all(x, series.exists(y, x.Rows == y.Columns))", set(), {"Rows", "Columns"}),
        ("series.exists(study, study.Rows == 1)", set(), {"Rows"}),
        ("[1, 2].exists(i, i == study.instances)", {"instances"}, set()),
        ('has(study.PatientID) && study.PatientID != ""', {"PatientID"}, set()),
        ("series.exists(s, s.spacing[2] < 2.0 && s.orientation == 'axial')", set(),
         {"spacing", "orientation"}),
        ("type(series.size()) == int", set(), set()),
    ],
)  # fmt: skip
def test_names_are_found(text: str, study: set[str], series: set[str]) -> None:
    names = check(text, per_series=False)
    assert (names.study, names.series) == (study, series)


@pytest.mark.parametrize(
    "text",
    [
        '"study.Nonsense" == called',
        "'it\\'s study.Nonsense' == called",
        'r"\\" == called || "study.Nonsense" == host',
        '"""a "study.Nonsense" b""" == called',
        "// study.Nonsense\ncalled == host",
        "called == host // study.Nonsense",
    ],
)
def test_strings_and_comments_hold_no_names(text: str) -> None:
    assert check(text, per_series=False).study == frozenset()


def test_the_series_is_s_in_select_and_prefer_only() -> None:
    assert check("s.instances", per_series=True).series == {"instances"}
    with pytest.raises(ExpressionError, match="'s' is known only in select and prefer"):
        check("s.instances > 1", per_series=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('series.exists(s, s.Modalty == "CT")', "unknown DICOM keyword 'Modalty'.*'Modality'"),
        ("study.studydescription == ''", "did you mean 'StudyDescription'"),
        ("series[0].instance > 1", "did you mean 'instances'"),
        ("study.RequestAttributesSequence == null", "is a sequence"),
        ("series[0].PixelData == null", "bulk data"),
        ("study.TransferSyntaxUID == ''", "belongs to no data set"),
        ("patient.PatientID == ''", "unknown name 'patient'; known: called, calling, host"),
        ("callng == ''", "did you mean 'calling'"),
        ("series.Modality == 'CT'", "write series.exists"),
        ("called.lower() == 'a'", "unknown function 'lower'"),
        ("'PatientID' in study", "use has"),
        ("{'a': series[0]}.a.Rows == 1", "cannot be a value of a map"),
        ("dyn(series[0]).Rows == 1", "takes an attribute"),
        ("study[called] == 1", "name an attribute with a dot"),
        ("study.exists(a, true)", "belongs to a list"),
        ("[study][0].Rows == 1", "cannot be elements"),
        (".study.Rows == 1", "unexpected"),
        ("1 +", r"is not CEL: Syntax error: mismatched input the end \(line:column 1:4\)$"),
        ('called = "A"', "column 8: '=' begins no CEL token"),
        ("series.exists(s, s.Rows == 1", "is not CEL"),
        ("", "is empty"),
        ("// nothing", "is empty"),
        ("called == @", "begins no CEL token"),
        ("'" + "a" * MAX_LENGTH + "'", "is longer than"),
        ("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1), "nested deeper"),
        ("true?1:" * (MAX_DEPTH + 1) + "1", "nested deeper"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        check(text, per_series=False)


def test_the_deepest_allowed_expression_compiles_and_runs() -> None:
    text = "(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH
    check(text, per_series=False)
    assert cel.evaluate(text) == 1


@pytest.mark.parametrize("name", sorted(FUNCTIONS - {"has"}))
def test_every_allowed_function_exists_in_the_engine(name: str) -> None:
    time = 'timestamp("2020-01-01T00:00:00Z")'
    calls = [f"{name}('1')", f"'1'.{name}('1')", f"{time}.{name}()", f"{name}('1s')"]
    calls += [f"{name}({time})"]
    values = []
    for call in calls:
        try:
            values.append(cel.evaluate(call))
        except (RuntimeError, TypeError, ValueError):
            continue
    assert values, name


def test_tokens_keep_their_places() -> None:
    found = [(t.kind, t.text) for t in tokens("s.X >= 1.5e3 // c")]
    assert found == [
        ("name", "s"), ("sign", "."), ("name", "X"), ("sign", ">="), ("number", "1.5e3"),
        ("end", ""),
    ]  # fmt: skip


def test_a_rule_yields_one_fault_per_bad_expression() -> None:
    rule = Rule.model_validate(
        {"name": "r", "pipeline": "p", "when": "s.Rows == 1", "select": "1 +", "prefer": "s.Rows"}
    )
    assert [key for key, _ in check_rule(rule)] == ["when", "select"]


def test_a_file_with_an_unknown_keyword_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "applications:\n"
        "- ae-title: A\n"
        "  rules:\n"
        "  - name: r\n"
        "    when: 'series.exists(s, s.Modalty == \"CT\")'\n"
        "    pipeline: p\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, check_rule)
    (fault,) = caught.value.faults
    assert (fault.line, fault.key) == (5, "applications[0].rules[0].when")
    assert "'Modalty'" in fault.message
