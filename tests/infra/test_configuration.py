"""What a deployment can configure, from the context to the function."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Environment
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Annotations, Match, Template

from infra.configuration import (
    CONTEXT_KEY,
    PERMISSIONS_BOUNDARY,
    Configuration,
    ConfigurationError,
    boundary_problems,
    folder_contexts,
    misplaced,
)
from infra.stack import VmImageImportStack
from tests.conftest import PARTITIONS, REGION, ROOT
from tests.unit.test_settings import REQUIRED, SETTINGS
from vm_image_import.domain import models, retention
from vm_image_import.settings import Settings

INLINE = lambda_.Code.from_inline("def handler(*_): ...")
TOPIC_ARN = "arn:aws:sns:eu-west-1:123456789012:images"
KEY_ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
EVERYTHING = {
    "versionScheme": "increment",
    "nameTag": "vm:name",
    "versionTag": "vm:version",
    "osVersionTag": "vm:os",
    "keyFormats": ["releases/{name}/{version}/*.vmdk"],
    "allowedNames": ["team-a-*", "shared"],
    "namesFrom": "tags",
    "immutableVersions": True,
    "tags": {"Team": "web"},
    "imageTagKeys": ["Cost center"],
    "onlyTasksTagged": {"Images": "yes"},
    "tagAmis": True,
    "amiTagKeys": ["Cost center"],
    "parameterPrefix": "/imagebuilder/base",
    "keepVersions": 3,
    "deleteAfterDays": 30,
    "imageLogGroup": "/aws/imagebuilder/imports",
    "logRetentionDays": 365,
    "notificationEmail": "ops@example.com",
    "keyArn": KEY_ARN,
    "sweepMinutes": 5,
    "reservedConcurrency": 5,
    "tracing": True,
    "observe": True,
    "regions": ["eu-west-1"],
}


def synthesised(configuration: object) -> dict[str, Any]:
    """Return the resources of a stack with this context."""
    stack = VmImageImportStack(
        App(), "Configured", configuration=Configuration.from_context(configuration), code=INLINE
    )
    resources: dict[str, Any] = Template.from_stack(stack).to_json()["Resources"]
    return resources


def variables(resources: Mapping[str, Any]) -> dict[str, str]:
    """Return the function's variables, without those that Powertools reads."""
    (function,) = (each for each in resources.values() if each["Type"] == "AWS::Lambda::Function")
    found = function["Properties"]["Environment"]["Variables"]
    return {name: value for name, value in found.items() if not name.startswith("POWERTOOLS_")}


def settings_of(resources: Mapping[str, Any]) -> Settings:
    """Return the settings that the function reads, with names for the table and the topic."""
    made = REQUIRED
    return Settings.from_environment(variables(resources) | made)


def test_variables_and_settings_are_the_same(template: Mapping[str, Any]) -> None:
    """Every setting has a variable in the template, and every variable has a setting."""
    assert set(variables(template["Resources"])) == {name.upper() for name in Settings._fields}


def test_the_defaults_are_the_same_everywhere(template: Mapping[str, Any]) -> None:
    """The configuration, the settings and the template have the same defaults, and cdk.json has every key."""
    context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"][CONTEXT_KEY]
    assert context.keys() == Configuration().as_context().keys()
    assert Configuration() == Configuration.from_context(None) == Configuration.from_context({}, "{}", None)
    assert settings_of(template["Resources"]) == SETTINGS


def test_every_value_reaches_the_function() -> None:
    """Every configured value is in the function's settings."""
    resources = synthesised(EVERYTHING)
    assert settings_of(resources) == SETTINGS._replace(
        version_scheme="increment",
        name_tag="vm:name",
        version_tag="vm:version",
        os_version_tag="vm:os",
        key_formats=["releases/{name}/{version}/*.vmdk"],
        allowed_names=["team-a-*", "shared"],
        names_from="tags",
        immutable_versions=True,
        tags={"Team": "web"},
        image_tag_keys=["Cost center"],
        only_tasks_tagged={"Images": "yes"},
        observe=True,
        tag_amis=True,
        ami_tag_keys=["Cost center"],
        parameter_prefix="/imagebuilder/base",
        image_log_group="/aws/imagebuilder/imports",
        keep_versions=3,
        delete_after_days=30,
    )
    (group,) = (each for each in resources.values() if each["Type"] == "AWS::Logs::LogGroup")
    assert group["Properties"]["RetentionInDays"] == 365


