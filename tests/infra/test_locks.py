"""The locks, compared with their input files."""

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

INPUTS = [ROOT / "requirements.in", ROOT / "lambda" / "requirements.in"]


def direct(path: Path) -> list[Requirement]:
    """Return the requirements of an input file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def locked(path: Path) -> dict[str, tuple[Requirement, str]]:
    """Return what a lock pins: by name, the requirement and its lines."""
    entries: dict[str, tuple[Requirement, str]] = {}
    for block in path.read_text(encoding="utf-8").replace("\n    ", "\t").splitlines():
        if block and not block.startswith("#"):
            requirement = Requirement(block.partition("\\")[0].partition("\t")[0])
            entries[canonicalize_name(requirement.name)] = (requirement, block)
    return entries


@pytest.mark.parametrize("path", INPUTS, ids=["tools", "function"])
def test_lock_and_input_agree(path: Path) -> None:
    """A lock pins every requirement of its input, and pins nothing for another reason than a requirement."""
    lock = locked(path.with_suffix(".txt"))
    named = {canonicalize_name(requirement.name): requirement for requirement in direct(path)}
    assert set(named) <= set(lock)
    for name, requirement in named.items():
        (pin,) = lock[name][0].specifier
        assert requirement.specifier.contains(pin.version), name
    for_its_own_sake = {name for name, (_, block) in lock.items() if "-r requirements.in" in block}
    assert for_its_own_sake == set(named)


@pytest.mark.parametrize("path", INPUTS, ids=["tools", "function"])
def test_a_lock_pins_and_hashes_everything(path: Path) -> None:
    """Every package of a lock has one version and hashes."""
    for requirement, block in locked(path.with_suffix(".txt")).values():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="]
        assert "--hash=sha256:" in block


@pytest.mark.parametrize("path", INPUTS, ids=["tools", "function"])
def test_a_lock_is_whole(path: Path) -> None:
    """A lock has every dependency of its packages, with their extras."""
    lock = locked(path.with_suffix(".txt"))
    waiting = [(requirement.name, frozenset(requirement.extras)) for requirement in direct(path)]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        assert canonicalize_name(name) in lock
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras | {""}):
                waiting.append((needed.name, frozenset(needed.extras)))


def test_both_locks_pin_the_same() -> None:
    """Both locks have the same versions of the packages that the function uses."""
    tools, function = (locked(path.with_suffix(".txt")) for path in INPUTS)
    assert {name: str(tools[name][0].specifier) for name in function} == {
        name: str(requirement.specifier) for name, (requirement, _) in function.items()
    }


@pytest.mark.parametrize("path", INPUTS, ids=["tools", "function"])
def test_a_lock_names_its_command(path: Path) -> None:
    """A lock's header has the command that `make lock` runs in its folder: Renovate repeats it."""
    commands = re.findall(r"uv (pip compile .+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    made = [" ".join(command.replace("--quiet ", "").replace("$(UPGRADE) ", "").split()) for command in commands]
    header = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[1]
    assert header.removeprefix("#    uv ") in made


@pytest.mark.parametrize("path", INPUTS, ids=["tools", "function"])
def test_a_lock_is_upgraded(path: Path) -> None:
    """Renovate's configuration matches each lock, and both are one change."""
    configured = json.loads((ROOT / ".github/renovate.json").read_text(encoding="utf-8"))
    patterns = [pattern.strip("/") for pattern in configured["pip-compile"]["managerFilePatterns"]]
    name = path.with_suffix(".txt").relative_to(ROOT).as_posix()
    assert [pattern for pattern in patterns if re.search(pattern, name)] == [
        pattern for pattern in patterns if ("lambda" in pattern) is ("lambda" in name)
    ]
    assert configured["packageRules"][0]["matchManagers"] == ["pip-compile"]
