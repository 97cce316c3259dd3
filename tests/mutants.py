"""`make mutants`: changes the function's code at random places, and prints each change that no test notices.

mutmut makes the changes and runs the tests that cover each. It knows no sample, and no source root but `src`: this
gives it a copy of the project with one.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / ".build/mutants"
# These run nothing of the function, and need files that are not copied.
DOCUMENTS: Final = ("--ignore=tests/unit/test_documents.py", "--ignore=tests/unit/test_readme.py")
NOTICED: Final = {"killed", "timeout", "segfault", "caught by type check"}
SETTINGS: Final = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {modules}
also_copy = ["app.py", "cdk.json", "docs", "infra", "lambda", "local", "README.md"]
pytest_add_cli_args = ["--numprocesses=0"]
pytest_add_cli_args_test_selection = {tests}
"""


def main() -> int:
    """Run the sample and return the exit status: 1 where a change is not noticed, or MODULES names no module."""
    paths = [f"src/vm_image_import/{module}.py" for module in os.environ.get("MODULES", "").split()]
    tests = os.environ.get("TESTS", "").split() or ["tests/unit"]
    count, seed = (int(os.environ.get(name) or default) for name, default in (("COUNT", "200"), ("SEED", "0")))
    copy_project()
    if not paths or not all((FOLDER / path).exists() for path in paths):
        sys.stderr.write("MODULES: write names of modules, as in make mutants MODULES='imports/sweep records/store'\n")
        return 1
    settings = SETTINGS.format(modules=json.dumps(paths), tests=json.dumps([*tests, *DOCUMENTS]))
    project = FOLDER / "pyproject.toml"
    text = project.read_text(encoding="utf-8").replace('pythonpath = ["lambda", "."]', 'pythonpath = ["src", "."]')
    project.write_text(text + settings, encoding="utf-8")
    # It makes all changes, measures which tests cover each, and refuses this name. Other errors come back below.
    subprocess.run(["mutmut", "run", "none"], cwd=FOLDER, check=False, capture_output=True)  # noqa: S607
    made = sorted(name for path in (FOLDER / "mutants").rglob("*.meta") for name in changes(path))
    sample = random.Random(seed).sample(made, min(count, len(made)))  # noqa: S311 - repeatable, not secret
    mutmut("run", *sample)
    listed = subprocess.run(
        ["mutmut", "results", "--all", "true"],  # noqa: S607
        cwd=FOLDER,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    states = dict(line.strip().split(": ", 1) for line in listed.splitlines() if ": " in line)
    survivors = [name for name in sample if states[name] not in NOTICED]
    for name in survivors:
        sys.stdout.write(f"\n{states[name]}: ")
        sys.stdout.flush()
        mutmut("show", name)
    sys.stdout.write(f"{len(survivors)} of {len(sample)} changes were not noticed; {len(made)} can be made.\n")
    return 1 if survivors else 0


def copy_project() -> None:
    """Copy the files that git has or would add, with the function's source also in `src`.

    Only that copy of it is changed. A test that reads the source, or runs it in another process, uses the other one.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git of the PATH
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        target = FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    shutil.copytree(FOLDER / "lambda", FOLDER / "src")


def mutmut(*arguments: str) -> None:
    """Run mutmut in the copy, and let it print."""
    subprocess.run(["mutmut", *arguments], cwd=FOLDER, check=True)  # noqa: S607 - the one of this environment


def changes(path: Path) -> list[str]:
    """Return the names of the changes to a module."""
    return list(json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"])


if __name__ == "__main__":
    sys.exit(main())
