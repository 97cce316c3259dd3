"""Each rule of the derivation at its edges: whoever changes a single one learns of it here."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.unit.test_derive import AMI, BARE, BARE_AMI, TASK, derivation, request
from tests.unit.test_settings import REQUIRED
from vm_image_import.derive import disks, identify, names, versions
from vm_image_import.domain.errors import RejectedError
from vm_image_import.domain.models import Ami, Disk, ImportTask, Overrides
from vm_image_import.settings import Settings, VersionScheme


def test_a_key_goes_before_a_url() -> None:
    """The object itself is what was imported; a URL beside it changes nothing, an empty key counts as none."""
    assert disks.read(Disk(key="web-1.4.2.ova", url="https://h.example/other-2.0.ova")) == ("web", "1.4.2")
    assert disks.read(Disk(bucket="b", url="https://h.example/other-2.0.ova")) == ("other", "2.0.0")
    assert disks.read(Disk(bucket="b", key="", url="https://h.example/other-2.0.ova")) == ("other", "2.0.0")


@pytest.mark.parametrize(
    ("text", "name"), [("web\tserver\n1", "web-server-1"), ("web\u1680server", "web server"), ("web\u2028x", "web x")]
)
def test_only_the_plain_space_is_kept(text: str, name: str) -> None:
    """Other white space is not in the API's pattern; spaces of other scripts become plain ones."""
    assert names.normalise(text) == name


@pytest.mark.parametrize(
    ("name", "arn_name"), [("Web Server_1", "web-server-1"), ("a  b__c", "a--b--c"), ("a-b", "a-b")]
)
def test_the_arn_has_hyphens_for_spaces_and_underscores(name: str, arn_name: str) -> None:
    """Each of them becomes one hyphen, as Image Builder writes it."""
    assert names.arn_name(name) == arn_name


def test_the_second_is_taken_in_utc() -> None:
    """The `timestamp` scheme gives the same version wherever the time is told, and the afternoon is not the night."""
    afternoon = datetime(2026, 1, 5, 23, 30, 7, tzinfo=timezone(timedelta(hours=2)))
    assert versions.of_second(afternoon) == "20260105.213007.0"


@pytest.mark.parametrize(("existing", "version"), [("1.0.1073741822", "1.0.1073741823"), ("1.0.1073741823", None)])
def test_the_highest_patch_is_reached_and_not_passed(existing: str, version: str | None) -> None:
    """The API's highest node is a version like any other."""
    assert versions.after([existing]) == version


@pytest.mark.parametrize(
    ("description", "os_version"),
    [
        ("AWS-VMImport service: Linux - Debian 12 - Bookworm", "Debian 12 - Bookworm"),
        ("AWS-VMImport service: Linux - SUSE 15 - 3 pack - 5.3.18-22-default", "SUSE 15 - 3 pack"),
        ("AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS - 5.4.0-96-generic ", "Ubuntu 20.04.3 LTS"),
        ("Web - front end", None),
    ],
)
def test_the_release_is_read_from_the_ami(description: str, os_version: str | None) -> None:
    """Only a kernel at the end is left off."""
    assert request(TASK, AMI._replace(description=description)).os_version == os_version


def test_the_osversion_is_not_read_from_the_tasks_description() -> None:
    """A person may write there what VM Import writes elsewhere."""
    told = BARE._replace(description="AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS")
    assert request(told, BARE_AMI).os_version is None


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (TASK._replace(tags={"Name": " mail/gw: büro "}), "mail-gw- buro"),
        (BARE._replace(description="Mail gateway (prod)"), "Mail gateway -prod"),
    ],
)
def test_every_source_of_the_name_is_folded(task: ImportTask, name: str) -> None:
    """A tag or a description holds what the API's pattern does not take."""
    assert request(task).name == name


@pytest.mark.parametrize("scheme", ["date", "timestamp"])
def test_only_increment_asks_for_existing_versions(scheme: VersionScheme) -> None:
    """The version of the other schemes is known without a call."""
    _, version = identify(BARE, AMI, Overrides(), Settings(version_scheme=scheme))
    assert version is not None


@pytest.mark.parametrize("name", ["x", "db", "", " ", "???", "-_-", "\ue000\ue001\ue002\ue003"])
def test_a_stated_name_that_cannot_be_used_is_rejected(name: str) -> None:
    """A tag or a payload with fewer than 3 usable characters never silently becomes the file's name."""
    with pytest.raises(RejectedError, match=r"tag Name .* leaves fewer than 3 characters .*: write a longer one"):
        request(TASK._replace(tags={"Name": name}))
    with pytest.raises(RejectedError, match=r"^name .* leaves fewer than 3 characters .*: write a longer one"):
        request(TASK, AMI, Overrides(name=name))


