"""How the bundle is built."""

import hashlib
import os
import shutil
import stat
from importlib import metadata
from pathlib import Path

import pytest

from infra import bundle
from infra.operations import OPERATIONS
from infra.prune import UnknownOperationError
from tests.infra.test_locks import INPUTS, locked

pytestmark = pytest.mark.acceptance


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Build in an empty folder with copies of the installed packages instead of pip; give the target folders."""
    folders: list[Path] = []

    def install(folder: Path) -> None:
        folders.append(folder)
        for name in locked(INPUTS[1].with_suffix(".txt")):
            for file in metadata.files(name) or []:
                # Of botocore's four hundred services only those that stay.
                unused = file.match("botocore/data/*/*/*") and file.parts[2] not in OPERATIONS
                if not unused and not {"..", "__pycache__"} & {*file.parts}:
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(str(file.locate()), folder / file)

    monkeypatch.setattr(bundle, "install", install)
    monkeypatch.setattr(bundle, "_BUILD", tmp_path / "build")
    return folders


def content(folder: Path) -> dict[str, str]:
    """Return the hash of each file, which an asset's hash is made of."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_input_gives_the_same_bundle(
    installs: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same input gives the same files, byte for byte, in another folder and on another day."""
    first, _ = bundle.build()
    monkeypatch.setattr(bundle, "_BUILD", tmp_path / "elsewhere")
    monkeypatch.setattr(bundle, "_LAMBDA", shutil.copytree(bundle._LAMBDA, tmp_path / "lambda"))  # noqa: SLF001
    for path in (tmp_path / "lambda").rglob("*.py"):
        os.utime(path, (0, 0))
    second, _ = bundle.build()
    assert len(installs) == 2
    assert first != second
    assert content(first) == content(second)


def test_a_changed_line_of_the_function_installs_nothing(
    installs: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A change of the function's source changes only its own files in the bundle, and installs nothing."""
    monkeypatch.setattr(bundle, "_LAMBDA", shutil.copytree(bundle._LAMBDA, tmp_path / "lambda"))  # noqa: SLF001
    first, _ = bundle.build()
    assert bundle.build()[0] == first
    with (tmp_path / "lambda/vm_image_import/domain/models.py").open("a", encoding="utf-8") as source:
        source.write("CHANGED = True\n")
    second, _ = bundle.build()
    changed = {name for name, _ in content(second).items() ^ content(first).items()}
    assert {Path(name).name.partition(".")[0] for name in changed} == {"models"}
    assert len(installs) == 1


def test_a_bundle_that_was_changed_is_built_again(installs: list[Path]) -> None:
    """A kept bundle with another file, or another byte in one, is not used."""
    folder, _ = bundle.build()
    before = content(folder)
    module = folder / "vm_image_import/handler.py"
    for change in (
        lambda: (folder / "sitecustomize.py").write_text("raise SystemExit", encoding="utf-8"),
        lambda: module.write_bytes(module.read_bytes() + b"#"),
        module.unlink,
    ):
        change()
        assert content(bundle.build()[0]) == before
    assert len(installs) == 1


def test_an_operation_that_does_not_exist_stops_the_build(
    installs: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An operation that botocore does not have stops the build, and leaves no incomplete bundle."""
    monkeypatch.setattr(bundle, "OPERATIONS", {**OPERATIONS, "ec2": frozenset({"DescribeImage"})})
    with pytest.raises(UnknownOperationError, match="ec2:DescribeImage"):
        bundle.build()
    assert installs
    assert not list((tmp_path / "build").iterdir())


def test_the_umask_does_not_matter(installs: list[Path]) -> None:
    """Under any umask, files of the bundle can be read by all, and folders can be entered by all."""
    before = os.umask(0o077)
    try:
        folder, _ = bundle.build()
    finally:
        os.umask(before)
    assert installs
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (folder, *folder.rglob("*"))}
    assert modes == {(True, 0o755), (False, 0o644)}


def test_an_installation_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where pip cannot install the dependencies, its own message is followed by one line that names the setting."""
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(bundle.InstallationError, match=r"global\.index-url"):
        bundle.install(tmp_path / "target")
    assert "No matching distribution" in capfd.readouterr().err
