"""`make demo`: imports several VMs on the local AWS and shows what became of each.

Exits with 1 when anything is not as it should be.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from infra.configuration import CONTEXT_KEY, Configuration
from local.aws import functions
from local.aws.local_aws import LocalAws

_ROOT: Final = Path(__file__).resolve().parent.parent
_ASSEMBLY: Final = _ROOT / ".build/demo"
_STACK: Final = "VmImageImport"
_BUCKET: Final = "vm-exports"
_STEPS: Final = 12
"""More than any import takes."""
_UBUNTU: Final = {"platform": "Linux", "os": "Ubuntu 22.04.3 LTS - 5.15.0-97-generic"}
_UNSUPPORTED: Final = "ClientError: Unsupported kernel version 4.15.0-1021-aws"


@dataclass(frozen=True)
class Vm:
    """One exported VM: its disks, how it is imported, and what has to become of it."""

    what: str
    keys: Sequence[str]
    found: Mapping[str, str]
    """What VM import finds on the disk."""
    tags: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    """`NAME/VERSION` in the ARN, `{day}` being the AMI's creation day; None where there must be no image."""
    system: tuple[str, str] = ("Linux", "Ubuntu 22.04.3 LTS")
    """The image's platform and osVersion."""
    event_lost: bool = False
    """Whether EventBridge loses the event of its AMI."""


VMS: Final = (
    Vm("Linux OVA", ["exports/web-server-1.4.2.ova"], _UBUNTU, {"Team": "web"}, "web-server/1.4.2"),
    Vm("Linux OVA, dated", ["exports/billing_2026-11-20.ova"], _UBUNTU, image="billing/2026.11.20"),
    Vm(
        "Windows VHDX, tagged",
        ["exports/disk0.vhdx"],
        {"platform": "Windows"},
        {"Name": "Windows Base", "Version": "2019.11", "OsVersion": "Windows Server 2019"},
        "windows-base/2019.11.0",
        ("Windows", "Windows Server 2019"),
    ),
    Vm(
        "Appliance of two disks",
        ["exports/mail-gw/mail-gw-disk1.vmdk", "exports/mail-gw/mail-gw-disk2.vmdk"],
        _UBUNTU,
        image="mail-gw/{day}",
    ),
    Vm("Linux OVA, event lost", ["exports/wiki-3.1.ova"], _UBUNTU, image="wiki/3.1.0", event_lost=True),
    Vm("Linux OVA, too old", ["exports/legacy-2.0.ova"], {"status-message": _UNSUPPORTED}),
)