def test_a_payload_goes_before_a_tag_that_cannot_be_used() -> None:
    """Who states a name manually needs not fix the task's tag."""
    assert request(TASK._replace(tags={"Name": "x"}), AMI, Overrides(name="mail gw")).name == "mail gw"


@pytest.mark.parametrize("overrides", [Overrides(name=""), Overrides(semantic_version="")])
def test_what_is_stated_empty_is_rejected(overrides: Overrides) -> None:
    """Empty is stated, not absent."""
    with pytest.raises(RejectedError):
        request(TASK._replace(tags={"Name": "mail gw", "Version": "v3"}), AMI, overrides)


def test_without_a_log_group_the_request_says_none() -> None:
    """An empty setting is no setting."""
    assert request().log_group is None


@pytest.mark.parametrize(
    "key",
    [
        "a b",
        "a_b",
        "a.b",
        "a:b",
        "a/b",
        "a=b",
        "a+b",
        "a-b",
        "a@b",
        "aws",
        "awsome",
        "AWS:x",
        "VM-Image-Import:x",
        "k" * 128,
    ],
)
def test_a_key_that_the_api_takes_is_kept(key: str) -> None:
    """Each character of the API's pattern, and its whole length."""
    assert request(TASK._replace(tags={key: "x"})).tags[key] == "x"


@pytest.mark.parametrize("key", ["", "é", "a\u0661", "a\u00a0b", "k" * 129, "a,b", "a\tb"])
def test_a_key_that_the_api_refuses_is_left_out(key: str) -> None:
    """Whatever the source is."""
    derived = derivation(TASK._replace(tags={key: "x"}))
    assert key not in derived.request.tags
    assert derived.dropped_tags == (key,)


def test_a_configured_tag_of_aws_is_left_out() -> None:
    """The prefix is AWS's own, wherever it comes from; a task's own is not even told."""
    derived = derivation(settings=Settings(tags={"aws:x": "y"}))
    assert derived.dropped_tags == ("aws:x",)
    assert derivation(TASK._replace(tags={"aws:x": "y"})).dropped_tags == ()


def test_carriers_are_left_out_of_the_tasks_own_tags_only() -> None:
    """Who states a tag called Name for the image gets it."""
    tags = derivation(TASK, AMI, Overrides(tags={"Name": "shown"}), Settings(tags={"Version": "shown"})).request.tags
    assert (tags["Name"], tags["Version"]) == ("shown", "shown")


@pytest.mark.parametrize(
    ("of_task", "of_ami", "tag"), [("arm64", "x86_64", "arm64"), (None, "x86_64", "x86_64"), ("arm64", None, "arm64")]
)
def test_the_task_is_asked_before_the_ami(of_task: str | None, of_ami: str | None, tag: str) -> None:
    """What one does not tell, the other does."""
    tags = request(TASK._replace(architecture=of_task), AMI._replace(architecture=of_ami)).tags
    assert tags["vm-image-import:architecture"] == tag


@pytest.mark.parametrize(
    ("of_task", "of_ami", "tag"),
    [
        ("legacy_bios", "uefi", "legacy-bios"),
        ("uefi_preferred", None, "uefi-preferred"),
        ("uefi", "legacy-bios", "uefi"),
        (None, "legacy-bios", "legacy-bios"),
        ("", "uefi", "uefi"),
        (None, None, None),
    ],
)
def test_the_boot_mode_is_spelled_as_the_ami_has_it(of_task: str | None, of_ami: str | None, tag: str | None) -> None:
    """The task's `legacy_bios` is the AMI's `legacy-bios`, and no boot mode is no tag."""
    tags = request(TASK._replace(boot_mode=of_task), AMI._replace(boot_mode=of_ami)).tags
    assert tags.get("vm-image-import:boot-mode") == tag


