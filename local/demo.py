"""`make demo`: imports several VMs on the local AWS, prints the result of each, and compares it with what is expected.

Exits with 1 if a result is not as expected.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from infra.configuration import CONTEXT_KEY, Configuration
from local.aws import functions
from local.aws.local_aws import LocalAws, PublishedMessage

_ROOT: Final = Path(__file__).resolve().parent.parent
_ASSEMBLY: Final = _ROOT / ".build/demo"
_STACK: Final = "VmImageImport"
_BUCKET: Final = "vm-exports"
_STEPS: Final = 12
"""More than an import takes."""
_UBUNTU: Final = {"platform": "Linux", "os": "Ubuntu 22.04.3 LTS - 5.15.0-97-generic"}
_UNSUPPORTED: Final = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
_NO_BOOT: Final = "FirstBootFailure: This import request failed because the Windows instance failed to boot."


@dataclass(frozen=True)
class Vm:
    """One exported VM: its disks, the import, and the expected image."""

    title: str
    keys: Sequence[str]
    disk: Mapping[str, str]
    """What VM Import finds on the disk."""
    tags: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    """`NAME/VERSION` in the ARN, with `{day}` for the AMI's creation day; None if the import fails."""
    system: tuple[str, str] = ("Linux", "Ubuntu 22.04.3 LTS")
    """The image's platform and osVersion."""
    event_lost: bool = False
    """Whether EventBridge does not deliver the event of the AMI."""


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
        "Appliance, two disks",
        ["exports/mail-gw/mail-gw-disk1.vmdk", "exports/mail-gw/mail-gw-disk2.vmdk"],
        _UBUNTU,
        image="mail-gw/{day}",
    ),
    Vm("Linux OVA, event lost", ["exports/wiki-3.1.ova"], _UBUNTU, image="wiki/3.1.0", event_lost=True),
    Vm("Linux OVA, unsupported", ["exports/legacy-2.0.ova"], {"platform": "Linux", "status-message": _UNSUPPORTED}),
    Vm("Windows VHD, no boot", ["exports/desk-7.vhd"], {"platform": "Windows", "status-message": _NO_BOOT}),
)
_REGISTERED: Final = [vm for vm in VMS if vm.image]


def main() -> int:
    """Run the demo and return its exit status."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print("Synthesizing the stack with the CDK …")
    # Every key, and in a folder of its own: the settings in this checkout are for deployments.
    context = f"{CONTEXT_KEY}={json.dumps(Configuration().as_context())}"
    synth = [str(_ROOT / "node_modules/.bin/cdk"), "synth", "--quiet", "--output", str(_ASSEMBLY), "--context", context]
    if subprocess.run(synth, cwd=_ROOT, check=False).returncode:
        console.print("[red]The stack cannot be synthesized.")
        return 1
    console.print("Starting the local AWS and deploying the stack …")
    with LocalAws() as aws:
        aws.deploy(_ASSEMBLY, _STACK)
        console.print(f"Importing {len(VMS)} VMs, and registering an AMI that is not an import …")
        tasks = {aws.import_vm(_BUCKET, vm.keys, vm.disk, vm.tags): vm for vm in VMS}
        aws.amis_without_events |= {task for task, vm in tasks.items() if vm.event_lost}
        other_ami = aws.client("ec2").register_image(Name="golden-base-2026", Architecture="x86_64")["ImageId"]
        _show_progress(aws, tasks, console)
        console.print(
            "Firing the schedule: the sweep registers the import without an event and reports the failed one …"
        )
        for _ in range(2):
            aws.fire_schedules()
            aws.advance()
        answers = {answer["importTaskId"]: answer for answer in _answers() if "importTaskId" in answer}
        answers |= {task: _invoke(aws, task) for task, vm in tasks.items() if not vm.image}
        notifications = aws.published_messages()
        images = {image["tags"]["vm-image-import:task-id"]: image for image in aws.images()}
        console.print(_table(tasks, answers, images))
        _print_notifications(notifications, console)
        problems = [
            *_vm_problems(aws, tasks, answers, images),
            *_notification_problems(notifications),
            *_other_ami_problems(other_ami),
        ]
        if len(aws.images()) != len(_REGISTERED):
            problems.append(f"Expected {len(_REGISTERED)} images: {[image['arn'] for image in aws.images()]}")
    for problem in problems:
        console.print(f"[red]{problem}")
    if not problems:
        console.print(f"[green]{len(images)} images, as expected; {other_ami} is not an import and was ignored:")
        for image in images.values():
            # Without line breaks: to be copied.
            console.print(image["arn"], soft_wrap=True)
    return 1 if problems else 0


def _output(aws: LocalAws, key: str) -> str:
    """Return an output of the stack."""
    outputs = aws.client("cloudformation").describe_stacks(StackName=_STACK)["Stacks"][0]["Outputs"]
    return next(str(output["OutputValue"]) for output in outputs if output["OutputKey"] == key)


def _show_progress(aws: LocalAws, tasks: Mapping[str, Vm], console: Console) -> None:
    """Advance until every import and image has ended, and show the progress of the imports."""
    ec2 = aws.client("ec2")
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}")
    with Progress(*columns, console=console) as progress:
        bars = {task: progress.add_task(f"{task}  {vm.title}", total=100, status="") for task, vm in tasks.items()}
        for _ in range(_STEPS):
            aws.advance()
            for task in ec2.describe_import_image_tasks(ImportTaskIds=list(tasks))["ImportImageTasks"]:
                status = task.get("StatusMessage", task["Status"])
                completed = float(task.get("Progress", 100))
                progress.update(bars[task["ImportTaskId"]], completed=completed, status=status)


def _invoke(aws: LocalAws, task: str) -> dict[str, Any]:
    """Invoke the function for a task, as the Test tab of the console does."""
    return aws.invoke(_output(aws, "FunctionName"), {"importTaskId": task})


def _answers() -> Iterator[dict[str, Any]]:
    """Yield the function's answers."""
    return (json.loads(invocation.result.payload) for invocation in functions.invocations())


