"""The whole request."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from tests.unit.derivation import derive
from vm_image_import import events
from vm_image_import.derive import Derivation, make_client_token, versions
from vm_image_import.domain.errors import InvalidTriggerError, RejectedError
from vm_image_import.domain.models import Ami, AwsEnvironment, Disk, ImageRequest, ImportTask, Overrides
from vm_image_import.settings import Settings, VersionScheme

AMI = Ami(
    id="ami-0abcdef1234567890",
    created=datetime(2026, 11, 23, 10, 15, tzinfo=UTC),
    name="import-ami-fg4d51t0",
    description="AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS - 5.4.0-96-generic",
    architecture="x86_64",
)
TASK = ImportTask(
    id="import-ami-fg4d51t0",
    status="completed",
    image_id=AMI.id,
    platform="Linux",
    architecture="x86_64",
    boot_mode="uefi",
    license_type="BYOL",
    disks=(Disk(bucket="b", key="exports/web-server-1.4.2.ova"), Disk(bucket="b", key="exports/other-9.9.9.vmdk")),
)
IMPORTED = "Imported from s3://b/exports/web-server-1.4.2.ova by import-ami-fg4d51t0"
BARE = ImportTask(id="import-ami-fg4d51t0")
BARE_AMI = AMI._replace(description=None, architecture=None)


def derivation(
    task: ImportTask = TASK,
    ami: Ami = AMI,
    overrides: Overrides | None = None,
    settings: Settings | None = None,
    existing: Iterable[str] = (),
) -> Derivation:
    """Return the derivation where these versions of the image exist."""
    return derive(
        task,
        ami,
        overrides or Overrides(),
        settings or Settings(),
        token="token",
        existing=existing,
    )


def request(task: ImportTask = TASK, ami: Ami = AMI, overrides: Overrides | None = None) -> ImageRequest:
    """Return the derived request."""
    return derivation(task, ami, overrides).request


def test_everything_is_derived_from_task_and_ami() -> None:
    """The request holds every parameter of the API, with the first disk's name and version."""
    assert request().parameters() == {
        "name": "web-server",
        "semanticVersion": "1.4.2",
        "description": IMPORTED,
        "platform": "Linux",
        "osVersion": "Ubuntu 20.04.3 LTS",
        "vmImportTaskId": "import-ami-fg4d51t0",
        "clientToken": "token",
        "tags": {
            "vm-image-import:task-id": "import-ami-fg4d51t0",
            "vm-image-import:ami-id": "ami-0abcdef1234567890",
            "vm-image-import:source": "s3://b/exports/web-server-1.4.2.ova",
            "vm-image-import:architecture": "x86_64",
            "vm-image-import:boot-mode": "uefi",
            "vm-image-import:license-type": "BYOL",
        },
    }


def test_an_import_that_tells_nothing_is_registered_all_the_same() -> None:
    """With every optional field absent the request is complete, and holds no empty value."""
    assert request(BARE, BARE_AMI).parameters() == {
        "name": "import-ami-fg4d51t0",
        "semanticVersion": "2026.11.23",
        "description": "Imported by import-ami-fg4d51t0",
        "platform": "Linux",
        "vmImportTaskId": "import-ami-fg4d51t0",
        "clientToken": "token",
        "tags": {
            "vm-image-import:task-id": "import-ami-fg4d51t0",
            "vm-image-import:ami-id": "ami-0abcdef1234567890",
        },
    }


FULL = TASK._replace(
    description="Mail gateway",
    tags={"Name": "mail gw", "Version": "v3", "OsVersion": "Debian 12", "Team": "mail", "aws:x": "y"},
)
OVERRIDES = Overrides(
    name="post office",
    semantic_version="4.5",
    description="By hand",
    platform="macOS",
    os_version="macOS 15",
    tags={"Team": "post"},
)


