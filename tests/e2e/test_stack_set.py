"""The commands for StackSets in docs/accounts.md."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.awslambda.models import lambda_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.base_backend import BackendDict
from moto.kms.models import kms_backends
from moto.sns.models import sns_backends

from local import release
from local.aws.local_aws import LocalAws
from local.aws.policies import AuthorizationRequest, allows
from local.live import shell_exports
from tests.conftest import REGION, ROOT

pytestmark = pytest.mark.acceptance

DOCUMENT = (ROOT / "docs" / "accounts.md").read_text(encoding="utf-8")


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    """Give an empty local AWS."""
    with LocalAws() as aws:
        yield aws
    BackendDict.reset()


def test_an_account_of_an_organizational_unit_gets_the_stack(aws: LocalAws, assembly: Path, tmp_path: Path) -> None:
    """The documented commands deploy the stack to an account without bootstrap, with code from the Region's bucket."""
    bash = shutil.which("bash")
    assert bash
    (commands,) = re.findall(r"## Through StackSets.+?```sh[^\n]*\n(.+?)```", DOCUMENT, re.DOTALL)
    _, template, code, _ = release.build(assembly, tmp_path / "dist")
    organizations = aws.client("organizations")
    organizations.create_organization(FeatureSet="ALL")
    (root,) = organizations.list_roots()["Roots"]
    unit = organizations.create_organizational_unit(ParentId=root["Id"], Name="vms")["OrganizationalUnit"]["Id"]
    account = organizations.create_account(AccountName="member", Email="member@example.com")["CreateAccountStatus"]
    member = account["AccountId"]
    organizations.move_account(AccountId=member, SourceParentId=root["Id"], DestinationParentId=unit)
    aws.client("s3").create_bucket(Bucket=f"code-{REGION}")
    aws.client("s3").upload_file(str(code), f"code-{REGION}", code.name)

    for placeholder, value in {"BUCKET": "code", "REGION": REGION, "UNIT": unit}.items():
        commands = re.sub(rf"(?<![A-Za-z]){placeholder}(?![A-Za-z])", value, commands)
    assert template.name in commands
    # The stack's name on AWS; moto gives it the name of the stack set.
    commands = commands.replace("--stack-set-name VmImageImport", "--stack-set-name StackSet-VmImageImport-1")
    setup = "\n".join(shell_exports(aws, tmp_path))
    subprocess.run([bash, "-euo", "pipefail", "-c", f"{setup}\n{commands}"], cwd=tmp_path, check=True)

    (function,) = lambda_backends[member][REGION].list_functions()
    assert function.handler == "vm_image_import.handler.handler"
    assert function.code["S3Bucket"] == f"code-{REGION}"
    # The alarms may publish to the topic, although the stack has another name.
    (topic,) = sns_backends[member][REGION].topics.values()
    key = kms_backends[member][REGION].keys[kms_backends[member][REGION].get_key_id(topic.kms_master_key_id)]
    statements = json.loads(key.policy)["Statement"]
    alarms = [alarm.alarm_arn for alarm in cloudwatch_backends[member][REGION].alarms.values()]
    assert alarms
    for alarm in alarms:
        context = {"aws:SourceArn": alarm, "aws:SourceAccount": member}
        request = AuthorizationRequest("kms:GenerateDataKey", key.arn, context)
        assert allows(statements, request, "cloudwatch.amazonaws.com"), alarm
