"""The picture of the demo in the README."""

import html
import re

from local import demo
from tests.conftest import ROOT

PICTURE = (ROOT / "docs/demo.svg").read_text(encoding="utf-8")


def test_the_picture_is_of_this_demo() -> None:
    """docs/demo.svg, which `make demo PICTURE=docs/demo.svg` draws, shows every VM of the demo and what is proved."""
    shown = html.unescape("\n".join(re.findall(r"<text [^>]+>([^<]*)</text>", PICTURE))).replace("\xa0", " ")
    for vm in demo.VMS:
        assert vm.keys[0].rpartition("/")[2] in shown
        assert (vm.image or "IMPORT_FAILED").partition("{")[0] in shown
    words = shown.split()
    assert words[-len(demo.PROVED.split()) :] == demo.PROVED.split()
