"""The image's name."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from vm_image_import.derive import names

CASES = [
    ("web-server", "web-server"),
    ("web server_1", "web server_1"),
    ("  -_web--server_- ", "web-server"),
    ("Café Zürich", "Cafe Zurich"),
    ("Großer Mælkevej Łódź", "Grosser Maelkevej Lodz"),
    ("web/server:prod", "web-server-prod"),
    ("STRAẞE Ǿ \u0131s\u0131", "STRASsE O isi"),
    ("日本web", "RiBenweb"),
    ("Сервер 01", "Server 01"),
    ("Αθήνα", "Athina"),
    ("Mail — Büro №4", "Mail - Buro No4"),
    ("cafe\u0301", "cafe"),
    ("\ud800\ue000web", "web"),
    ("x" * 200, "x" * 128),
    ("x" * 127 + "-y", "x" * 127),
    ("ab", None),
    ("日本語", "RiBenYu"),
    ("é", None),
    ("\ue000\ue001\ue002", None),
    ("-_ -", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "name"), CASES)
def test_text_becomes_a_name(text: str, name: str | None) -> None:
    """Whatever the source holds, the name keeps to the pattern of Image Builder, or there is none."""
    assert names.normalise(text) == name


@pytest.mark.parametrize("name", sorted({name for _, name in CASES if name}))
def test_a_name_stays_what_it_is(name: str) -> None:
    """A derived name is within the API's pattern, and deriving from it gives the same name."""
    assert re.fullmatch(r"[-_A-Za-z-0-9][-_A-Za-z0-9 ]{1,126}[-_A-Za-z-0-9]", name)
    assert names.normalise(name) == name


def test_the_library_is_loaded_for_the_names_that_need_it() -> None:
    """A name in ASCII loads no transliteration, which would make every start of the function slower."""
    code = (
        "import sys; from vm_image_import.derive import names;"
        "names.normalise('web-server'); print('anyascii' in sys.modules);"
        "names.normalise('b\u00fcro'); print('anyascii' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "lambda", capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.split() == ["False", "True"]