@pytest.mark.parametrize(
    ("task", "overrides", "field", "value"),
    [
        (FULL, OVERRIDES, "name", "post office"),
        (FULL, Overrides(), "name", "mail gw"),
        (FULL._replace(tags={"Name": "Büro"}), Overrides(), "name", "Buro"),
        (FULL._replace(tags={}, disks=()), Overrides(), "name", "Mail gateway"),
        (FULL._replace(tags={}, disks=(Disk(key="db.ova"),)), Overrides(), "name", "Mail gateway"),
        (FULL._replace(tags={}, disks=(), description="?"), Overrides(), "name", "import-ami-fg4d51t0"),
        (FULL, OVERRIDES, "semantic_version", "4.5.0"),
        (FULL, Overrides(), "semantic_version", "3.0.0"),
        (FULL._replace(tags={"Version": "nonsense"}), OVERRIDES, "semantic_version", "4.5.0"),
        (FULL._replace(tags={}), Overrides(), "semantic_version", "1.4.2"),
        (FULL._replace(tags={}, disks=()), Overrides(), "semantic_version", "2026.11.23"),
        (FULL, OVERRIDES, "description", "By hand"),
        (FULL, Overrides(), "description", "Mail gateway"),
        (FULL._replace(description="d" * 2000), Overrides(), "description", "d" * 1024),
        (FULL._replace(description=" \n"), Overrides(), "description", IMPORTED),
        (TASK._replace(disks=(Disk(), *TASK.disks)), Overrides(), "description", f"Imported by {TASK.id}"),
        (FULL, OVERRIDES, "platform", "macOS"),
        (FULL._replace(platform="WINDOWS"), Overrides(), "platform", "Windows"),
        (FULL, OVERRIDES, "os_version", "macOS 15"),
        (FULL, Overrides(), "os_version", "Debian 12"),
        (FULL._replace(tags={"OsVersion": " "}), Overrides(), "os_version", "Ubuntu 20.04.3 LTS"),
        (FULL._replace(tags={"OsVersion": " Debian 12\n"}), Overrides(), "os_version", "Debian 12"),
    ],
)
def test_the_first_source_wins(task: ImportTask, overrides: Overrides, field: str, value: str) -> None:
    """The payload goes before the task's tags, these before the file's name, and so on, as docs/names.md says."""
    assert getattr(request(task, AMI, overrides), field) == value


@pytest.mark.parametrize(
    ("told", "ami_platform", "platform"),
    [(None, "windows", "Windows"), (None, None, "Linux"), ("linux", "windows", "Linux"), ("Solaris", None, "Linux")],
)
def test_the_platform_is_one_that_the_api_knows(told: str | None, ami_platform: str | None, platform: str) -> None:
    """A task without a platform, or with one that the API does not know, takes it from the AMI."""
    ami = AMI._replace(platform=ami_platform)
    assert request(TASK._replace(platform=told), ami).platform == platform


@pytest.mark.parametrize(
    ("description", "os_version"),
    [
        ("AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS - 5.4.0-96-generic", "Ubuntu 20.04.3 LTS"),
        ("AWS-VMImport service: Linux - CentOS Linux release 7.9.2009 (Core)", "CentOS Linux release 7.9.2009 (Core)"),
        ("AWS-VMImport service: Linux - Red Hat 8 - Ootpa - 4.18.0-305.el8", "Red Hat 8 - Ootpa"),
        ("AWS-VMImport service: Windows - Windows Server 2019", "Windows Server 2019"),
        ("AWS-VMImport service: Linux", None),
        ("Web server", None),
        ("", None),
        (None, None),
    ],
)
def test_the_release_is_read_from_the_ami(description: str | None, os_version: str | None) -> None:
    """The osVersion is what VM Import found out about the system, without the kernel; nothing else is taken for it."""
    assert request(TASK, AMI._replace(description=description)).os_version == os_version


@pytest.mark.parametrize(
    "url",
    [
        "https://h.example:8443/w.ova?Signature=s3cr3t",
        "https://user:s3cr3t@h.example:8443/w.ova",
        "https://h.example:8443/w.ova#s3cr3t",
        "https://h.example:8443/w.ova;s3cr3t",
    ],
)
def test_no_secret_of_a_url_is_passed_on(url: str) -> None:
    """Whoever may see the image may not yet fetch the disk."""
    made = request(TASK._replace(disks=(Disk(url=url),)))
    assert made.tags["vm-image-import:source"] == "https://h.example:8443/w.ova"
    assert "s3cr3t" not in str(made)


