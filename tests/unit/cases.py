"""Every import that EC2 can describe, and everything that somebody may have stated about it."""

import json
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import botocore.session
from botocore.model import ListShape, Shape, StructureShape
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.unit.derivation import derive
from vm_image_import.aws.ec2 import parse_ami, parse_import_task
from vm_image_import.derive import Derivation
from vm_image_import.domain.errors import RejectedError
from vm_image_import.domain.models import Ami, ImportTask
from vm_image_import.events import ManualImport, parse
from vm_image_import.settings import Settings

# As many as the project asks for where nobody waits for the answer.
EXAMPLES: Final = 2000 if os.environ.get("CI") else 100
many = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

_EC2: Final = botocore.session.get_session().get_service_model("ec2")

PARTS: Final = (
    "web",
    "disk1",
    "1.4.2",
    "v2",
    "-",
    "_",
    " ",
    ".",
    "/",
    "2026-11-23",
    "1073741824",
    "Größe",
    "日本",
    "%20",
    "20261123-1430",
    "99991231",
    "x86_64",
    "-build7",
    "+",
    "\\",
)
paths: Final = st.lists(st.sampled_from((*PARTS, "disk", "image", ".ova", ".vmdk", "-flat")), max_size=9).map("".join)
texts: Final = st.one_of(
    st.text(max_size=30),
    paths,
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=4), st.integers(1, 600)),
    st.sampled_from(("AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS - 5.4.0-96-generic", "windows", "Linux", " ")),
)
tags: Final = st.dictionaries(
    st.one_of(texts, st.sampled_from(("Name", "Version", "OsVersion", "aws:x", "Team"))), texts, max_size=60
)
SPECIAL: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "ImportTaskId": st.from_regex(r"import-ami-[0-9a-z]{8,17}", fullmatch=True),
    "Tags": tags.map(lambda found: [{"Key": key, "Value": value} for key, value in found.items()]),
    "S3Key": paths,
    "DeviceName": st.sampled_from(("/dev/sda1", "/dev/xvda", "/dev/sdf")),
    "CreationDate": st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z"),
}


# What the adapter reads of a task, its disks and an AMI; no request is made of anything else.
USED: Final = frozenset(
    {
        *("ImportTaskId", "Status", "StatusMessage", "Progress", "ImageId", "Description", "Platform", "Architecture"),
        *("BootMode", "LicenseType", "Tags", "SnapshotDetails", "UserBucket", "S3Bucket", "S3Key", "Url", "DeviceName"),
        *("CreationDate", "State", "Name", "SourceImageId"),
    }
)


def described(shape: Shape, required: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """Return everything that a service can answer by its model, with any member absent but the required ones."""
    if isinstance(shape, StructureShape):
        members = {
            name: SPECIAL[name] if name in SPECIAL else described(member)
            for name, member in shape.members.items()
            if name in USED
        }
        return st.fixed_dictionaries(
            {name: members[name] for name in required},
            optional={name: member for name, member in members.items() if name not in required},
        )
    if isinstance(shape, ListShape):
        return st.lists(described(shape.member), max_size=3)
    return st.sampled_from(shape.metadata["enum"]) if "enum" in shape.metadata else texts


tasks: Final = described(_EC2.shape_for("ImportImageTask"), ("ImportTaskId",)).map(parse_import_task)
amis: Final = described(_EC2.shape_for("Image"), ("ImageId", "CreationDate", "State")).map(parse_ami)
payloads: Final = st.fixed_dictionaries(
    {"importTaskId": SPECIAL["ImportTaskId"]},
    optional={
        "name": st.text(min_size=3, max_size=128),
        "semanticVersion": st.text(min_size=1, max_size=64) | st.sampled_from(("1.4", "20261123", "v1073741824")),
        "description": st.text(min_size=1, max_size=1024),
        "platform": st.sampled_from(("Windows", "Linux", "macOS")),
        "osVersion": st.text(min_size=1),
        "tags": st.dictionaries(
            st.from_regex(r"(?!aws:)[a-zA-Z0-9_.:/=+\-@ ]{1,128}", fullmatch=True), st.text(max_size=256), max_size=43
        ),
    },
).map(parse)
configured: Final = st.builds(
    lambda scheme, tags_of_all, log_group: Settings(version_scheme=scheme, tags=tags_of_all, image_log_group=log_group),
    st.sampled_from(("date", "timestamp", "increment")),
    tags,
    st.sampled_from(("", "/aws/imagebuilder/imports")),
)
nodes: Final = st.integers(0, 2**30 - 1)
existing: Final = st.lists(st.tuples(nodes, nodes, nodes).map(lambda version: ".".join(map(str, version))), max_size=3)


class Case(NamedTuple):
    """One import, what a person overrules, and the deployment."""

    task: ImportTask
    ami: Ami
    asked: ManualImport
    settings: Settings
    existing: list[str]

    def derived(self) -> Derivation | RejectedError:
        try:
            return derive(
                self.task,
                self.ami,
                self.asked.overrides,
                self.settings,
                token="12345678-1234-1234-1234-123456789012",
                existing=self.existing,
            )
        except RejectedError as error:
            return error

    def request(self) -> str:
        """Return the request, or the reason why there is none, as text."""
        derived = self.derived()
        return json.dumps(derived.request.parameters()) if isinstance(derived, Derivation) else str(derived)


cases: Final = st.builds(Case, tasks, amis, payloads, configured, existing)
