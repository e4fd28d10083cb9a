from __future__ import annotations

import pytest

from gateway.config.document import ConfigError, dotted
from gateway.pipelines.parse import parse
from tests.support.faulty_pipelines import ALL


@pytest.mark.parametrize("faulty", ALL, ids=lambda f: f.name.replace(" ", "-"))
def test_each_fault_is_told_once_and_where_it_is(faulty):
    with pytest.raises(ConfigError) as caught:
        parse(faulty.text, "p.yaml", faulty.files, host_volumes=())
    assert len(caught.value.faults) == 1, caught.value
    fault = caught.value.faults[0]
    assert (f"{fault.file}:{fault.line}", fault.key) == (faulty.where, faulty.key), fault
    assert faulty.words in fault.message


def test_there_are_many_of_them_and_no_two_alike():
    assert len({f.name for f in ALL}) == len(ALL) >= 60
    assert len({(f.text, tuple(f.files.items())) for f in ALL}) == len(ALL)
    assert dotted(("operators", 0, "name")) == "operators[0].name"