@pytest.mark.parametrize(("of_task", "of_ami", "tag"), [("arm64", "x86_64", "arm64"), (None, "x86_64", "x86_64")])
def test_what_the_task_does_not_tell_the_ami_does(of_task: str | None, of_ami: str, tag: str) -> None:
    """EC2 leaves fields out of the task that the AMI has."""
    task = TASK._replace(architecture=of_task)
    tags = request(task, AMI._replace(architecture=of_ami)).tags
    assert tags["vm-image-import:architecture"] == tag


def test_only_the_import_makes_provenance() -> None:
    """A tag that pretends to tell where the image came from is left out."""
    task = BARE._replace(tags={"vm-image-import:source": "s3://forged/x"})
    settings = Settings(tags={"vm-image-import:boot-mode": "forged"})
    assert set(derivation(task, AMI, None, settings).request.tags) == {
        "vm-image-import:task-id",
        "vm-image-import:ami-id",
        "vm-image-import:architecture",
    }


def test_tags_are_merged() -> None:
    """Provenance, payload, configuration, task: earlier wins. Directive tags and `aws:` tags are no image tags."""
    overrides = Overrides(tags={"Team": "post", "vm-image-import:ami-id": "forged"})
    settings = Settings(tags={"Team": "ops", "Cost": "7"})
    tags = derivation(FULL, AMI, overrides, settings).request.tags
    own = {key: value for key, value in tags.items() if not key.startswith("vm-image-import:")}
    assert own == {"Team": "post", "Cost": "7"}
    assert tags["vm-image-import:ami-id"] == AMI.id
    assert derivation(FULL, AMI, None, settings).request.tags["Team"] == "ops"
    assert derivation(FULL, AMI).request.tags["Team"] == "mail"


def test_tags_that_the_api_refuses_are_left_out_and_told() -> None:
    """A key outside the API's pattern, a value over 256 characters and what is over 50 tags never reach the API."""
    many = {f"t{number:02}": "x" for number in range(60)}
    task = TASK._replace(tags={"a&b": "x", "k" * 129: "x", "long": "x" * 257, "short": "x" * 256, **many})
    derived = derivation(task)
    assert len(derived.request.tags) == 50
    assert derived.request.tags["short"] == "x" * 256
    assert {"a&b", "k" * 129, "long", "t59"} <= set(derived.dropped_tags)
    assert len(derived.dropped_tags) + 50 == 6 + 64


def test_all_tags_of_a_payload_reach_the_image() -> None:
    """As many tags as a payload may have are on the image, also where its name is respelled."""
    given = {f"t{number:02}": "x" for number in range(43)}
    derived = derivation(FULL._replace(tags={"Name": "web@server"}), AMI, Overrides(tags=given))
    assert derived.request.tags["vm-image-import:name"] == "web@server"
    assert given.items() <= derived.request.tags.items()
    assert (len(derived.request.tags), derived.dropped_tags, derived.unused_tags) == (50, (), [])
    with pytest.raises(InvalidTriggerError, match="tags must contain"):
        events.parse({"importTaskId": FULL.id, "tags": {**given, "more": "x"}})


def test_a_stated_tag_that_is_left_out_is_a_warning() -> None:
    """Tags of the configuration for which those of a payload leave no room are one warning; a task's own are none."""
    given = {f"t{number:02}": "x" for number in range(42)}
    settings = Settings(tags={"Cost": "7", "Shop": "x", "Team": "ops"})
    derived = derivation(FULL._replace(tags={"Own": "x"}), AMI, Overrides(tags=given), settings)
    assert derived.dropped_tags == ("Team", "Own")
    assert derived.unused_tags == ["An image has at most 50 tags. These stated ones are left out: Team."]


