"""The files of a release."""

import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped] # it has no types

from local import release
from local.aws.local_aws import LocalAws
from tests.conftest import REGION, ROOT


@pytest.mark.acceptance
def test_the_template_deploys_the_code(assembly: Path, tmp_path: Path) -> None:
    """The template of a release deploys its code from a bucket, without a bootstrap, and the function answers."""
    wheel, template, code, notes = release.build(assembly, tmp_path / "dist")
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == sorted(
        path.name for path in (wheel, template, code, notes)
    )
    with LocalAws() as aws:
        aws.client("s3").create_bucket(Bucket=f"releases-{REGION}")
        aws.client("s3").upload_file(str(code), f"releases-{REGION}", code.name)
        aws.client("cloudformation").create_stack(
            StackName="VmImageImport",
            TemplateBody=template.read_text(encoding="utf-8"),
            Parameters=[{"ParameterKey": "CodeBucket", "ParameterValue": "releases"}],
            Capabilities=["CAPABILITY_IAM"],
        )
        (stack,) = aws.client("cloudformation").describe_stacks()["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        assert aws.invoke(outputs["FunctionName"], {"action": "sweep"})["outcome"] == "SWEPT"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"vm_image_import_cdk/stack.py", "vm_image_import_cdk/lambda/requirements.txt"} <= names


@pytest.mark.acceptance
def test_the_same_code_is_the_same_file(assembly: Path, tmp_path: Path) -> None:
    """A second build of the same code has the same name and content."""
    _, template, code, _ = release.build(assembly, tmp_path / "dist")
    content = code.read_bytes()
    _, _, again, _ = release.build(assembly, tmp_path / "dist")
    assert (again, again.read_bytes()) == (code, content)
    assert json.loads(template.read_text(encoding="utf-8"))["Parameters"]["CodeKey"]["Default"] == code.name


def test_the_changelog_has_notes() -> None:
    """The changelog has a section of the version, and no section of what is not released."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE) == [release.version()]
    assert "registered" in release.notes(changelog)
    with pytest.raises(ValueError, match=release.version()):
        release.notes("## 0.9.0\n\n- Nothing.\n")


def test_a_wrong_tag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A tag that is not that of the version builds nothing."""
    assert release.main(["--tag", "v9.9.9"]) == 1
    assert f"v{release.version()}" in capsys.readouterr().err


def test_the_workflow_publishes_what_is_built() -> None:
    """The workflow of a release builds with `make release` and publishes the wheel, the template and the code."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[0] == 'make release TAG="$GITHUB_REF_NAME"'
    assert commands[1].split()[-3:] == ["dist/*.whl", "dist/*.json", "dist/*.zip"]
    assert job["permissions"] == {"contents": "write"}
