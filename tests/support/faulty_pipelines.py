# ruff: noqa: E501 - a table of faults reads best with one line for each
"""Pipeline definitions that each have one fault, and what must be said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Faulty:
    """A definition with one fault: where it is (``file:line`` and key), and words of its message.

    ``editor`` is True when an editor with the JSON Schema sees it too.
    """

    name: str
    text: str
    where: str
    key: str
    words: str
    editor: bool = False
    files: Mapping[str, str] = field(default_factory=dict)


def _head(version: str = "0.4.0", more: str = "") -> str:
    return f"api-version: {version}\nname: p\n{more}operators:\n"


def _one(*lines: str, version: str = "0.4.0", more: str = "") -> str:
    """One operator; its further lines begin at line 6, one later for each line of ``more``."""
    body = "".join(f"  {line}\n" for line in lines)
    return _head(version, more) + "- name: a\n  container: {image: i}\n" + body


def _two(first: str, second: str, version: str = "0.5.0", more: str = "") -> str:
    """Operators a (line 4) and b (line 5), each with the keys given."""
    return (
        _head(version, more)
        + f"- {{name: a, container: {{image: i}}, {first}}}\n"
        + f"- {{name: b, container: {{image: i}}, {second}}}\n"
    )


ARRAY = "output: [{name: x, type: array, element-type: f32, shape: [3, -1, 5]}]"
STREAM = "output: [{name: x, path: /o, type: stream, element-type: dicom}]"
OP = "name: r\ncontainer: {image: i}\n"


def _import(item: str, **files: str) -> tuple[str, dict[str, str]]:
    return _head() + f"- {item}\n", {f"{n}.yaml": t for n, t in files.items()}


def _imported(
    name: str, item: str, where: str, key: str, words: str, editor: bool = False, **files: str
) -> Faulty:
    text, given = _import(item, **files)
    return Faulty(name, text, where, key, words, editor, given)


P = "p.yaml"

LANGUAGE = [
    Faulty(
        "a list",
        "- a\n- b\n",
        f"{P}:1",
        "",
        "must be a mapping with api-version, name, operators",
        True,
    ),
    Faulty("no YAML", "api-version: 0.4.0\nname: [\n", f"{P}:3", "", "is not YAML"),
    Faulty(
        "no version",
        "name: p\noperators: []\n",
        f"{P}:1",
        "api-version",
        "is required; supported are 0.2.0",
        True,
    ),
    Faulty(
        "a version to come",
        _one(version="0.8.0"),
        f"{P}:1",
        "api-version",
        "0.8.0 is not supported",
        True,
    ),
    Faulty(
        "a version too old",
        _one(version="0.1.0"),
        f"{P}:1",
        "api-version",
        "supported are 0.2.0, 0.3.0",
        True,
    ),
    Faulty(
        "a version of two parts",
        _one(version="0.4"),
        f"{P}:1",
        "api-version",
        "'0.4' is no version",
        True,
    ),
    Faulty(
        "no name",
        "api-version: 0.4.0\noperators:\n- {name: a, container: {image: i}}\n",
        f"{P}:1",
        "name",
        "is required",
        True,
    ),
    Faulty(
        "a name with a blank",
        _one().replace("name: p", "name: a b"),
        f"{P}:2",
        "name",
        "'a b' is no name",
        True,
    ),
    Faulty(
        "no operators", "api-version: 0.4.0\nname: p\n", f"{P}:1", "operators", "is required", True
    ),
    Faulty(
        "empty operators",
        "api-version: 0.4.0\nname: p\noperators: []\n",
        f"{P}:3",
        "operators",
        "at least 1",
        True,
    ),
    Faulty(
        "an unknown key",
        _one(more="stages: 1\n"),
        f"{P}:3",
        "stages",
        "unknown key; allowed: api-version, description",
        True,
    ),
    Faulty(
        "a key twice",
        _one("requests: {cpu: 1, cpu: 2}"),
        f"{P}:6",
        "operators[0].requests.cpu",
        "stands here twice, first in line 6",
    ),
    Faulty(
        "an unknown orchestrator",
        _one(more="orchestrator: Airflow\n"),
        f"{P}:3",
        "orchestrator",
        "'Argo' or 'Clara'",
        True,
    ),
    Faulty(
        "a time-out of nothing",
        _one(more="timeout: 0\n"),
        f"{P}:3",
        "timeout",
        "greater than 0",
        True,
    ),
    Faulty(
        "a secret that is a list",
        _one(more="pull-secrets: [[a]]\n"),
        f"{P}:3",
        "pull-secrets[0]",
        "must be text",
        True,
    ),
]

OPERATORS = [
    Faulty(
        "an unknown key of an operator",
        _one("outputs: []"),
        f"{P}:6",
        "operators[0].outputs",
        "unknown key; allowed: api-version, container",
        True,
    ),
    Faulty(
        "no container",
        _head() + "- name: a\n",
        f"{P}:4",
        "operators[0].container",
        "is required",
        True,
    ),
    Faulty(
        "no image",
        _head() + "- name: a\n  container: {tag: x}\n",
        f"{P}:5",
        "operators[0].container.image",
        "is required",
        True,
    ),
    Faulty(
        "an image that is an option",
        _head() + "- name: a\n  container: {image: '-x'}\n",
        f"{P}:5",
        "operators[0].container.image",
        "is no image name",
        True,
    ),
    Faulty(
        "a tag with a slash",
        _head() + "- name: a\n  container: {image: i, tag: a/b}\n",
        f"{P}:5",
        "operators[0].container.tag",
        "is no image tag",
        True,
    ),
    Faulty(
        "a command that is text",
        _head() + "- name: a\n  container: {image: i, command: run}\n",
        f"{P}:5",
        "operators[0].container.command",
        "valid list",
        True,
    ),
    Faulty(
        "a name that leads away",
        _head() + "- name: ../a\n  container: {image: i}\n",
        f"{P}:4",
        "operators[0].name",
        "is no name",
        True,
    ),
    Faulty(
        "an operator twice",
        _two("input: []", "input: []").replace("name: b", "name: A"),
        f"{P}:5",
        "operators[1].name",
        "'A' stands here twice, first in line 4",
    ),
    Faulty(
        "another version inside",
        _one("api-version: 0.3.0"),
        f"{P}:6",
        "operators[0].api-version",
        "must be the pipeline's 0.4.0",
    ),
    Faulty(
        "no cores",
        _one("requests: {cpu: 0}"),
        f"{P}:6",
        "operators[0].requests.cpu",
        "greater than 0",
        True,
    ),
    Faulty(
        "memory that is true",
        _one("requests: {memory: true}"),
        f"{P}:6",
        "operators[0].requests.memory",
        "must be a number",
        True,
    ),
    Faulty(
        "a part of a GPU",
        _one("requests: {gpu: 0.5}"),
        f"{P}:6",
        "operators[0].requests.gpu",
        "integer",
        True,
    ),
    Faulty(
        "an unknown request",
        _one("requests: {gpus: 1}"),
        f"{P}:6",
        "operators[0].requests.gpus",
        "unknown key; allowed: cpu, gpu, memory",
        True,
    ),
    Faulty(
        "a variable with a hyphen",
        _one("variables: {A-B: x}"),
        f"{P}:6",
        "operators[0].variables.A-B",
        "no name of a variable",
        True,
    ),
    Faulty(
        "a variable of nothing",
        _one("variables: {A: null}"),
        f"{P}:6",
        "operators[0].variables.A",
        "must be text",
        True,
    ),
    Faulty(
        "a variable of the gateway",
        _one("variables: {NVIDIA_CLARA_JOBID: x}"),
        f"{P}:6",
        "operators[0].variables.NVIDIA_CLARA_JOBID",
        "set by the gateway",
    ),
    Faulty(
        "a variable twice",
        _head() + "- name: a\n  container: {image: i, variables: {A: 1}}\n  variables: {A: 2}\n",
        f"{P}:5",
        "operators[0].container.variables.A",
        "stands in line 6 already",
    ),
    Faulty(
        "models before there were any",
        _one("models: [{name: m}]", version="0.3.0"),
        f"{P}:6",
        "operators[0].models",
        "needs api-version 0.6.0 (tolerated from 0.4.0)",
    ),
    Faulty(
        "a model twice",
        _one("models: [{name: m}, {name: M}]", version="0.6.0"),
        f"{P}:6",
        "operators[0].models[1].name",
        "the model 'M' stands here twice",
    ),
    Faulty(
        "a model without name",
        _one("models: [{}]", version="0.6.0"),
        f"{P}:6",
        "operators[0].models[0].name",
        "is required",
        True,
    ),
    Faulty(
        "a folder of the host",
        _head() + "- name: a\n  container: {image: i, hostVolumePath: /srv/x}\n",
        f"{P}:5",
        "operators[0].container.hostVolumePath",
        "`host-volumes` of the settings allows: none",
    ),
    Faulty(
        "a system folder of the host",
        _head() + "- name: a\n  container: {image: i, hostVolumePath: /etc}\n",
        f"{P}:5",
        "operators[0].container.hostVolumePath",
        "lies in /etc",
        True,
    ),
    Faulty(
        "too many retries",
        _one("x-gateway: {retries: 99}"),
        f"{P}:6",
        "operators[0].x-gateway.retries",
        "less than or equal to 10",
        True,
    ),
]

FOLDERS = [
    Faulty(
        "a relative path",
        _one("input: [{path: in}]"),
        f"{P}:6",
        "operators[0].input[0].path",
        "must start with /",
        True,
    ),
    Faulty(
        "a path that climbs",
        _one("input: [{path: /a/../b}]"),
        f"{P}:6",
        "operators[0].input[0].path",
        "must be plain",
        True,
    ),
    Faulty(
        "the root",
        _one("output: [{path: /}]"),
        f"{P}:6",
        "operators[0].output[0].path",
        "must be a folder below /",
        True,
    ),
    Faulty(
        "a path with a semicolon",
        _one("input: [{path: '/a;b'}]"),
        f"{P}:6",
        "operators[0].input[0].path",
        "without control characters, ; and :",
        True,
    ),
    Faulty(
        "a path of the system",
        _one("output: [{path: /usr/x}]"),
        f"{P}:6",
        "operators[0].output[0].path",
        "lies in /usr",
        True,
    ),
    Faulty(
        "no path", _one("input: [{name: x}]"), f"{P}:6", "operators[0].input[0].path", "is required"
    ),
    Faulty(
        "paths in each other",
        _one("input: [{path: /a}]", "output: [{path: /a/b}]"),
        f"{P}:7",
        "operators[0].output[0].path",
        "overlaps '/a' of line 6",
    ),
    Faulty(
        "one of several without name",
        _one("output:", "- {path: /a, name: o}", "- path: /b"),
        f"{P}:8",
        "operators[0].output[1].name",
        "required when an operator has several",
    ),
    Faulty(
        "an output twice",
        _one("output:", "- {path: /a, name: o}", "- {path: /b, name: O}"),
        f"{P}:8",
        "operators[0].output[1].name",
        "first in line 7",
    ),
    Faulty(
        "from nowhere",
        _one("input: [{path: /i, from: z}]"),
        f"{P}:6",
        "operators[0].input[0].from",
        "'z' is no operator of this pipeline; there are: a",
    ),
    Faulty(
        "from one without output",
        _two("input: []", "input: [{path: /i, from: a}]", "0.4.0"),
        f"{P}:5",
        "operators[1].input[0].from",
        "'a' has no output",
    ),
    Faulty(
        "which of several",
        _two(
            "output: [{path: /x, name: m}, {path: /y, name: n}]",
            "input: [{path: /i, from: a}]",
            "0.4.0",
        ),
        f"{P}:5",
        "operators[1].input[0].name",
        "'a' has the outputs m, n",
    ),
    Faulty(
        "none of several",
        _two(
            "output: [{path: /x, name: m}, {path: /y, name: n}]",
            "input: [{path: /i, from: a, name: q}]",
            "0.4.0",
        ),
        f"{P}:5",
        "operators[1].input[0].name",
        "'q' is no output of 'a'; it has: m, n",
    ),
    Faulty(
        "from itself",
        _one("input: [{path: /i, from: a}]", "output: [{path: /o}]"),
        f"{P}:6",
        "operators[0].input",
        "a cycle",
    ),
]

TEMPLATES = [
    Faulty(
        "a parameter nobody declared",
        _one("variables: {T: '${{ nope }}'}"),
        f"{P}:6",
        "operators[0].variables.T",
        "'nope' is not declared; declared: JOB_ID",
    ),
    Faulty(
        "no placeholder",
        _one("description: '${{ a b }}'"),
        f"{P}:6",
        "operators[0].description",
        "write ${{ name }}",
    ),
    Faulty(
        "JOB_ID declared",
        _one(more="parameters: {JOB_ID: 1}\n"),
        f"{P}:3",
        "parameters.JOB_ID",
        "is the job's id",
    ),
    Faulty(
        "a default that is a list",
        _one(more="parameters: {A: [1]}\n"),
        f"{P}:3",
        "parameters.A",
        "must be text",
        True,
    ),
    Faulty(
        "a default of the wrong kind",
        _one("requests: {gpu: '${{ G }}'}", more="parameters: {G: many}\n"),
        f"{P}:7",
        "operators[0].requests.gpu",
        "valid integer",
    ),
    Faulty(
        "a default that makes a bad path",
        _one("input: [{path: '${{ D }}'}]", more="parameters: {D: ../x}\n"),
        f"{P}:7",
        "operators[0].input[0].path",
        "must start with /",
    ),
    Faulty(
        "an operator's parameter nobody declared",
        _one("parameters: {B: '${{ C }}'}"),
        f"{P}:6",
        "operators[0].parameters.B",
        "'C' is not declared",
    ),
    Faulty(
        "a bomb of placeholders",
        _one(
            "description: '" + "${{A}}" * 100 + "'",
            more="parameters: {A: '" + "x" * 60_000 + "'}\n",
        ),
        f"{P}:7",
        "operators[0].description",
        "larger than 4194304 characters",
    ),
]

TYPES = [
    Faulty(
        "types before there were any",
        _one("output: [{path: /o, type: stream}]"),
        f"{P}:6",
        "operators[0].output[0].type",
        "needs api-version 0.5.0 or later; the pipeline says 0.4.0",
    ),
    Faulty(
        "an output without name",
        _one("output: [{path: /o}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].name",
        "is required from api-version 0.5.0",
    ),
    Faulty(
        "an unknown type",
        _one("output: [{name: x, type: tensor}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].type",
        "'tensor' is no type; allowed: stream, array, string, uint8 (u8)",
        True,
    ),
    Faulty(
        "an array without element",
        _one("output: [{name: x, type: array, shape: [1]}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].element-type",
        "is required for an array: uint8 (u8)",
    ),
    Faulty(
        "an array of something",
        _one("output: [{name: x, type: array, shape: [1], element-type: dicom}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].element-type",
        "'dicom' is no element of an array",
    ),
    Faulty(
        "an array without shape",
        _one("output: [{name: x, type: array, element-type: u8}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].shape",
        "is required for an array",
    ),
    Faulty(
        "a dimension of nothing",
        _one("output: [{name: x, type: array, element-type: u8, shape: [3, 0]}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].shape[1]",
        "or -1 for any size",
        True,
    ),
    Faulty(
        "a dimension of -2",
        _one("output: [{name: x, type: array, element-type: u8, shape: [-2]}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].shape[0]",
        "or -1 for any size",
        True,
    ),
    Faulty(
        "an array too large",
        _one(
            "output: [{name: x, type: array, element-type: f64, shape: [1000000, 1000000]}]",
            version="0.5.0",
        ),
        f"{P}:6",
        "operators[0].output[0].shape",
        "8000000000000 bytes, at most 1099511627776",
    ),
    Faulty(
        "no dimensions",
        _one("output: [{name: x, type: array, element-type: u8, shape: []}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].shape",
        "at least 1 item",
        True,
    ),
    Faulty(
        "an array with a path",
        _one(
            "output: [{name: x, type: array, element-type: u8, shape: [1], path: /o}]",
            version="0.5.0",
        ),
        f"{P}:6",
        "operators[0].output[0].path",
        "an array goes through shared memory",
    ),
    Faulty(
        "a string with a shape",
        _one("output: [{name: x, type: string, shape: [9]}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].shape",
        "is for arrays; a string has none",
    ),
    Faulty(
        "a number with an element",
        _one("output: [{name: x, type: f32, element-type: f32}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].element-type",
        "is for arrays; a float32 has none",
    ),
    Faulty(
        "a string with a format",
        _one("output: [{name: x, type: string, format: json}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].format",
        "is for streams, not for a string",
    ),
    Faulty(
        "a stream without path",
        _one("output: [{name: x, type: stream, format: dicom}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].path",
        "is required for a stream",
    ),
    Faulty(
        "a stream without element",
        _one("output: [{name: x, type: stream, path: /o}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].output[0].element-type",
        "is required for a stream",
    ),
    Faulty(
        "a stream with a shape",
        _one(
            "output: [{name: x, path: /o, type: stream, format: dicom, shape: [1]}]",
            version="0.5.0",
        ),
        f"{P}:6",
        "operators[0].output[0].shape",
        "a stream has none",
    ),
    Faulty(
        "element and format",
        _one(
            "output: [{name: x, path: /o, type: stream, format: dicom, element-type: dicom}]",
            version="0.5.0",
        ),
        f"{P}:6",
        "operators[0].output[0].format",
        "says the same as element-type",
    ),
    Faulty(
        "an array of the payload",
        _one("input: [{name: x, type: array, element-type: u8, shape: [1]}]", version="0.5.0"),
        f"{P}:6",
        "operators[0].input[0].from",
        "an array comes from an operator",
    ),
    Faulty(
        "other elements",
        _two(
            ARRAY, "input: [{from: a, name: x, type: array, element-type: i16, shape: [3, -1, 5]}]"
        ),
        f"{P}:5",
        "operators[1].input[0].element-type",
        "float32 [3, -1, 5] is not int16 [3, -1, 5]: the elements differ",
    ),
    Faulty(
        "fewer dimensions",
        _two(ARRAY, "input: [{from: a, name: x, type: array, element-type: f32, shape: [3, 5]}]"),
        f"{P}:5",
        "operators[1].input[0].shape",
        "the numbers of dimensions differ",
    ),
    Faulty(
        "another size",
        _two(
            ARRAY, "input: [{from: a, name: x, type: array, element-type: f32, shape: [4, 2, 5]}]"
        ),
        f"{P}:5",
        "operators[1].input[0].shape",
        "dimension 0 is 3, not 4",
    ),
    Faulty(
        "an array as a string",
        _two(ARRAY, "input: [{from: a, name: x, type: string}]"),
        f"{P}:5",
        "operators[1].input[0].type",
        "float32 [3, -1, 5] is not uint8 [-1]",
    ),
    Faulty(
        "an array as a stream",
        _two(ARRAY, "input: [{from: a, name: x, path: /i, type: stream}]"),
        f"{P}:5",
        "operators[1].input[0].type",
        "is an array, not a stream",
    ),
    Faulty(
        "an array with a folder",
        _two(ARRAY, "input: [{from: a, name: x, path: /i}]"),
        f"{P}:5",
        "operators[1].input[0].path",
        "in shared memory and has no path",
    ),
    Faulty(
        "a stream as an array",
        _two(STREAM, "input: [{from: a, name: x, type: array, element-type: u8, shape: [1]}]"),
        f"{P}:5",
        "operators[1].input[0].type",
        "is a stream, not an array",
    ),
    Faulty(
        "a stream of something else",
        _two(STREAM, "input: [{from: a, name: x, path: /i, type: stream, format: nifti}]"),
        f"{P}:5",
        "operators[1].input[0].format",
        "holds 'dicom', not 'nifti'",
    ),
    Faulty(
        "a stream read without a path",
        _two(STREAM, "input: [{from: a, name: x}]"),
        f"{P}:5",
        "operators[1].input[0].path",
        "is required for a stream",
    ),
    Faulty(
        "an array read twice",
        _two(ARRAY, "input: [{from: a, name: x}, {from: a}]"),
        f"{P}:5",
        "operators[1].input[1].name",
        "called 'x' stands in line 5 already",
    ),
    Faulty(
        "an array under Argo",
        _two(ARRAY, "input: [{from: a, name: x}]", more="orchestrator: Argo\n"),
        f"{P}:5",
        "operators[0].output[0].type",
        "Argo has no shared memory",
    ),
]

SERVICES = [
    Faulty(
        "a low port",
        _one(
            "services:",
            "- {name: s, container: {image: i}, connections: {http: [{name: A, port: 80}]}}",
        ),
        f"{P}:7",
        "operators[0].services[0].connections.http[0].port",
        "greater than or equal to 1024",
        True,
    ),
    Faulty(
        "a service twice",
        _one(
            "services:", "- {name: s, container: {image: i}}", "- {name: S, container: {image: j}}"
        ),
        f"{P}:8",
        "operators[0].services[1].name",
        "first in line 7",
    ),
    Faulty(
        "a connection twice",
        _one(
            "services:",
            "- {name: s, container: {image: i}, connections: {http: [{name: A}],",
            "   volume: [{name: A, path: /v}]}}",
        ),
        f"{P}:8",
        "operators[0].services[0].connections.volume[0].name",
        "'A' stands in line 7 already",
    ),
    Faulty(
        "a connection over a variable",
        _one(
            "variables: {A: 1}",
            "services:",
            "- {name: s, container: {image: i}, connections: {http: [{name: A}]}}",
        ),
        f"{P}:8",
        "operators[0].services[0].connections.http[0].name",
        "'A' stands in line 6 already",
    ),
    Faulty(
        "a connection over a model",
        _one(
            "models: [{name: m}]",
            "services:",
            "- {name: s, container: {image: i}, connections: {http: [{name: NVIDIA_CLARA_TRTISURI}]}}",
            version="0.6.0",
        ),
        f"{P}:8",
        "operators[0].services[0].connections.http[0].name",
        "stands in line 6 already",
    ),
    Faulty(
        "a volume without path",
        _one("services:", "- {name: s, container: {image: i}, connections: {volume: [{name: A}]}}"),
        f"{P}:7",
        "operators[0].services[0].connections.volume[0].path",
        "is required",
        True,
    ),
    Faulty(
        "an unknown connection",
        _one("services:", "- {name: s, container: {image: i}, connections: {grpc: []}}"),
        f"{P}:7",
        "operators[0].services[0].connections.grpc",
        "unknown key; allowed: file, http, volume",
        True,
    ),
    Faulty(
        "a port that two want",
        _one(
            "services:",
            "- {name: s, container: {image: i}, connections: {http: [{name: A, port: 8000}]}}",
            "- {name: t, container: {image: j}, connections: {http: [{name: B, port: 8000}]}}",
        ),
        f"{P}:8",
        "operators[0].services[1].connections.http[0].port",
        "another service wants port 8000 too, in line 7",
    ),
]

IMPORTS = [
    _imported(
        "an import of nothing",
        "import: {path: r.yaml}",
        f"{P}:4",
        "operators[0].import.path",
        "no file 'r.yaml' was given with the definition; given: none",
    ),
    _imported(
        "an import of another",
        "import: {path: r.yaml}",
        f"{P}:4",
        "operators[0].import.path",
        "given: s.yaml",
        s=OP,
    ),
    _imported(
        "an import without path",
        "import: {}",
        f"{P}:4",
        "operators[0].import.path",
        "is required",
        True,
    ),
    _imported(
        "an import that leads away",
        "import: {path: ../../etc/passwd}",
        f"{P}:4",
        "operators[0].import.path",
        "leads out of the definition's folder",
    ),
    _imported(
        "an absolute import",
        "import: {path: /r.yaml}",
        f"{P}:4",
        "operators[0].import.path",
        "must be relative",
        r=OP,
    ),
    _imported(
        "an import with a backslash",
        "import: {path: 'a\\r.yaml'}",
        f"{P}:4",
        "operators[0].import.path",
        "must be relative",
        r=OP,
    ),
    _imported(
        "an import with a NUL",
        'import: {path: "r\\0.yaml"}',
        f"{P}:4",
        "operators[0].import.path",
        "without control characters",
        r=OP,
    ),
    _imported(
        "an import by parameter",
        "import: {path: '${{ F }}'}",
        f"{P}:4",
        "operators[0].import.path",
        "without placeholders",
        r=OP,
    ),
    _imported(
        "a body beside an import",
        "{import: {path: r.yaml}, container: {image: i}}",
        f"{P}:4",
        "operators[0].container",
        "may not stand beside import; allowed: api-version, import, name",
        True,
        r=OP,
    ),
    _imported(
        "an unknown key of an import",
        "import: {path: r.yaml, arguments: {}}",
        f"{P}:4",
        "operators[0].import.arguments",
        "unknown key; allowed: args, path",
        True,
        r=OP,
    ),
    _imported(
        "an argument nobody declared",
        "import: {path: r.yaml, args: {B: 1}}",
        f"{P}:4",
        "operators[0].import.args.B",
        "is no parameter of r.yaml; declared: A",
        r=OP + "parameters: {A: 1}\n",
    ),
    _imported(
        "an argument of an unknown parameter",
        "import: {path: r.yaml, args: {A: '${{ Z }}'}}",
        f"{P}:4",
        "operators[0].import.args.A",
        "'Z' is not declared",
        r=OP + "parameters: {A: 1}\n",
    ),
    _imported(
        "a parameter the file does not declare",
        "import: {path: r.yaml}",
        "r.yaml:3",
        "variables.V",
        "'A' is not declared; declared: JOB_ID",
        r=OP + "variables: {V: '${{ A }}'}\n",
    ),
    _imported(
        "a fault in the file",
        "import: {path: r.yaml}",
        "r.yaml:3",
        "requests.cpus",
        "unknown key; allowed: cpu, gpu, memory",
        r=OP + "requests: {cpus: 1}\n",
    ),
    _imported(
        "a file that is no YAML",
        "import: {path: r.yaml}",
        "r.yaml:2",
        "",
        "is not YAML",
        r="name: [\n",
    ),
    _imported(
        "a file that is a list",
        "import: {path: r.yaml}",
        "r.yaml:1",
        "",
        "must be a mapping, the keys of one operator",
        r="- a\n",
    ),
    _imported(
        "a file that is a pipeline",
        "import: {path: r.yaml}",
        "r.yaml:2",
        "operators",
        "only an operator or a service can be imported",
        r="name: q\noperators: []\n",
    ),
    _imported(
        "a file that imports itself",
        "import: {path: r.yaml}",
        "r.yaml:1",
        "import.path",
        "in a circle: r.yaml → r.yaml",
        r="import: {path: r.yaml}\n",
    ),
    _imported(
        "files in a circle",
        "import: {path: r.yaml}",
        "t.yaml:1",
        "import.path",
        "in a circle: r.yaml → s.yaml → t.yaml → r.yaml",
        r="import: {path: s.yaml}\n",
        s="import: {path: t.yaml}\n",
        t="import: {path: r.yaml}\n",
    ),
    _imported(
        "files too deep",
        "import: {path: f0.yaml}",
        "f7.yaml:1",
        "import.path",
        "nested deeper than 8",
        **{f"f{n}": f"import: {{path: f{n + 1}.yaml}}\n" for n in range(8)},
        f8=OP,
    ),
    _imported(
        "one file twice",
        "import: {path: r.yaml}\n- import: {path: r.yaml}",
        "r.yaml:1",
        "name",
        "'r' stands here twice, first in line 1 of r.yaml",
        r=OP,
    ),
    _imported(
        "from a file's unknown operator",
        "import: {path: r.yaml}",
        "r.yaml:3",
        "input[0].from",
        "'z' is no operator of this pipeline; there are: r",
        r=OP + "input: [{path: /i, from: z}]\n",
    ),
    _imported(
        "a fault in a file's service",
        "import: {path: r.yaml}",
        "s.yaml:1",
        "container",
        "is required",
        r=OP + "services: [{import: {path: s.yaml}}]\n",
        s="name: s\n",
    ),
]

WIDE = OP + "variables:\n" + "".join(f"  V{n}: 1\n" for n in range(25_000))
MANY = "\n- ".join(f"{{name: o{n}, import: {{path: r.yaml}}}}" for n in range(8))
IMPORTS.append(
    _imported(
        "a bomb of imports",
        MANY,
        f"{P}:11",
        "operators[7].import.path",
        "larger than 200000 values",
        r=WIDE,
    )
)

ALL = [
    *LANGUAGE, *OPERATORS, *FOLDERS, *TEMPLATES, *TYPES, *SERVICES, *IMPORTS,
]  # fmt: skip