def test_the_context_of_the_command_line_is_taken() -> None:
    """A context in JSON text, as the command line passes it, is read like an object."""
    assert Configuration.from_context(json.dumps(EVERYTHING)) == Configuration.from_context(EVERYTHING)


def test_the_command_line_overrides_key_by_key() -> None:
    """A later context value overrides an earlier one key by key, and keeps the keys that it does not state."""
    overridden = Configuration.from_context(EVERYTHING, '{"sweepMinutes": 7}', '{"tracing": false}')
    assert overridden == replace(Configuration.from_context(EVERYTHING), sweep_minutes=7, tracing=False)


@pytest.mark.parametrize(
    ("context", "problem"),
    [
        ({"versionScheme": "weekly"}, "vm-image-import.versionScheme: 'weekly' is not one of"),
        ({"nameTag": ""}, "vm-image-import.nameTag: '' should be non-empty: write the key of a tag, like Name."),
        ({"versionTag": 7}, "vm-image-import.versionTag: 7 is not of type 'string'"),
        ({"osVersionTag": "aws:os"}, "vm-image-import.osVersionTag: 'aws:os' cannot be used: write the key of a tag"),
        ({"tags": {"a&b": "x"}}, "vm-image-import.tags: 'a&b' cannot be used: write up to 43 tags"),
        ({"tags": {f"t{number}": "x" for number in range(44)}}, "write up to 43 tags"),
        ({"tags": {"aws:x": "x"}}, "vm-image-import.tags: 'aws:x' cannot be used: write"),
        ({"tags": {"a": 7}}, "vm-image-import.tags.a: 7 is not of type 'string'"),
        ({"tags": {"a": "x" * 257}}, "is too long"),
        ({"tags": [["a", "b"]]}, "vm-image-import.tags: [['a', 'b']] is not of type 'object'"),
        ({"onlyTasksTagged": {"": "x"}}, "vm-image-import.onlyTasksTagged: '' should be non-empty"),
        (
            {"imageLogGroup": "/my/logs"},
            "vm-image-import.imageLogGroup: '/my/logs' cannot be used: write a log",
        ),
        (
            {"notificationEmail": "ops"},
            "vm-image-import.notificationEmail: 'ops' cannot be used: write an",
        ),
        (
            {"topicArn": "images"},
            "vm-image-import.topicArn: 'images' cannot be used: write the ARN of a standard topic",
        ),
        ({"topicArn": f"{TOPIC_ARN}.fifo"}, "cannot be used: write the ARN of a standard topic"),
        ({"topicArn": TOPIC_ARN, "notificationEmail": "ops@example.com"}, "leave this out and subscribe to that topic"),
        (
            {"topicArn": TOPIC_ARN, "regions": ["eu-west-1", "us-east-1"]},
            "write one Region into regions, and a topic of it.",
        ),
        ({"sweepMinutes": 0}, "vm-image-import.sweepMinutes: 0 is less than the minimum of 1"),
        ({"sweepMinutes": "15"}, "vm-image-import.sweepMinutes: '15' is not of type 'integer'"),
        ({"reservedConcurrency": 0}, "vm-image-import.reservedConcurrency: 0 is less than the minimum of 1"),
        ({"keyArn": "alias/images"}, "keyArn: 'alias/images' cannot be used: write the ARN of a customer managed key"),
        ({"keyArn": KEY_ARN.replace("key/", "alias/")}, "of an alias, or nothing"),
        ({"keyArn": KEY_ARN.partition("/")[2]}, "cannot be used: write the ARN of a customer managed key"),
        ({"keyArn": KEY_ARN, "regions": ["us-east-1"]}, "keyArn: services use a key of their Region: write one Region"),
        ({"tracing": "yes"}, "vm-image-import.tracing: 'yes' is not of type 'boolean'"),
        ({"logRetentionDays": 8}, "vm-image-import.logRetentionDays: 8 is not one of"),
        ({"regions": ["eu-west-1", "eu-west-1"]}, "vm-image-import.regions: ['eu-west-1', 'eu-west-1'] has non-unique"),
        ({"regions": ["mars-1"]}, "vm-image-import.regions: 'mars-1' is no Region that the CDK knows"),
        ({"regions": "eu-west-1"}, "vm-image-import.regions: 'eu-west-1' is not of type 'array'"),
        ({"regions": [1]}, "vm-image-import.regions[0]: 1 is not of type 'string'"),
        ({"versionschema": "date"}, "'versionschema' was unexpected"),
        ({"tags": {"vm-image-import:x": "x"}}, "vm-image-import.tags: 'vm-image-import:x' cannot be used: write"),
        ({"tags": {"a\tb": "x"}}, "cannot be used: write up to 43 tags"),
        ({"tags": {"a": "x\n"}}, "vm-image-import.tags: it has a line break: write it on one line."),
        ({"notificationEmail": "ops@example.com\n"}, "vm-image-import.notificationEmail: it has a line break"),
        ({"imageLogGroup": "/aws/imagebuilder/x\n"}, "vm-image-import.imageLogGroup: it has a line break"),
        ({"versionTag": "Name"}, "vm-image-import.versionTag: 'Name' is also the key of nameTag: write another key."),
        ({"nameTag": "X", "osVersionTag": "X"}, "osVersionTag: 'X' is also the key of nameTag"),
        ({"regions": ["us-east-1", "cn-north-1"]}, "they are of the partitions aws and aws-cn: write Regions of one"),
        ({"architecture": "arm"}, "vm-image-import.architecture: 'arm' is not one of"),
        (
            {"amiTagKeys": ["Team"]},
            "amiTagKeys: without tagAmis no AMI is tagged: write true for tagAmis",
        ),
        (
            {"keyFormats": "{name}.ova"},
            "keyFormats: '{name}.ova' is not of type 'array': write up to 20 formats of keys",
        ),
        ({"keyFormats": ["{name}", "{name}"]}, "has non-unique elements: write up to 20 formats"),
        ({"keyFormats": [7]}, "keyFormats[0]: 7 is not of type 'string': write up to 20 formats"),
        ({"keyFormats": [""]}, "keyFormats: '' has no {name}: write it where the name is, like"),
        ({"keyFormats": ["{version}.ova"]}, "'{version}.ova' has no {name}: write it where the name is, like"),
        ({"keyFormats": ["{name}/{name}.ova"]}, "has {name} more than once: write * for the others."),
        ({"keyFormats": ["{version}/{name}-{version}"]}, "has {version} more than once: write * for the others."),
        ({"keyFormats": ["{name}-{date}.ova"]}, "has { and } of neither {name} nor {version}: write only these two."),
        ({"keyFormats": ["{name}-{version.ova"]}, "has { of neither {name} nor {version}: write only these two."),
        (
            {"keyFormats": [r"^{name}-(\d+)$"]},
            "has $ ( ) \\ ^: write * for anything within one part, and / for a \\ between two parts.",
        ),
        ({"keyFormats": [r"{name}\{version}.vhdx"]}, "has \\: write * for anything within one part, and / for a \\"),
        (
            {"keyFormats": ["**/{name}.ova"]},
            "has **: write *, and leave out the parts in front, as a format is matched",
        ),
        (
            {"keyFormats": ["{name}{version}.ova"]},
            "has placeholders with nothing between them: write what separates them",
        ),
        ({"keyFormats": ["{name}*.ova"]}, "has placeholders with nothing between them: write what separates them"),
        (
            {"keyFormats": ["a//{name}.ova"]},
            "has a / with nothing before or behind it: write the parts of the key with",
        ),
        ({"keyFormats": ["/{name}.ova"]}, "has a / with nothing before or behind it: write the parts of the key with"),
        ({"keyFormats": ["{name}/"]}, "has a / with nothing before or behind it: write the parts of the key with"),
        ({"keyFormats": ["s3://b/{name}.ova"]}, "has a scheme: write the end of the key only."),
        ({"keyFormats": ["{name}.ova\n"]}, "keyFormats: it has a line break: write it on one line."),
        ({"tagAmis": True, "amiTagKeys": ["CreatedBy"]}, "amiTagKeys[0]: 'CreatedBy' cannot be used: write keys"),
        ({"tagAmis": True, "amiTagKeys": ["Name"]}, "amiTagKeys[0]: 'Name' cannot be used: write keys"),
        ({"tagAmis": True, "amiTagKeys": ["aws:x"]}, "amiTagKeys[0]: 'aws:x' cannot be used: write keys"),
        ({"tagAmis": True, "amiTagKeys": ["T*"]}, "amiTagKeys[0]: 'T*' cannot be used: write keys"),
        ({"tagAmis": True, "amiTagKeys": ["A", "A"]}, "amiTagKeys: ['A', 'A'] has non-unique elements: write keys"),
        ({"tagAmis": True, "amiTagKeys": ["A\n"]}, "amiTagKeys: it has a line break"),
        ({"allowedNames": "team-a-*"}, "allowedNames: 'team-a-*' is not of type 'array': write up to 20 patterns"),
        ({"allowedNames": ["Team-A-*"]}, "allowedNames[0]: 'Team-A-*' cannot be used: write up to 20 patterns"),
        ({"allowedNames": ["a/*"]}, "allowedNames[0]: 'a/*' cannot be used: write up to 20 patterns"),
        ({"allowedNames": ["a?"]}, "allowedNames[0]: 'a?' cannot be used: write up to 20 patterns"),
        ({"allowedNames": ["a"]}, "allowedNames[0]: 'a' cannot be used: write up to 20 patterns"),
        ({"allowedNames": ["-team"]}, "allowedNames[0]: '-team' cannot be used: write up to 20 patterns"),
        ({"allowedNames": ["team-"]}, "allowedNames[0]: 'team-' cannot be used: write up to 20 patterns"),
        ({"allowedNames": [""]}, "allowedNames[0]: '' should be non-empty: write up to 20 patterns"),
        ({"namesFrom": "files"}, "namesFrom: 'files' is not one of"),
        ({"immutableVersions": "yes"}, "immutableVersions: 'yes' is not of type 'boolean'"),
        ({"imageTagKeys": ["CreatedBy"]}, "imageTagKeys[0]: 'CreatedBy' cannot be used: write keys"),
        ({"imageTagKeys": "Team"}, "imageTagKeys: 'Team' is not of type 'array', 'null': write keys"),
        ({"tagAmis": "yes"}, "vm-image-import.tagAmis: 'yes' is not of type 'boolean'"),
        ({"parameterPrefix": "imagebuilder"}, "parameterPrefix: 'imagebuilder' cannot be used: write a path like"),
        ({"parameterPrefix": "/a/"}, "parameterPrefix: '/a/' cannot be used: write a path like"),
        ({"parameterPrefix": "/"}, "parameterPrefix: '/' cannot be used: write a path like"),
        ({"parameterPrefix": "/aws/base"}, "parameterPrefix: '/aws/base' cannot be used: write a path like"),
        ({"parameterPrefix": "/SSM-base"}, "parameterPrefix: '/SSM-base' cannot be used: write a path like"),
        ({"parameterPrefix": "/a b"}, "parameterPrefix: '/a b' cannot be used: write a path like"),
        ({"parameterPrefix": "/a" * 15}, "cannot be used: write a path like"),
        ({"keepVersions": 0}, "keepVersions: 0 is less than the minimum of 1: write a whole number from 1 to 1000"),
        ({"keepVersions": "3"}, "keepVersions: '3' is not of type 'integer', 'null': write a whole number"),
        (
            {"keepVersions": 3, "tagAmis": True, "deleteAfterDays": 6},
            "deleteAfterDays: 6 is less than the minimum of 7: write whole days from 7 to 3650, or null.",
        ),
        (
            {"deleteAfterDays": 30, "tagAmis": True},
            "deleteAfterDays: without keepVersions no image is superseded: write a number for keepVersions, like 3.",
        ),
        (
            {"deleteAfterDays": 30, "keepVersions": 3},
            "deleteAfterDays: only AMIs that have tags of this system are deleted: write true for tagAmis.",
        ),
        ({"alarms": 1}, "vm-image-import.alarms: 1 is not of type 'boolean': write true or false."),
        ({"tags": {f"key-{n}": "v" * 256 for n in range(20)}}, "bytes: write at most 3200"),
        ({"keepVersions": 3.0}, "keepVersions: 3.0 has a point: write 3."),
        ({"sweepMinutes": 15.0}, "sweepMinutes: 15.0 has a point: write 15."),
        ('{"observe": true, "observe": false}', "is no JSON (it states observe more than once)"),
        (
            {"keyArn": KEY_ARN, "regions": ["eu-west-1", "us-east-1"]},
            "keyArn: services use a key of their Region: write one Region into regions, and a key of it.",
        ),
        ([], "vm-image-import is no object: write it like"),
        ("{", "is no JSON"),
    ],
)
def test_a_wrong_configuration_is_refused(context: object, problem: str) -> None:
    """A wrong configuration is an error that names the key and the problem."""
    with pytest.raises(ConfigurationError) as caught:
        Configuration.from_context(context)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"observe": true}'.encode("utf-16"), "vm-image-import.json cannot be read ("),
        (b"{", "vm-image-import.json is no JSON ("),
        (b"[]", "vm-image-import.json is no object: write it like"),
        (None, "vm-image-import.json cannot be read ("),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A vm-image-import.json that is no file in UTF-8, or no object, is an error that names it."""
    shutil.copy(ROOT / "cdk.json", tmp_path)
    path = tmp_path / "vm-image-import.json"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        folder_contexts(tmp_path)
    assert str(caught.value).startswith(problem)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    """The file may begin with the mark that some editors write."""
    shutil.copy(ROOT / "cdk.json", tmp_path)
    (tmp_path / "vm-image-import.json").write_text('{"observe": true}', encoding="utf-8-sig")
    assert Configuration.from_context(*folder_contexts(tmp_path)).observe


def test_a_configuration_in_the_wrong_place_is_a_problem() -> None:
    """A context named like an option, and one or a file with a slip in its name, would be ignored without a word."""
    contexts = ("observe", "vmImageImport", "vm_image_import", CONTEXT_KEY, "@aws-cdk/core:newStyleStackSynthesis")
    files = ("vm_image_import.json", "VM-Image-Import.json", "vm-image-import.json", "cdk.json")
    assert [*misplaced(contexts, files)] == [
        "The context observe states nothing: write --context 'vm-image-import={\"observe\": …}'.",
        "The context vmImageImport states nothing: write vm-image-import.",
        "The context vm_image_import states nothing: write vm-image-import.",
        "The file vm_image_import.json states nothing: name it vm-image-import.json.",
        "The file VM-Image-Import.json states nothing: name it vm-image-import.json.",
    ]


def test_every_problem_is_named_at_once() -> None:
    """The error for several mistakes names all of them."""
    wrong = {
        "versionScheme": "weekly",
        "tags": {"a": 7, "b": 8},
        "logRetentionDays": 8,
        "unknown": 1,
        "regions": ["mars-1", "x"],
    }
    with pytest.raises(ConfigurationError) as caught:
        Configuration.from_context(wrong)
    assert len(str(caught.value).splitlines()) == 1 + 7
    assert all(": write " in line for line in str(caught.value).splitlines()[1:])


@pytest.mark.parametrize(("length", "fits"), [(25, True), (60, False)])
def test_a_policy_that_iam_refuses_is_a_problem(length: int, *, fits: bool) -> None:
    """A configuration whose policy is longer than a role's can be is refused at synthesis, before CloudFormation."""
    names = [f"team-{number:02}".ljust(length, "x") for number in range(20)]
    options = {"tagAmis": True, "parameterPrefix": "/imagebuilder/base", "keepVersions": 3, "allowedNames": names}
    if fits:
        assert synthesised(options)
        return
    with pytest.raises(ConfigurationError, match="IAM takes 10240: write fewer or shorter allowedNames"):
        synthesised(options)