def test_the_order_of_tags_does_not_matter() -> None:
    """EC2 may list a task's tags in any order: which of too many are taken is always the same."""
    many = {f"t{number:02}": "x" for number in range(60)}
    backwards = dict(reversed(many.items()))
    assert list(request(TASK._replace(tags=many)).tags) == list(request(TASK._replace(tags=backwards)).tags)


def test_what_was_stated_and_cannot_be_used_is_rejected_at_once() -> None:
    """A stated name or version never silently becomes another one, and every problem is named."""
    with pytest.raises(RejectedError) as caught:
        request(TASK, AMI, Overrides(name="???", semantic_version="1.4.2-rc1"))
    assert len(caught.value.problems) == 2
    assert "'???'" in caught.value.problems[0]
    assert "'1.4.2-rc1'" in caught.value.problems[1]
    assert "write it like 1.4.2" in caught.value.problems[1]


@pytest.mark.parametrize("version", ["latest", "1.4.2-rc1", "1.2.3.4", "20269999", "1073741824.0.0", ""])
def test_a_version_tag_that_is_no_version_is_rejected(version: str) -> None:
    """It must not become a date: the highest version stays the highest for every recipe."""
    with pytest.raises(RejectedError, match="tag Version"):
        request(TASK._replace(tags={"Version": version}))


def test_the_client_token_is_the_imports_own() -> None:
    """One import has one token for ever, within the API's length; another import, account or Region has another."""
    token = make_client_token(AwsEnvironment("aws", "us-east-1", "123456789012"), "import-ami-fg4d51t0")
    others = {
        make_client_token(AwsEnvironment("aws", "us-east-1", "123456789013"), "import-ami-fg4d51t0"),
        make_client_token(AwsEnvironment("aws", "us-east-2", "123456789012"), "import-ami-fg4d51t0"),
        make_client_token(AwsEnvironment("aws", "us-east-1", "123456789012"), "import-ami-fg4d51t1"),
    }
    assert token == "74ec987f-f548-5332-b0ad-df546b4810f3"  # noqa: S105 no secret
    assert len(token) == 36
    assert len(others - {token}) == 3


@pytest.mark.parametrize(
    ("scheme", "existing", "version", "source"),
    [
        ("date", ["3.0.0"], "2026.11.23", "date of the AMI"),
        ("timestamp", ["3.0.0"], "20261123.101500.0", "time of the AMI"),
        ("increment", [], "1.0.0", "next patch of the name"),
        ("increment", ["1.9.0", "1.10.4", "1.2.30"], "1.10.5", "next patch of the name"),
        ("increment", ["2021.01.09"], "2021.1.10", "next patch of the name"),
    ],
)
def test_the_scheme_gives_the_version_that_nobody_states(
    scheme: VersionScheme, existing: list[str], version: str, source: str
) -> None:
    """What comes from the import itself is the same at every repeat; an increment is higher than all there is."""
    derived = derivation(BARE, AMI, None, Settings(version_scheme=scheme), existing)
    assert (derived.request.semantic_version, derived.sources["semanticVersion"]) == (version, source)
    stated = derivation(TASK, AMI, None, Settings(version_scheme=scheme), existing)
    assert stated.request.semantic_version == "1.4.2"


def test_a_version_that_cannot_be_incremented_has_no_next() -> None:
    """The API's highest node has no successor, and a lower version would never be the newest."""
    assert versions.after(["1.0.1073741823"]) is None
    assert versions.after(["1.0.1073741822"]) == "1.0.1073741823"