def main() -> int:
    """Run the demo and return its exit status."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print("Synthesising the stack with the CDK …")
    # Every key, and in a folder of its own: the settings in this checkout are for deployments.
    context = f"{CONTEXT_KEY}={json.dumps(Configuration().as_context())}"
    synth = [str(_ROOT / "node_modules/.bin/cdk"), "synth", "--quiet", "--output", str(_ASSEMBLY), "--context", context]
    if subprocess.run(synth, cwd=_ROOT, check=False).returncode:
        console.print("[red]The stack cannot be synthesised.")
        return 1
    console.print("Starting the local AWS and deploying to it …")
    with LocalAws() as cloud:
        cloud.deploy(_ASSEMBLY, _STACK)
        console.print(f"Importing {len(VMS)} VMs, and registering an AMI that is no import …")
        tasks = {_import(cloud, vm): vm for vm in VMS}
        cloud.lost |= {task for task, vm in tasks.items() if vm.event_lost}
        other_ami = cloud.client("ec2").register_image(Name="golden-base-2026", Architecture="x86_64")["ImageId"]
        _watch(cloud, tasks, console)
        console.print("Sweeping, as the schedule does: what no event has led to is registered, what failed is told …")
        for _ in range(2):
            cloud.sweep()
            cloud.step()
        answers = {**_answers(), **{task: _ask(cloud, task) for task, vm in tasks.items() if not vm.image}}
        published = cloud.published()
        found = list(_images(cloud))
        images = {image["tags"]["vm-image-import:task-id"]: image for image in found}
        console.print(_table(tasks, answers, images))
        console.print(f"{len(published)} notifications. One of each kind, as e-mail:")
        kinds = {each.attributes["outcome"]: each for each in published}
        for each in kinds.values():
            console.print(each.subject, style="bold", markup=False)
            console.print(f"{each.forms['email']}\n", soft_wrap=True, markup=False)
        console.print("The last one, as a queue or a function gets it:")
        console.print_json(kinds["IMPORT_FAILED"].forms["sqs"])
        problems = [*_problems(cloud, tasks, answers, images), *_problems_with_ignored(other_ami)]
        told = sorted(each.attributes["outcome"] for each in published)
        ends = ["IMAGE_AVAILABLE" if vm.image else "IMPORT_FAILED" for vm in VMS]
        if told != sorted([*ends, *("REGISTERED" for vm in VMS if vm.image)]):
            problems.append(f"Each fact should have been told once: {told}")
        if len(found) != len([vm for vm in VMS if vm.image]):
            problems.append(f"There should be one image for each VM that has one: {[image['arn'] for image in found]}")
    for problem in problems:
        console.print(f"[red]{problem}")
    if not problems:
        console.print(f"[green]{len(images)} images, as expected; {other_ami} is no import and was ignored:")
        for image in images.values():
            # Whole, whatever the terminal's width: to be copied.
            console.print(image["arn"], soft_wrap=True)
    return 1 if problems else 0


def _import(cloud: LocalAws, vm: Vm) -> str:
    """Upload the disks, start the import, and return the task's id."""
    s3, ec2 = cloud.client("s3"), cloud.client("ec2")
    s3.create_bucket(Bucket=_BUCKET)
    for key in vm.keys:
        s3.put_object(Bucket=_BUCKET, Key=key, Body=b"disk", Metadata=vm.found)
    tags = [{"Key": key, "Value": value} for key, value in vm.tags.items()]
    task: str = ec2.import_image(
        DiskContainers=[{"UserBucket": {"S3Bucket": _BUCKET, "S3Key": key}} for key in vm.keys],
        TagSpecifications=[{"ResourceType": "import-image-task", "Tags": tags}] if tags else [],
    )["ImportTaskId"]
    return task


def _watch(cloud: LocalAws, tasks: Mapping[str, Vm], console: Console) -> None:
    """Let time pass until nothing moves any more, and show how the imports go."""
    ec2 = cloud.client("ec2")
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}")
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {
            task: progress.add_task(f"{task}  {vm.what}", total=100, status="") for task, vm in tasks.items()
        }
        for _ in range(_STEPS):
            cloud.step()
            for task in ec2.describe_import_image_tasks(ImportTaskIds=list(tasks))["ImportImageTasks"]:
                status = task.get("StatusMessage", task["Status"])
                completed = float(task.get("Progress", 100))
                progress.update(bars[task["ImportTaskId"]], completed=completed, status=status)


def _output(cloud: LocalAws, key: str) -> str:
    """Return an output of the stack."""
    outputs = cloud.client("cloudformation").describe_stacks(StackName=_STACK)["Stacks"][0]["Outputs"]
    return next(str(output["OutputValue"]) for output in outputs if output["OutputKey"] == key)


def _ask(cloud: LocalAws, task: str) -> dict[str, Any]:
    """Invoke the function by hand, as the console's Test tab does."""
    payload, name = json.dumps({"importTaskId": task}), _output(cloud, "FunctionName")
    answer = cloud.client("lambda").invoke(FunctionName=name, Payload=payload)["Payload"].read()
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def _answers() -> dict[str, dict[str, Any]]:
    """Return what the function answered to events, by import task."""
    answers = (json.loads(invocation.result.payload) for invocation in functions.invocations())
    return {answer["importTaskId"]: answer for answer in answers if "importTaskId" in answer}