def test_what_only_a_stack_can_find_is_said_in_one_line() -> None:
    """A configuration that the stack refuses ends the app with one sentence, without a traceback."""
    names = [f"{number:0128}" for number in range(20)]
    context = {CONTEXT_KEY: json.dumps({"allowedNames": names, "keepVersions": 3, "tagAmis": True})}
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | {"CDK_CONTEXT_JSON": json.dumps(context)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "IAM takes 10240: write fewer" in line


@pytest.mark.acceptance
def test_a_wrong_context_ends_the_synthesis_without_a_traceback() -> None:
    """`cdk synth` with wrong contexts prints every problem and exits with 1, without a traceback."""
    context = f"{CONTEXT_KEY}={json.dumps({'sweepMinutes': 0, 'notificationEmail': 'ops'})}"
    boundary = f'{PERMISSIONS_BOUNDARY}={{"name": "Boundary"}}'
    contexts = (f"--context={each}" for each in (context, boundary, "observe=true"))
    run = subprocess.run(
        [str(ROOT / "node_modules/.bin/cdk"), "synth", "--quiet", *contexts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    found = ("vm-image-import.sweepMinutes: 0 is less", "vm-image-import.notificationEmail: 'ops'", "text.")
    for problem in (*found, "The context observe states nothing"):
        assert problem in run.stderr


@pytest.mark.parametrize(
    ("boundary", "usable"),
    [
        (None, True),
        ({"name": "Boundary"}, True),
        ({"arn": "arn:aws:iam::123456789012:policy/Boundary"}, True),
        ('{"name": "Boundary"}', False),
        ({"Name": "Boundary"}, False),
        ({"name": "Boundary", "arn": "arn:aws:iam::123456789012:policy/Boundary"}, False),
        ({"name": ""}, False),
        ({"name": 7}, False),
        ({}, False),
        ([], False),
    ],
)
def test_a_permissions_boundary_that_the_cdk_would_ignore_is_a_problem(boundary: object, *, usable: bool) -> None:
    """A permissions boundary that the CDK cannot use is one problem, and one that it can use is none."""
    assert len([*boundary_problems(boundary)]) == (not usable)


def test_what_a_landing_zone_demands_reaches_the_template(tmp_path: Path) -> None:
    """Every role has the permissions boundary of the context, and the stack deploys with the context's qualifier."""
    context = {PERMISSIONS_BOUNDARY: {"name": "Boundary"}, "@aws-cdk/core:bootstrapQualifier": "platform"}
    app = App(context=context, outdir=str(tmp_path))
    VmImageImportStack(app, "Stack", code=INLINE)
    app.synth()
    resources = json.loads((tmp_path / "Stack.template.json").read_text("utf-8"))["Resources"].values()
    roles = [each["Properties"] for each in resources if each["Type"] == "AWS::IAM::Role"]
    assert roles
    assert all(":policy/Boundary" in json.dumps(role["PermissionsBoundary"]) for role in roles)
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))["artifacts"]["Stack"]["properties"]
    assert "/cdk-platform-deploy-role-" in manifest["assumeRoleArn"]
    assert "/cdk-platform-cfn-exec-role-" in manifest["cloudFormationExecutionRoleArn"]


def test_tags_and_parameters_are_off_by_default() -> None:
    """By default nothing may be tagged or written to Parameter Store; switched on, few resources differ."""
    default = synthesised({})
    for word in ("ec2:CreateTags", "ec2:DescribeTags", "ssm:", "AmisTagged", "ParametersWritten"):
        assert word not in json.dumps(default)
    on = synthesised({"tagAmis": True, "parameterPrefix": "/imagebuilder/base"})
    changed = {each["Type"] for name, each in on.items() if each != default[name]}
    assert changed == {"AWS::IAM::Role", "AWS::Lambda::Function", "AWS::CloudWatch::Dashboard"}


def test_without_retention_nothing_may_be_deleted() -> None:
    """Without `deleteAfterDays` there is no policy and no right to delete images, AMIs or snapshots."""
    default, marking = synthesised({}), synthesised({"keepVersions": 3, "tagAmis": True})
    assert "imagebuilder:Untag" not in json.dumps(default)
    for resources in (default, marking):
        for word in ("LifecyclePolicy", "imagebuilder:Delete", "ec2:Deregister", "ec2:Delete"):
            assert word not in json.dumps(resources)
        assert len([each for each in resources.values() if each["Type"] == "AWS::IAM::Role"]) == 1
    changed = {each["Type"] for name, each in marking.items() if each != default[name]}
    assert changed == {"AWS::IAM::Role", "AWS::Lambda::Function", "AWS::CloudWatch::Dashboard"}


@pytest.mark.parametrize(("observes", "status"), [(False, "ENABLED"), (True, "DISABLED")])
def test_nothing_is_deleted_while_nothing_is_marked(*, observes: bool, status: str) -> None:
    """With `observe`, under which no mark is removed, the lifecycle policy is disabled."""
    resources = synthesised({"keepVersions": 3, "tagAmis": True, "deleteAfterDays": 30, "observe": observes})
    (policy,) = (each["Properties"] for each in resources.values() if each["Type"].endswith("::LifecyclePolicy"))
    assert policy["Status"] == status


def test_the_policy_selects_what_the_function_tags() -> None:
    """The lifecycle policy selects exactly the tag of the function, without what is kept or was launched lately."""
    resources = synthesised({"keepVersions": 3, "tagAmis": True, "deleteAfterDays": 30})
    (policy,) = (each["Properties"] for each in resources.values() if each["Type"].endswith("::LifecyclePolicy"))
    (detail,) = policy["PolicyDetails"]
    assert policy["ResourceSelection"] == {"TagMap": {models.DELETE: retention.YES}}
    assert detail["ExclusionRules"] == {
        "TagMap": {models.KEEP: "yes"},
        "Amis": {"TagMap": {models.KEEP: "yes"}, "LastLaunched": {"Unit": "DAYS", "Value": 30}},
    }
    assert detail["Action"] == {"Type": "DELETE", "IncludeResources": {"Amis": True, "Snapshots": True}}


@pytest.mark.parametrize(
    ("prefix", "warned"),
    [("", False), ("/imagebuilder", False), ("/imagebuilder/base", False), ("/golden", True), ("/imagebuilder2", True)],
)
def test_a_prefix_that_image_builder_cannot_read_is_a_warning(prefix: str, *, warned: bool) -> None:
    """A prefix outside of /imagebuilder/ is allowed, with a warning at synthesis."""
    stack = VmImageImportStack(App(), "S", configuration=Configuration(parameter_prefix=prefix), code=INLINE)
    found = Annotations.from_stack(stack).find_warning("*", Match.string_like_regexp("outside of /imagebuilder/"))
    assert bool(found) is warned


@pytest.mark.parametrize("keys", [["Team"], ("Team",)])
def test_any_sequence_is_a_list(keys: Sequence[str]) -> None:
    """Another CDK app can state a list as a tuple, too."""
    configuration = Configuration(tag_amis=True, ami_tag_keys=keys, regions=("eu-west-1",))
    assert configuration.as_context()["amiTagKeys"] == ["Team"]


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_the_architecture_can_be_configured(architecture: str) -> None:
    """The function has the configured architecture."""
    resources = synthesised({"architecture": architecture})
    (function,) = (each for each in resources.values() if each["Type"] == "AWS::Lambda::Function")
    assert function["Properties"]["Architectures"] == [architecture]


def test_alarms_and_dashboard_can_be_left_out() -> None:
    """Without alarms and dashboard, the template has none, and nothing else is missing."""
    fixed = {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard"}
    kinds = {each["Type"] for each in synthesised({}).values()}
    assert kinds - {each["Type"] for each in synthesised({"alarms": False, "dashboard": False}).values()} == fixed
    assert "AWS::CloudWatch::Dashboard" in {each["Type"] for each in synthesised({"alarms": False}).values()}


def test_each_region_has_its_stack(configured_assembly: Path) -> None:
    """Each configured Region has a stack, which names no other Region or partition."""
    regions = (REGION, "eu-west-1")
    assert {path.name for path in configured_assembly.glob("*.template.json")} == {
        f"VmImageImport-{region}.template.json" for region in regions
    }
    for region in regions:
        text = (configured_assembly / f"VmImageImport-{region}.template.json").read_text(encoding="utf-8")
        assert set(re.findall(r"arn:([\w-]+):", text)) == {"aws"}
        # The dashboard says whose prices it reckons with.
        assert set(re.findall(r"\b[a-z]{2}(?:-[a-z]+)+-\d\b", text)) == {region, "us-east-1"}
        manifest = json.loads((configured_assembly / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
        assert manifest[f"VmImageImport-{region}"]["environment"] == f"aws://unknown-account/{region}"


@pytest.mark.parametrize(("region", "partition"), PARTITIONS.items())
def test_a_stack_names_its_own_partition_only(region: str, partition: str) -> None:
    """The template of a Region in any partition has ARNs of that partition only."""
    key = KEY_ARN.replace("arn:aws:", f"arn:{partition}:").replace("eu-west-1", region)
    configuration = Configuration.from_context({**EVERYTHING, "regions": [], "keyArn": key})
    stack = VmImageImportStack(App(), "S", configuration=configuration, env=Environment(region=region), code=INLINE)
    text = json.dumps(Template.from_stack(stack).to_json())
    assert set(re.findall(r"arn:([\w-]+):", text)) <= {partition}
