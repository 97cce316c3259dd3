"""What `make setup` says about registries that it cannot reach, and what uv gets of pip's settings."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import registries
from tests.conftest import ROOT

NOBODY = "127.0.0.1:9"
"""An address where nothing listens."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove every setting of pip, npm and proxies from the environment."""
    for name in os.environ:
        if name.lower().startswith(("pip_", "npm_", "uv_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "npmrc"))
    monkeypatch.setenv("npm_config_globalconfig", str(tmp_path / "global"))


@pytest.fixture
def listening() -> Iterator[str]:
    """Give an address where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def npm(bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give an npm whose registry is where nothing listens."""
    assert bare is None
    program = tmp_path / "npm"
    program.write_text(f"""#!/bin/sh\necho '{{"registry": "https://{NOBODY}/npm/", "proxy": null}}'\n""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_each_registry_is_one_line_with_its_setting(npm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries that cannot be reached are one line each, with URL without password, reason and setting."""
    assert npm is None
    monkeypatch.setenv("PIP_INDEX_URL", f"https://me:secret@{NOBODY}/simple")
    done = subprocess.run(
        [sys.executable, "infra/registries.py", ".venv", "node_modules"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    reached = "cannot be reached: Connection refused. Behind a mirror, name it"
    assert done.stderr.splitlines() == [
        f"PyPI, https://{NOBODY}/simple, {reached}: `pip config set global.index-url URL`.",
        f"npm's registry, https://{NOBODY}/npm/, {reached}: `npm config set registry URL`.",
    ]


@pytest.mark.usefixtures("bare")
def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch, listening: str) -> None:
    """Where a proxy cannot be reached, the line names it; a registry that is exempt from it is reached directly."""
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{listening}/simple")
    monkeypatch.setenv("http_proxy", f"http://{NOBODY}")
    monkeypatch.setenv("no_proxy", "")
    (registry,) = registries.registries({".venv"})
    assert f"through the proxy http://{NOBODY}: Connection refused" in (registries.problem(registry) or "")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (registry,) = registries.registries({".venv"})
    assert registries.problem(registry) is None


@pytest.mark.parametrize("name", ["PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"])
@pytest.mark.usefixtures("bare")
def test_an_index_is_not_needed_beside_other_sources(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pip has other sources than its index, the index is not checked."""
    monkeypatch.setenv(name, "1")
    assert [*registries.registries({".venv"})] == []


@pytest.mark.usefixtures("bare")
def test_uv_gets_the_settings_of_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The index of pip, also of a configuration file, is uv's, unless uv's own variable states one."""
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://file.example/a b\ntrusted-host = file.example\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    settings = registries.pip_settings()
    own = {"UV_INSECURE_HOST": "mine", "SSL_CERT_FILE": "mine", "HTTPS_PROXY": "mine"}
    assert [*registries.uv_exports(settings, own)] == ["export UV_DEFAULT_INDEX='https://file.example/a b'"]
    monkeypatch.setenv("PIP_INDEX_URL", "https://variable.example")
    assert registries.pip_settings()["index-url"] == "https://variable.example"


@pytest.mark.usefixtures("bare")
def test_make_stops_before_it_installs(tmp_path: Path) -> None:
    """`make setup` in a fresh checkout installs nothing where a registry cannot be reached."""
    for name in ("Makefile", "requirements.txt", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    make = shutil.which("make")
    assert make
    done = subprocess.run(
        [make, "tools", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        env={**os.environ, "PIP_INDEX_URL": f"https://{NOBODY}/simple"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert [line.partition(",")[0] for line in said] == ["PyPI"]
