"""Key formats."""

import pytest

from tests.conftest import ROOT
from vm_image_import.derive import formats

# format, path, name, version
MATCHES = [
    ("releases/{name}/{version}/*.vmdk", "a/releases/web/1.4.2/disk.vmdk", "web", "1.4.2"),
    ("releases/{name}/{version}/*.vmdk", "releases/web/2026-11-23/.vmdk", "web", "2026.11.23"),
    ("{name}_v{version}_*.ova", "web_server_v1.4_amd64.ova", "web_server", "1.4.0"),
    ("{name}.ova", "exports/web.ova", "web", None),
    ("{name}", "web.ova", "web-ova", None),
    ("{name}/*", "web/disk.vmdk", "web", None),
    # The version is as long as possible, then the name.
    ("{name}-{version}.ova", "web-2026-11-23.ova", "web", "2026.11.23"),
    ("{name}-{version}.ova", "web-01-1.4.2.ova", "web-01", "1.4.2"),
    ("{name}-{version}.ova", "web-server-3.ova", "web-server", "3.0.0"),
    ("{name}-{version}-*.ova", "web-01-1.4.2-x.ova", "web-01", "1.4.2"),
    ("{name}-{version}-*.ova", "ubuntu-22.04-web-1.4.2-x.ova", "ubuntu-22-04-web", "1.4.2"),
    ("{name}-{version}-*.qcow2", "debian-12-amd64-20241004-1890.qcow2", "debian-12-amd64", "2024.10.04"),
    ("{name}-{version}-*.ova", "web-1.4-1.5-x.ova", "web-1-4", "1.5.0"),
    ("{version}-{name}.ova", "1.4-1.5-web.ova", "1-5-web", "1.4.0"),
    ("*-{version}-{name}-*.ova", "a-1.4-b-1.5-web-x.ova", "b-1-5-web", "1.4.0"),
    ("{name}-*.ova", "web-server-prod.ova", "web-server", None),
    ("*-{name}.ova", "prod-web-server.ova", "web-server", None),
    ("*-{name}-{version}-*.ova", "prod-web-x-3-y-4.ova", "web-x", "3.0.0"),
    ("{version}-{name}.ova", "2026-11-23-web.ova", "web", "2026.11.23"),
    ("{version}-*.{name}", "1.4.2-x.web", "web", "1.4.2"),
    # A point is a point, and so is every other character.
    ("{name}.(x)+.ova", "web.(x)+.ova", "web", None),
]
# format, path
OTHERS = [
    ("releases/{name}/{version}/*.vmdk", "web/1.4.2/disk.vmdk"),
    ("releases/{name}/{version}/*.vmdk", "releases/web/1.4.2/disk.VMDK"),
    ("releases/{name}/{version}/*.vmdk", "releases/web/1.4.2/x/disk.vmdk"),
    ("{name}-{version}.ova", "web-latest.ova"),
    ("{name}-{version}.ova", "web-1.4.2-rc1.ova"),
    ("{name}-{version}.ova", "web-20269999.ova"),
    ("{name}-{version}.ova", "web-1.4.2 .ova"),
    ("{name}-{version}.ova", "-1.4.2.ova"),
    ("{name}-{version}.ova", "ab-1.4.2.ova"),
    ("{name}.ova", "ab.ova"),
    ("{name}.ova", "webxova"),
    ("{name}.ova", f"{'x' * 1021}.ova"),
    ("*/{name}.ova", "web.ova"),
]


@pytest.mark.parametrize(("text", "path", "name", "version"), MATCHES)
def test_a_format_matches_the_end_of_a_path(text: str, path: str, name: str, version: str | None) -> None:
    """Each part of the format matches one part of the path, and the placeholders state name and version."""
    assert formats.match([text], path.split("/")) == (text, name, version)


@pytest.mark.parametrize(("text", "path"), OTHERS)
def test_a_format_does_not_match_anything_else(text: str, path: str) -> None:
    """Another case, another number of parts, a version in no form of stated versions, or a name that cannot be one."""
    assert formats.match([text], path.split("/")) is None


def test_the_first_format_that_matches_decides() -> None:
    """A format whose version is none gives way to the next one."""
    texts = ["{version}/{name}.ova", "{name}/*.ova", "*/{name}.ova"]
    assert formats.match(texts, ["latest", "web.ova"]) == ("{name}/*.ova", "latest", None)
    assert formats.match([], ["web.ova"]) is None
    assert formats.match(texts, []) is None


def test_the_documented_formats_match() -> None:
    """The formats of docs/names.md match keys of the bucket that it speaks of."""
    document = (ROOT / "docs" / "names.md").read_text(encoding="utf-8")
    for text, path in (
        ("releases/{name}/{version}/*.vmdk", "releases/web/1.4.2/disk.vmdk"),
        ("{name}_v{version}_*.ova", "web_v1.4.2_amd64.ova"),
    ):
        assert text in document
        assert formats.match([text], path.split("/")) == (text, "web", "1.4.2")
