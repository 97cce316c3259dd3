"""`make release`: the files of a release, in `dist`.

They are the wheel of the construct, the template with the configuration of this checkout, and the function's code. The
template needs no bootstrap: its parameters name the bucket of each Region that has the code.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
_STACK: Final = "VmImageImport"
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive: the same content is the same archive."""
_MAX_TEMPLATE: Final = 51_200
"""Bytes of a template that is no object in S3 (API reference, CloudFormation `CreateStack`)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the files and return 0; else say what is wrong and return 1."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("--tag", default="", help="the tag of the release, which has to be that of the version")
    given = parser.parse_args(arguments)
    expected = f"v{version()}"
    if given.tag not in {"", expected}:
        sys.stderr.write(f"The tag is {given.tag}, the version in pyproject.toml and CHANGELOG.md is {expected}.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        assembly = Path(folder, "cdk.out")
        subprocess.run(
            [sys.executable, "app.py"], cwd=ROOT, env={**os.environ, "CDK_OUTDIR": str(assembly)}, check=True
        )
        if not (assembly / f"{_STACK}.template.json").exists():
            sys.stderr.write("`regions` is configured: leave it empty, as the template is for every Region.\n")
            return 1
        for path in build(assembly, ROOT / "dist"):
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


def version() -> str:
    """Return the version of the project."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def notes(changelog: str) -> str:
    """Return the part of the changelog about the version. Raises ValueError where it has none."""
    found = re.search(rf"^## {re.escape(version())}\b[^\n]*\n(.+?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None:
        message = f"CHANGELOG.md has no section {version()}."
        raise ValueError(message)
    return found[1].strip() + "\n"


def build(assembly: Path, folder: Path) -> list[Path]:
    """Write the files of a release into a folder and return their paths; the last one has the notes.

    `assembly` is a cloud assembly with the stack for every Region. Raises ValueError where the changelog has no notes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for outdated in folder.iterdir():
        outdated.unlink()
    code = _archive(_code(assembly), folder)
    template = folder / f"vm-image-import-{version()}.template.json"
    template.write_text(_template(assembly, code.name), encoding="utf-8")
    wheel = ("wheel", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder))
    subprocess.run([sys.executable, "-m", "pip", *wheel, str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    described = folder / "notes.md"
    described.write_text(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")), encoding="utf-8")
    return [built, template, code, described]


def _code(assembly: Path) -> Path:
    """Return the folder of the function's code."""
    assets = json.loads((assembly / f"{_STACK}.assets.json").read_text(encoding="utf-8"))["files"].values()
    (path,) = (asset["source"]["path"] for asset in assets if asset["source"]["packaging"] == "zip")
    return assembly / str(path)


def _archive(source: Path, folder: Path) -> Path:
    """Return the archive of a folder. Its name has the hash of its content, so that CloudFormation sees a change."""
    temporary = folder / "code.zip"
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(source).as_posix(), _DATE)
            # A regular file that everybody may read: Lambda runs the function as another user.
            entry.external_attr, entry.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()[:16]
    return temporary.rename(folder / f"vm-image-import-{version()}-{digest}.zip")


def _template(assembly: Path, key: str) -> str:
    """Return the template with the code from a bucket of the Region. Raises ValueError where it is too long."""
    template: dict[str, Any] = json.loads((assembly / f"{_STACK}.template.json").read_text(encoding="utf-8"))
    del template["Rules"]
    template["Parameters"] = {
        "CodeBucket": {"Type": "String", "Description": "The bucket BUCKET-REGION has the code; write BUCKET"},
        "CodeKey": {"Type": "String", "Default": key, "Description": "The code in this bucket"},
    }
    (function,) = (each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function")
    function["Properties"]["Code"] = {
        "S3Bucket": {"Fn::Sub": "${CodeBucket}-${AWS::Region}"},
        "S3Key": {"Ref": "CodeKey"},
    }
    text = json.dumps(template, separators=(",", ":"))
    if len(text.encode()) > _MAX_TEMPLATE:
        message = f"The template is longer than {_MAX_TEMPLATE} bytes."
        raise ValueError(message)
    return text


if __name__ == "__main__":
    sys.exit(main())