def _sources() -> dict[str, dict[str, str]]:
    """Return the sources of each derived part, by import task, from the function's log."""
    lines = (line for invocation in functions.invocations() for line in invocation.result.logs.splitlines())
    entries = (json.loads(line) for line in lines if line.startswith("{"))
    return {entry["importTaskId"]: entry["sources"] for entry in entries if "sources" in entry}


def _table(
    tasks: Mapping[str, Vm], answers: Mapping[str, dict[str, Any]], images: Mapping[str, dict[str, Any]]
) -> Table:
    table = Table(show_lines=True)
    for column in ("import task", "derived from", "image", "state", "tags"):
        table.add_column(column, overflow="fold")
    sources = _sources()
    for task, vm in tasks.items():
        image, answer = images.get(task), answers.get(task, {})
        disks = [f"s3://{_BUCKET}/{key}" for key in vm.keys]
        derived = [f"{part}: {source}" for part, source in sources.get(task, {}).items()]
        table.add_row(
            f"{task}\n{vm.title}",
            "\n".join([*disks, *derived]),
            image["arn"] if image else answer.get("reason", "no answer"),
            image["state"]["status"] if image else answer.get("outcome", "-"),
            "\n".join(f"{key}={value}" for key, value in image["tags"].items()) if image else "",
        )
    return table


def _print_notifications(notifications: Sequence[PublishedMessage], console: Console) -> None:
    console.print(f"{len(notifications)} notifications. One of each outcome, and every failed import, as e-mail:")
    by_outcome = {each.attributes["outcome"]: each for each in notifications}
    failed = [each for each in notifications if each.attributes["outcome"] == "IMPORT_FAILED"]
    for notification in (*(each for each in by_outcome.values() if each not in failed), *failed):
        console.print(notification.subject, style="bold", markup=False)
        console.print(f"{notification.texts['email']}\n", soft_wrap=True, markup=False)
    console.print("The last one, as a queue or a function receives it:")
    console.print_json(failed[-1].texts["sqs"])


def _vm_problems(
    aws: LocalAws,
    tasks: Mapping[str, Vm],
    answers: Mapping[str, dict[str, Any]],
    images: Mapping[str, dict[str, Any]],
) -> Iterator[str]:
    """Yield what is not as expected in the image or the answer of each VM."""
    amis = aws.client("ec2").describe_images(Owners=["self"])["Images"]
    days = {ami["Name"]: ami["CreationDate"][:10].replace("-", ".") for ami in amis}
    for task, vm in tasks.items():
        image, answer = images.get(task), answers.get(task, {})
        if not vm.image:
            found = {"outcome": answer.get("outcome"), "reason": answer.get("reason"), "image": image}
            reason = vm.disk["status-message"]
            expected: dict[str, object] = {"outcome": "IMPORT_FAILED", "reason": reason, "image": None}
        elif image:
            tags = {key: value for key, value in vm.tags.items() if key not in {"Name", "Version", "OsVersion"}}
            tags |= {"vm-image-import:task-id": task, "vm-image-import:source": f"s3://{_BUCKET}/{vm.keys[0]}"}
            found = {
                "image": image["arn"].partition(":image/")[2],
                "status": image["state"]["status"],
                "system": (image["platform"], image.get("osVersion")),
                "tags": {key: value for key, value in image["tags"].items() if key in tags},
            }
            name = f"{vm.image.format(day=days.get(task))}/1"
            expected = {"image": name, "status": "AVAILABLE", "system": vm.system, "tags": tags}
        else:
            found, expected = answer, {"image": vm.image}
        if found != expected:
            yield f"{task} ({vm.title}): expected {expected}, found {found}"


def _notification_problems(notifications: Sequence[PublishedMessage]) -> Iterator[str]:
    """Yield a problem unless every registration, every available image and every failed import has one notification."""
    expected = [
        *["REGISTERED", "IMAGE_AVAILABLE"] * len(_REGISTERED),
        *["IMPORT_FAILED"] * (len(VMS) - len(_REGISTERED)),
    ]
    if (outcomes := sorted(each.attributes["outcome"] for each in notifications)) != sorted(expected):
        yield f"Expected one notification for each fact: {outcomes}"


def _other_ami_problems(ami: str) -> Iterator[str]:
    """Yield a problem unless the function ignored an AMI that is not an import."""
    answers = [run.result.payload for run in functions.invocations() if ami.encode() in run.payload]
    if not answers or any(json.loads(answer).get("outcome") != "IGNORED" for answer in answers):
        yield f"Expected that {ami} is ignored: {answers}"


if __name__ == "__main__":
    sys.exit(main())
