"""Both languages say the same things, and the first load is small."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.console_browser import CONSOLE

LINE = re.compile(r'^  "?([\w./-]+)"?:\s*"(.*)",$')
FIRST_LOAD = 300_000
"""Compressed bytes of everything that any page needs before its own code (issue: 300 kB)."""


def words(name: str) -> dict[str, str]:
    text = (CONSOLE / "src" / "i18n" / f"{name}.ts").read_text("utf-8")
    joined = re.sub(r":\n\s+\"", ': "', text)
    return {m[1]: m[2] for line in joined.splitlines() if (m := LINE.match(line))}


def test_both_languages_have_the_same_keys_and_places() -> None:
    english, chinese = words("en"), words("zh-Hant")
    assert len(english) > 400
    assert set(english) == set(chinese)
    for key, text in english.items():
        places = sorted(re.findall(r"\{\w+\}", text))
        assert sorted(re.findall(r"\{\w+\}", chinese[key])) == places, key
        assert text.strip(), key
        assert chinese[key].strip(), key


def test_no_english_sentence_is_left_in_chinese() -> None:
    same = {key for key, text in words("zh-Hant").items() if text == words("en")[key]}
    # What both languages write alike: a name of the standard.
    assert same == {"study.uid"}


def test_every_key_that_a_page_asks_for_is_there() -> None:
    asked = set()
    for path in (CONSOLE / "src").rglob("*.tsx"):
        asked |= set(re.findall(r"\bt\(\s*\"([\w./-]+)\"", path.read_text("utf-8")))
    assert asked <= set(words("en"))
    assert len(asked) > 200


def test_the_first_load_is_small(built: Path) -> None:
    page = (built / "index.html").read_text("utf-8")
    names = re.findall(r'(?:src|href)="/(assets/[^"]+)"', page)
    assert names
    sizes = {name: (built / f"{name}.gz").stat().st_size for name in names}
    language = next(built.glob("assets/zh-Hant-*.js.gz")).stat().st_size
    assert sum(sizes.values()) + language <= FIRST_LOAD, sizes


def test_every_page_is_loaded_on_its_own_and_heavy_parts_with_it(built: Path) -> None:
    entry = re.search(r'src="/(assets/[^"]+)"', (built / "index.html").read_text("utf-8"))
    assert entry is not None
    code = (built / entry[1]).read_text("utf-8")
    assert "react-flow__" not in code
    assert "cm-editor" not in code


def test_nothing_inline_and_no_other_host_in_the_page(built: Path) -> None:
    page = (built / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*src=)", page) == []
    assert "<style" not in page
    assert "style=" not in page
    assert re.findall(r"https?://", page) == []


def test_no_source_goes_round_the_escaping_of_react() -> None:
    for path in (CONSOLE / "src").rglob("*.ts*"):
        text = path.read_text("utf-8")
        for word in ("dangerouslySetInnerHTML", "innerHTML", "insertAdjacentHTML", "eval("):
            assert word not in text, path


def test_the_lock_file_names_no_place_to_load_from() -> None:
    lock = (CONSOLE / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in lock
    assert '"integrity"' in lock
