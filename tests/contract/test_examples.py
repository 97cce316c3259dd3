"""The examples: their templates are valid, and the local AWS runs what it can of them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped] # it has no types
from moto import mock_aws
from moto.events.models import EventPattern
from moto.stepfunctions.parser.utils import TMP_THREADS

from local.aws import image_builder
from tests.conftest import ACCOUNT, REGION, ROOT, client

TEMPLATES = sorted(ROOT.glob("examples/*/template.yaml"))
CFN_LINT = str(Path(sys.executable).with_name("cfn-lint"))


def template(example: str) -> dict[str, Any]:
    """Return the template of an example."""
    loaded: dict[str, Any] = json.loads(json.dumps(cfn_yaml.load(str(ROOT / "examples" / example / "template.yaml"))))
    return loaded


@pytest.mark.acceptance
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.parent.name)
def test_a_template_is_valid(path: Path) -> None:
    """cfn-lint finds nothing in the template of an example, whose page says cost, commands and cleanup."""
    run = subprocess.run([CFN_LINT, str(path)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")
    page = path.with_name("README.md").read_text(encoding="utf-8")
    for part in ("US dollars", "aws cloudformation create-stack", "To clean up"):
        assert part in page


def created(key: str) -> dict[str, Any]:
    """Return S3's event of an uploaded object (user guide of S3, "EventBridge event message structure")."""
    return {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": ACCOUNT,
        "region": REGION,
        "detail": {"bucket": {"name": "uploads"}, "object": {"key": key, "sequencer": "00617F08299329D189"}},
    }


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("web-server/1.4.2/web-server.ova", True),
        ("web-server/1.4.2/disk1.vmdk", True),
        ("web-server.ova", False),
        ("web-server/1.4.2/web-server.mf", False),
    ],
)
def test_an_upload_starts_an_import(key: str, matches: bool) -> None:  # noqa: FBT001 - a case
    """The rule matches disks in two folders, and nothing else."""
    pattern = template("import-on-upload")["Resources"]["Uploaded"]["Properties"]["EventPattern"]
    pattern["detail"]["bucket"]["name"] = ["uploads"]
    event: Any = created(key)
    # moto has no wildcards.
    wildcards = [each["wildcard"] for each in pattern["detail"]["object"].pop("key")]
    found = any(re.fullmatch(re.escape(each).replace(r"\*", ".*"), key) for each in wildcards)
    assert EventPattern.load(json.dumps(pattern)).matches_event(event)
    assert found is matches


def test_an_upload_is_imported() -> None:
    """The state machine imports the uploaded disk with the tags of its key; the same event again is the same import."""
    properties = template("import-on-upload")["Resources"]["Import"]["Properties"]
    definition = json.dumps(properties["Definition"]).replace("${ImportRole}", "import-role")
    image_builder.install()
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        states, role = client("stepfunctions"), f"arn:aws:iam::{ACCOUNT}:role/import"
        machine = states.create_state_machine(name="import", definition=definition, roleArn=role)["stateMachineArn"]
        for name in ("first", "second"):
            event = json.dumps(created("web-server/1.4.2/web.server.ova"))
            execution = states.start_execution(stateMachineArn=machine, name=name, input=event)["executionArn"]
            # To ask again and again would keep the thread of the execution from running.
            for thread in TMP_THREADS:
                thread.join()
            status = states.describe_execution(executionArn=execution)
            assert status["status"] == "SUCCEEDED", status
        (task,) = client("ec2").describe_import_image_tasks()["ImportImageTasks"]
    assert {tag["Key"]: tag["Value"] for tag in task["Tags"]} == {"Name": "web-server", "Version": "1.4.2"}
    (disk,) = task["SnapshotDetails"]
    assert disk["Format"].lower() == "ova"
    assert disk["UserBucket"] == {"S3Bucket": "uploads", "S3Key": "web-server/1.4.2/web.server.ova"}