@pytest.mark.parametrize(
    ("devices", "boot"),
    [
        (("/dev/sde", "/dev/sda1"), 1),
        (("/dev/sdf", "/dev/xvda"), 1),
        (("/dev/xvda", "/dev/sda1"), 1),
        (("/dev/sda1", "/dev/sda1"), 0),
        (("/dev/sdf", "/dev/sde"), 0),
        ((None, None), 0),
        ((None, "/dev/sda1"), 1),
        (("/dev/sda", "/dev/sda2"), 0),
    ],
)
def test_the_boot_disk_is_told_by_its_device(devices: tuple[str | None, ...], boot: int) -> None:
    """`/dev/sda1` or `/dev/xvda` names the import, wherever it is listed; without them the first disk does."""
    disks_of_task = tuple(Disk(key=f"web-{place}.{place}.ova", device_name=name) for place, name in enumerate(devices))
    task = TASK._replace(disks=disks_of_task)
    assert task.boot_disk == disks_of_task[boot]
    assert request(task).semantic_version == f"{boot}.{boot}.0"


def test_an_import_without_disks_has_an_empty_boot_disk() -> None:
    """EC2 may leave out the disks."""
    assert BARE.boot_disk == Disk()


@pytest.mark.parametrize("scheme", ["date", "timestamp", "increment"])
def test_every_scheme_can_be_configured(scheme: str) -> None:
    """The three of the contract."""
    assert Settings.from_environment({"VERSION_SCHEME": scheme, **REQUIRED}).version_scheme == scheme


@pytest.mark.parametrize(
    ("name", "is_import"),
    [
        ("import-ami-fg4d51t0", True),
        ("import-ami-0123456789abcdef0", True),
        ("import-ami-0123456789abcdef01", True),
        ("import-ami-fg4d51t", False),
        ("import-ami-FG4D51T0", False),
        ("import-ami-fg4d51t0 (copy)", False),
        ("my-import-ami-fg4d51t0", False),
        ("", False),
    ],
)
def test_an_ami_of_an_import_is_named_like_its_task(name: str, *, is_import: bool) -> None:
    """Ids of 8 and more characters; a name that only begins like one is somebody's own."""
    assert Ami("ami-0abcdef1234567890", datetime(2026, 11, 23, tzinfo=UTC), name=name).import_task_id == (
        name if is_import else None
    )


@pytest.mark.parametrize(
    ("disk", "source"),
    [
        (Disk(bucket="b", key="k?x.ova"), "s3://b/k?x.ova"),
        (Disk(bucket="b", key="k.ova", url="https://h.example/other.ova"), "s3://b/k.ova"),
        (Disk(bucket="b", url="https://h.example/w.ova"), "https://h.example/w.ova"),
        (Disk(key="k.ova", url="https://h.example/w.ova"), "https://h.example/w.ova"),
        (Disk(url="https://h.example:8443/w.ova?Signature=a?b"), "https://h.example:8443/w.ova"),
        (Disk(url="https://h.example/w.ova;token=a?b#c"), "https://h.example/w.ova"),
        (Disk(url="https://user:secret@h.example/w.ova"), "https://h.example/w.ova"),
        (Disk(url="https://[prod]/w.ova"), None),
        (Disk(url="/w.ova"), None),
        (Disk(url=""), None),
        (Disk(url="s3://b/K.ova"), "s3://b/K.ova"),
        (Disk(bucket="b"), None),
        (Disk(key="k.ova"), None),
        (Disk(), None),
    ],
)
def test_the_source_of_a_disk_holds_no_secret(disk: Disk, source: str | None) -> None:
    """It goes into tags, descriptions and logs."""
    assert disk.source == source


def test_only_the_end_of_a_long_segment_is_read() -> None:
    """A key has at most 1024 bytes; of a longer segment the end tells extension and version."""
    assert disks.read(Disk(url=f"https://h.example/{'x' * 2000}web-1.4.2.ova")) == ("x" * 128, "1.4.2")
    assert disks.read(Disk(bucket="b", key="a" * 10 + "-" + "b" * 1009 + ".ova")).name == ("a" * 10 + "-" + "b" * 117)
    assert disks.read(Disk(bucket="b", key="c" + "-" * 1019 + "web.ova")).name == "web"


def test_a_segment_is_cut_at_1024() -> None:
    """One character more than a key can have is one too many."""
    assert disks.read(Disk(url="https://h.example/y" + "-" * 1016 + "web.ova")).name == "y-web"
    assert disks.read(Disk(url="https://h.example/y" + "-" * 1017 + "web.ova")).name == "web"


def test_a_number_of_any_length_is_no_error() -> None:
    """Python refuses to read more than 4300 digits."""
    assert versions.parse("v" + "9" * 5000) is None