def _sources() -> dict[str, dict[str, str]]:
    """Return where the function says that it took names and versions from, by import task."""
    lines = (line for invocation in functions.invocations() for line in invocation.result.logs.splitlines())
    entries = (json.loads(line) for line in lines if line.startswith("{"))
    return {entry["importTaskId"]: entry["sources"] for entry in entries if "sources" in entry}


def _images(cloud: LocalAws) -> Iterator[dict[str, Any]]:
    """Yield every build of every image, read back from Image Builder."""
    image_builder = cloud.client("imagebuilder")
    for page in image_builder.get_paginator("list_images").paginate(owner="Self"):
        for version in page["imageVersionList"]:
            builds = image_builder.list_image_build_versions(imageVersionArn=version["arn"])["imageSummaryList"]
            for build in builds:
                yield image_builder.get_image(imageBuildVersionArn=build["arn"])["image"]


def _table(
    tasks: Mapping[str, Vm], answers: Mapping[str, dict[str, Any]], images: Mapping[str, dict[str, Any]]
) -> Table:
    table = Table(show_lines=True)
    for column in ("import task", "derived from", "image", "state", "tags"):
        table.add_column(column, overflow="fold")
    sources = _sources()
    for task, vm in tasks.items():
        image, answer = images.get(task), answers.get(task, {})
        derived = "\n".join(f"{part}: {source}" for part, source in sources.get(task, {}).items())
        origin = "\n".join(f"s3://{_BUCKET}/{key}" for key in vm.keys)
        table.add_row(
            f"{task}\n{vm.what}",
            f"{origin}\n{derived}".strip(),
            image["arn"] if image else answer.get("reason", "no answer"),
            image["state"]["status"] if image else answer.get("outcome", "-"),
            "\n".join(f"{key}={value}" for key, value in image["tags"].items()) if image else "",
        )
    return table


def _problems(
    cloud: LocalAws,
    tasks: Mapping[str, Vm],
    answers: Mapping[str, dict[str, Any]],
    images: Mapping[str, dict[str, Any]],
) -> Iterator[str]:
    """Yield what is not as it should be with the VMs."""
    amis = cloud.client("ec2").describe_images(Owners=["self"])["Images"]
    days = {ami["Name"]: ami["CreationDate"][:10].replace("-", ".") for ami in amis}
    for task, vm in tasks.items():
        image, answer = images.get(task), answers.get(task, {})
        if vm.image:
            expected = f"image/{vm.image.format(day=days.get(task))}/1"
            if image is None or not image["arn"].endswith(f":{expected}"):
                yield f"{task} should have become {expected}: {answer}"
                continue
            if image["state"]["status"] != "AVAILABLE":
                yield f"{image['arn']} should be AVAILABLE: {image['state']}"
            if (image["platform"], image.get("osVersion")) != vm.system:
                yield f"{image['arn']} should be of {vm.system}: {image['platform']}, {image.get('osVersion')}"
            tags = {key: value for key, value in vm.tags.items() if key not in {"Name", "Version", "OsVersion"}}
            tags |= {"vm-image-import:task-id": task, "vm-image-import:source": f"s3://{_BUCKET}/{vm.keys[0]}"}
            if not tags.items() <= image["tags"].items():
                yield f"{image['arn']} should have the tags {tags}: {image['tags']}"
        elif image or answer.get("outcome") != "IMPORT_FAILED" or answer.get("reason") != vm.found["status-message"]:
            yield f"{task} should have failed with '{vm.found['status-message']}': {image or answer}"


def _problems_with_ignored(ami: str) -> Iterator[str]:
    """Yield what is not as it should be with an AMI that is no import."""
    answers = [run.result.payload for run in functions.invocations() if ami.encode() in run.payload]
    if not answers or any(json.loads(answer).get("outcome") != "IGNORED" for answer in answers):
        yield f"{ami} should have been ignored: {answers}"


if __name__ == "__main__":
    sys.exit(main())
