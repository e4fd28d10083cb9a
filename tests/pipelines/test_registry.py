from __future__ import annotations

import pytest
import sqlalchemy as sa

from gateway.config.document import ConfigError
from gateway.database.engine import Database
from gateway.database.schema import pipelines
from gateway.pipelines import registry

TEXT = """\
api-version: 0.4.0
name: p
parameters: {a: 1}
operators:
- {name: o, container: {image: i}}
"""


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    database.create()
    yield database
    database.close()


@pytest.fixture
def connection(database):
    with database.begin() as connection:
        yield connection


def test_same_text_is_the_same_version(connection):
    first = registry.register(connection, TEXT, "a.yaml", metadata={"k": "v"})
    assert (first.version, first.name, first.metadata) == (1, "p", {"k": "v"})
    assert registry.register(connection, TEXT, "b.yaml").id == first.id
    second = registry.register(connection, TEXT + "# more\n", "a.yaml")
    assert second.version == 2
    assert registry.latest(connection, "P").id == second.id
    back = registry.register(connection, TEXT, "a.yaml")
    assert back.version == 3, "the newest text must be the one that was registered last"
    assert registry.get(connection, first.id).version == 1


def test_names_are_one_in_any_case(connection):
    registry.register(connection, TEXT, "a.yaml")
    other = registry.register(connection, TEXT.replace("name: p", "name: P"), "a.yaml")
    assert (other.name, other.version) == ("p", 2)


def test_removed_versions_can_still_be_read(connection):
    first = registry.register(connection, TEXT, "a.yaml")
    second = registry.register(connection, TEXT + "#\n", "a.yaml")
    registry.remove(connection, second.id)
    assert registry.latest(connection, "p").id == first.id
    registry.remove(connection, first.id, at=5.0)
    registry.remove(connection, first.id, at=9.0)
    assert registry.latest(connection, "p") is None
    assert registry.listing(connection) == []
    assert registry.get(connection, first.id).removed_at == 5.0
    assert len(registry.listing(connection, every_version=True)) == 2
    assert registry.register(connection, TEXT, "a.yaml").version == 3


def test_what_is_not_there_is_refused(connection):
    with pytest.raises(registry.PipelineError, match="no pipeline"):
        registry.get(connection, "0" * 32)
    with pytest.raises(registry.PipelineError):
        registry.remove(connection, "0" * 32)
    made = registry.register(connection, TEXT, "a.yaml", pipeline_id="1" * 32)
    assert made.id == "1" * 32
    with pytest.raises(registry.PipelineError, match="taken"):
        registry.register(connection, TEXT + "#\n", "a.yaml", pipeline_id="1" * 32)


def test_arguments_are_put_in_at_the_start_of_a_job(connection):
    text = TEXT.replace("{image: i}", "{image: i, command: ['${{a}}', '${{JOB_ID}}']}")
    pipeline = registry.register(connection, text, "a.yaml")
    definition = pipeline.resolve({"a": "7"}, "j" * 32)
    assert definition.operators[0].command == ("7", "j" * 32)
    with pytest.raises(ConfigError):
        pipeline.resolve({"b": "7"}, "j" * 32)


def test_a_folder_is_loaded_but_for_its_bad_files(connection, tmp_path, caplog):
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "1.yaml").write_text(TEXT)
    (folder / "2.yml").write_text(TEXT.replace("name: p", "name: q"))
    (folder / "3.yaml").write_text(TEXT)
    (folder / "4.yaml").write_text(TEXT + "---\n" + TEXT)
    (folder / "5.yaml").write_text(TEXT + "bogus: 1\n")
    (folder / "6.yaml").write_bytes(b"\xff\xfe")
    (folder / "7.yaml").symlink_to("nowhere")
    (folder / "8.yaml").mkdir()
    (folder / ".9.yaml").write_text("hidden")
    (folder / "notes.txt").write_text("none")
    loaded = registry.load_folder(connection, folder)
    assert [p.name for p in loaded.pipelines] == ["p", "q"]
    assert [f.file.rsplit("/", 1)[1] for f in loaded.faults] == [f"{n}.yaml" for n in range(3, 9)]
    assert "1.yaml already" in loaded.faults[0].message
    assert caplog.text.count("refused") == 6
    again = registry.load_folder(connection, folder)
    assert [p.id for p in again.pipelines] == [p.id for p in loaded.pipelines]
    assert connection.execute(sa.select(sa.func.count()).select_from(pipelines)).scalar() == 2
    assert registry.load_folder(connection, tmp_path / "none") == registry.Loaded((), ())