def test_the_carriers_can_be_other_tags() -> None:
    """An organisation keeps its own tag keys; the usual ones are then ordinary tags."""
    settings = Settings(name_tag="vm:name", version_tag="vm:version", os_version_tag="vm:os")
    tags = {"vm:name": "mail gw", "vm:version": "v3", "vm:os": "Debian 12", "Name": "x" * 5, "Version": "latest"}
    derived = derivation(TASK._replace(tags=tags), AMI, None, settings)
    made = derived.request
    assert (made.name, made.semantic_version, made.os_version) == ("mail gw", "3.0.0", "Debian 12")
    assert (made.tags["Name"], made.tags["Version"]) == ("xxxxx", "latest")
    assert not set(settings.directive_tags) & set(made.tags)
    assert derived.sources["name"] == "tag vm:name"
    with pytest.raises(RejectedError, match="tag vm:version 'latest'"):
        derivation(TASK._replace(tags={"vm:version": "latest"}), AMI, None, settings)


def test_the_configured_log_group_is_passed_on() -> None:
    """Where it is not configured, Image Builder uses its own default."""
    derived = derivation(TASK, AMI, None, Settings(image_log_group="/aws/imagebuilder/imports"))
    assert derived.request.parameters()["loggingConfiguration"] == {"logGroupName": "/aws/imagebuilder/imports"}
    assert "loggingConfiguration" not in request().parameters()


def test_every_part_tells_its_source() -> None:
    """A person sees why an image is called what it is called."""
    assert derivation(FULL, AMI, OVERRIDES).sources == dict.fromkeys(
        ("name", "semanticVersion", "platform", "osVersion", "description"), "payload"
    )
    assert derivation(TASK).sources == {
        "name": "file name",
        "semanticVersion": "file name",
        "platform": "task",
        "osVersion": "AMI description",
        "description": "import",
    }
    folder = TASK._replace(disks=(Disk(bucket="b", key="web/1.4.2/web.ova"),))
    assert derivation(folder).sources["name"] == "file name"
    assert derivation(folder).sources["semanticVersion"] == "folder"
    above = TASK._replace(disks=(Disk(url="https://h.example/web/disk-1.4.2.ova"),))
    assert derivation(above).sources["name"] == "folder"
    assert derivation(above).sources["semanticVersion"] == "file name"
    assert derivation(BARE, BARE_AMI).sources == {
        "name": "task id",
        "semanticVersion": "date of the AMI",
        "platform": "AMI",
        "description": "import",
    }


def test_a_key_format_states_name_and_version() -> None:
    """A configured format states what it has; payload and tags go before it, the rules of file names behind it."""
    settings = Settings(key_formats=["{name}/{version}/*.ova", "builds/{name}-*.ova"])
    of = {
        key: TASK._replace(disks=(Disk(bucket="b", key=key),))
        for key in ("x/web/3/a-9.9.9.ova", "builds/mail-1.4.2.ova")
    }
    stated, without = (derivation(task, settings=settings) for task in of.values())
    assert (stated.request.name, stated.request.semantic_version) == ("web", "3.0.0")
    assert stated.sources["name"] == stated.sources["semanticVersion"] == "key format {name}/{version}/*.ova"
    # The format has no version: the next source is the file.
    assert without.request.semantic_version == "1.4.2"
    assert without.sources["semanticVersion"] == "file name"
    tagged = of["x/web/3/a-9.9.9.ova"]._replace(tags={"Name": "mail gw", "Version": " 2 "})
    assert derivation(tagged, settings=settings).request.name == "mail gw"
    assert derivation(tagged, settings=settings).request.semantic_version == "2.0.0"
    assert derivation(tagged, AMI, OVERRIDES, settings).request.semantic_version == "4.5.0"


def test_a_tag_in_another_case_states_nothing_and_is_said() -> None:
    """It may belong to another tool; where the right one or a payload states the part, there is nothing to say."""
    task = TASK._replace(tags={"version": "9", "NAME": "x", "osversion": "y", "team": "z"})
    derived = derivation(task)
    assert derived.similar_tags == {"NAME": "Name", "osversion": "OsVersion", "version": "Version"}
    assert (derived.request.name, derived.request.tags["version"]) == ("web-server", "9")
    assert derivation(task, AMI, OVERRIDES).similar_tags == {}
    both = TASK._replace(tags={"version": "9", "Version": "2", "Name": "web"})
    assert derivation(both).similar_tags == {}
    assert derivation(TASK).similar_tags == {}
