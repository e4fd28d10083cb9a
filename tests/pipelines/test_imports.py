from __future__ import annotations

import pytest
import sqlalchemy as sa

from gateway.config.document import ConfigError
from gateway.database.engine import Database
from gateway.pipelines import lineage, registry
from gateway.pipelines.compiling import compiled
from gateway.pipelines.folder import read
from gateway.pipelines.parse import parse, resolve

MAIN = """\
api-version: 0.2.0
name: two-files
parameters: {LEVEL: 7, WORD: "${{ not a placeholder"}
operators:
- name: first
  import:
    path: ops/reader.yaml
    args: {FORMAT: "nifti-${{ LEVEL }}", COUNT: 3}
- import: {path: ./ops/writer.yaml}
- name: third
  parameters: {MINE: "${{ LEVEL }}!"}
  container: {image: i, command: ["${{ MINE }}", "${{ LEVEL }}", "${{JOB_ID}}"]}
"""
READER = """\
api-version: 0.2.0
name: reader
parameters: {FORMAT: mhd, COUNT: 1, KEPT: default}
container:
  image: reader
  command: ["${{ FORMAT }}", "${{COUNT}}", "${{ KEPT }}", "${{JOB_ID}}"]
output: [{path: /out}]
services:
- import: {path: services/trtis.yaml, args: {PORT: 8001}}
"""
WRITER = "name: writer\ncontainer: {image: w}\ninput: [{from: first, path: /in}]\n"
TRTIS = """\
name: trtis
parameters: {PORT: 8000}
container: {image: t}
connections: {http: [{name: TRTIS, port: "${{ PORT }}"}]}
"""
FILES = {"ops/reader.yaml": READER, "ops/writer.yaml": WRITER, "ops/services/trtis.yaml": TRTIS}


@pytest.fixture
def connection(database_url):
    database = Database(database_url)
    database.create()
    with database.begin() as connection:
        yield connection
    database.close()


def check(definition, level="7", job="0" * 32):
    first, writer, third = definition.operators
    assert first.name == "first"
    assert first.command == (f"nifti-{level}", "3", "default", job)
    assert first.services[0].http[0].port == 8001
    assert writer.inputs[0].source == "first"
    assert third.command == (f"{level}!", level, job)


@pytest.mark.parametrize("main", ["p.yaml", "/a/b/p.yaml", "./x/p.yaml"])
def test_imports_are_put_in_place_wherever_the_definition_stands(main):
    check(parse(MAIN, main, FILES))
    check(parse(MAIN, "d/p.yaml", {f"d/{name}": text for name, text in FILES.items()}))
    check(resolve(MAIN, main, {"LEVEL": "9"}, "f" * 32, files=FILES), "9", "f" * 32)


def test_a_value_is_never_read_as_a_placeholder():
    definition = resolve(MAIN, "p", {"LEVEL": "${{ WORD }}"}, files=FILES)
    check(definition, "${{ WORD }}")


def test_compiled_it_needs_no_files_and_keeps_its_parameters():
    text = compiled(MAIN, "p.yaml", FILES, resolve_imports=True)
    assert "import" not in text
    check(resolve(text, "q.yaml", {"LEVEL": "9"}, "e" * 32), "9", "e" * 32)
    assert "import" in compiled(MAIN, "p.yaml", FILES)


def test_a_folder_holds_definitions_and_what_they_import(connection, tmp_path):
    folder = tmp_path / "pipelines"
    for name, text in {"p.yaml": MAIN, **FILES}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "q.yaml").write_text(
        MAIN.replace("two-files", "q").replace("./ops/writer.yaml", "w.yaml")
    )
    (folder / "w.yaml").write_text(WRITER)
    loaded = registry.load_folder(connection, folder)
    assert loaded.faults == ()
    assert [p.name for p in loaded.pipelines] == ["two-files", "q"]
    pipeline = registry.get(connection, loaded.pipelines[0].id)
    assert sorted(pipeline.files.values()) == sorted(FILES.values())
    check(pipeline.resolve({"LEVEL": "8"}, "d" * 32), "8", "d" * 32)
    assert registry.load_folder(connection, folder).pipelines[0].id == pipeline.id
    (folder / "ops" / "writer.yaml").write_text(WRITER + "requests: {memory: 9}\n")
    again = registry.load_folder(connection, folder)
    assert again.pipelines[0].version == 2, "another text of an imported file is another version"
    check(pipeline.resolve({}, "c" * 32), job="c" * 32)
    assert registry.get(connection, pipeline.id).definition.operators[1].requests.memory == 512


def test_nothing_outside_the_folder_is_read(tmp_path):
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (tmp_path / "secret.yaml").write_text("name: s\ncontainer: {image: i}\n")
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    for path in ("../secret.yaml", "link.yaml", str(tmp_path / "secret.yaml")):
        main = f"api-version: 0.4.0\nname: p\noperators: [{{import: {{path: '{path}'}}}}]\n"
        (folder / "p.yaml").write_text(main)
        written = read(folder / "p.yaml")
        assert written.files == {}
        with pytest.raises(ConfigError):
            parse(written.text, written.file, written.files)


def test_too_many_or_too_large_files_are_refused():
    many = {f"{n}.yaml": "name: a\n" for n in range(201)}
    with pytest.raises(ConfigError, match="at most 200"):
        parse(MAIN, "p.yaml", many)
    with pytest.raises(ConfigError, match="larger than"):
        parse(MAIN, "p.yaml", {"a": "#" * 3_000_000, "b": "#" * 3_000_000})


def test_an_update_over_the_platform_keeps_the_files_too(connection):
    first = registry.register(connection, MAIN, "p.yaml", files=FILES)
    changed = {**FILES, "ops/writer.yaml": WRITER + "description: new\n"}
    second = lineage.update(connection, first.lineage, MAIN, "p.yaml", files=changed)
    assert (second.version, second.lineage) == (2, first.lineage)
    assert second.definition.operators[1].description == "new"
    same = lineage.update(connection, first.lineage, MAIN, "p.yaml", files=changed)
    assert same.id == second.id


def test_a_folder_of_the_host_needs_leave(connection):
    text = """\
api-version: 0.4.0
name: host
operators: [{name: a, container: {image: i, hostVolumePath: /srv/atlas/v1}}]
"""
    with pytest.raises(ConfigError, match="allows: none"):
        registry.register(connection, text, "p.yaml")
    with pytest.raises(ConfigError, match="allows: /srv/at"):
        registry.register(connection, text, "p.yaml", host_volumes=["/srv/at"])
    made = registry.register(connection, text, "p.yaml", host_volumes=["/srv/atlas"])
    assert made.definition.operators[0].host_volume == "/srv/atlas/v1"
    assert connection.execute(sa.text("select files from pipelines")).scalar() is None
