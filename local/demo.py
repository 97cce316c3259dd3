"""`make demo`: imports several VMs on the local AWS, prints the result of each, and compares it with what is expected.

Exits with 1 if a result is not as expected. `--picture docs/demo.svg` also draws the results, for the README.
"""

import argparse
import io
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
from rich.text import Text

from local.assembly import synthesize
from local.aws import functions
from local.aws.local_aws import LocalAws, PublishedMessage
from local.prose import make_console, print_prose

_STACK: Final = "VmImageImport"
_BUCKET: Final = "vm-exports"
_STEPS: Final = 12
"""More than an import takes."""
_PICTURE_WIDTH: Final = 82
_LOG_TAIL: Final = 2_000
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
PROVED: Final = f"""\
Everything is as expected. What `cdk deploy` ships ran, with its role's rights.
- {len(VMS)} imports, and an AMI that no import made, which was ignored.
- {len(_REGISTERED)} images, each registered once, also the one whose event was lost.
- {len(VMS) - len(_REGISTERED)} failed imports, each with a notification that says why and what to do.
Next: `make derive KEY=exports/web-1.4.2.ova` says what an import will be called;
`make local` keeps this AWS running; `npx --no -- cdk deploy` deploys (README.md)."""
_ENDS: Final = {"completed": "completed", "deleting": "failed", "deleted": "failed"}
"""What the end of an import is called, by the status of its task."""


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--picture", type=Path, help="a file for the results as SVG")
    picture = parser.parse_args().picture
    console = make_console()
    try:
        assembly = synthesize({}, lambda: console.print("Synthesizing the stack with the CDK …"))
        console.print("Deploying what `cdk deploy` ships to an AWS on this machine …")
        with LocalAws() as aws:
            aws.deploy(assembly, _STACK)
            problems = run(aws, console, picture)
    except subprocess.CalledProcessError:
        console.print("The stack cannot be synthesized.", style="red")
        return 1
    except OSError as error:
        console.print(f"The demo cannot run here: {error}", style="red")
        return 1
    return 1 if problems else 0


def run(aws: LocalAws, console: Console, picture: Path | None = None) -> list[str]:
    """Import the VMs, show what became of them, and return what is not as expected.

    Where everything is, `picture` gets the results as SVG.
    """
    console.print(f"Importing {len(VMS)} VMs, and registering an AMI that no import made …")
    tasks = {aws.import_vm(_BUCKET, vm.keys, vm.disk, vm.tags): vm for vm in VMS}
    aws.amis_without_events |= {task for task, vm in tasks.items() if vm.event_lost}
    other_ami = aws.client("ec2").register_image(Name="golden-base-2026", Architecture="x86_64")["ImageId"]
    _show_progress(aws, tasks, console)
    console.print("The sweep runs: it finds the import whose event was lost, and the failed ones …")
    for _ in range(2):
        aws.fire_schedules()
        aws.advance()
    if errors := [run.result for run in functions.invocations() if run.result.error]:
        console.print(
            f"{len(errors)} of {len(functions.invocations())} invocations failed, the first one:", style="red"
        )
        console.print(errors[0].logs.strip()[-_LOG_TAIL:])
        problem = _error(errors[0].payload)
        console.print(problem, style="red")
        return [problem]
    answers = {answer["importTaskId"]: answer for answer in _answers() if "importTaskId" in answer}
    answers |= {task: _invoke(aws, task) for task, vm in tasks.items() if not vm.image}
    notifications = aws.published_messages()
    images = {image["tags"]["vm-image-import:task-id"]: image for image in aws.images()}
    problems = [
        *_vm_problems(aws, tasks, answers, images),
        *_registration_problems(tasks),
        *_notification_problems(notifications),
        *_other_ami_problems(other_ami),
    ]
    if len(aws.images()) != len(_REGISTERED):
        problems.append(f"Expected {len(_REGISTERED)} images: {[image['arn'] for image in aws.images()]}")
    for problem in problems:
        console.print(problem, style="red")
    table = _table_of(tasks, answers, images)
    console.print()
    console.print(table, soft_wrap=False)
    _print_notifications(notifications, console)
    if not problems:
        print_prose(console, PROVED)
        if picture:
            _draw(picture, table)
    return problems


def _error(payload: bytes) -> str:
    """Return the type and the message of an error in Lambda's format."""
    error = json.loads(payload)
    return f"{error.get('errorType')}: {error.get('errorMessage')}"


def _output(aws: LocalAws, key: str) -> str:
    """Return an output of the stack."""
    outputs = aws.client("cloudformation").describe_stacks(StackName=_STACK)["Stacks"][0]["Outputs"]
    return next(str(output["OutputValue"]) for output in outputs if output["OutputKey"] == key)


def _show_progress(aws: LocalAws, tasks: Mapping[str, Vm], console: Console) -> None:
    """Advance until every import and image has ended, and show the progress of the imports."""
    ec2 = aws.client("ec2")
    columns = TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[status]}")
    with Progress(*columns, console=console) as progress:
        bars = {task: progress.add_task(vm.title, total=100, status="") for task, vm in tasks.items()}
        for _ in range(_STEPS):
            aws.advance()
            for task in ec2.describe_import_image_tasks(ImportTaskIds=list(tasks))["ImportImageTasks"]:
                is_active = task["Status"] == "active"
                status = task.get("StatusMessage", "active") if is_active else _ENDS[task["Status"]]
                completed = float(task["Progress"]) if "Progress" in task else None if is_active else 100
                progress.update(bars[task["ImportTaskId"]], completed=completed, status=status)


def _invoke(aws: LocalAws, task: str) -> dict[str, Any]:
    """Invoke the function for a task, as the Test tab of the console does."""
    return aws.invoke(_output(aws, "FunctionName"), {"importTaskId": task})


def _answers() -> Iterator[dict[str, Any]]:
    """Yield the function's answers."""
    return (json.loads(invocation.result.payload) for invocation in functions.invocations())


def _log_entries() -> Iterator[dict[str, Any]]:
    """Yield the entries of the function's log."""
    lines = (line for invocation in functions.invocations() for line in invocation.result.logs.splitlines())
    return (json.loads(line) for line in lines if line.startswith("{"))


def _sources() -> dict[str, dict[str, str]]:
    """Return the sources of each derived part, by import task, from the function's log."""
    return {entry["importTaskId"]: entry["sources"] for entry in _log_entries() if "sources" in entry}


def _table_of(
    tasks: Mapping[str, Vm], answers: Mapping[str, dict[str, Any]], images: Mapping[str, dict[str, Any]]
) -> Table:
    """Return a row for each import: its first disk, the image, and where name and version come from, or the reason."""
    table = Table("imported file", "image", "name and version from", box=None, pad_edge=False)
    sources = _sources()
    for task, vm in tasks.items():
        image, answer, own = images.get(task), answers.get(task, {}), sources.get(task, {})
        file = vm.keys[0].rpartition("/")[2]
        if image:
            origins = dict.fromkeys(own[part] for part in ("name", "semanticVersion") if part in own)
            lost = ["event lost"] if vm.event_lost else []
            table.add_row(file, Text(_image_name(image), "green"), ", ".join((*origins, *lost)))
        else:
            table.add_row(file, Text(answer.get("outcome", "no answer"), "red"), answer.get("reason", ""))
    return table


def _image_name(image: Mapping[str, Any]) -> str:
    """Return NAME/VERSION/BUILD of an image."""
    return str(image["arn"]).partition(":image/")[2]


def _print_notifications(notifications: Sequence[PublishedMessage], console: Console) -> None:
    """Print the first notification of each outcome."""
    console.print(f"\n{len(notifications)} notifications, of each kind one as e-mail:", style="bold")
    by_outcome = {each.attributes["outcome"]: each for each in reversed(notifications)}
    for notification in by_outcome.values():
        console.print(f"\nSubject: {notification.subject}", style="bold", soft_wrap=True)
        print_prose(console, f"\n{notification.texts['email']}", indent="  ")
    console.print()


def _draw(picture: Path, table: Table) -> None:
    """Write the table and what is proved into a file, as SVG."""
    console = Console(record=True, width=_PICTURE_WIDTH, file=io.StringIO(), highlight=False, markup=False)
    console.print(table)
    console.print()
    print_prose(console, PROVED)
    picture.write_text(console.export_svg(title="make demo"), encoding="utf-8")


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
                "image": _image_name(image),
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


def _registration_problems(tasks: Mapping[str, Vm]) -> Iterator[str]:
    """Yield a problem unless the function logged each registration once."""
    found = sorted(entry["importTaskId"] for entry in _log_entries() if entry.get("outcome") == "REGISTERED")
    if found != (expected := sorted(task for task, vm in tasks.items() if vm.image)):
        yield f"Expected that {expected} are registered once each, found {found}"


def _notification_problems(notifications: Sequence[PublishedMessage]) -> Iterator[str]:
    """Yield a problem unless every available image and every failed import has one notification, and nothing else."""
    expected = ["IMAGE_AVAILABLE"] * len(_REGISTERED) + ["IMPORT_FAILED"] * (len(VMS) - len(_REGISTERED))
    if (outcomes := sorted(each.attributes["outcome"] for each in notifications)) != sorted(expected):
        yield f"Expected one notification for each fact: {outcomes}"


def _other_ami_problems(ami: str) -> Iterator[str]:
    """Yield a problem unless the function ignored an AMI that is not an import."""
    answers = [run.result.payload for run in functions.invocations() if ami.encode() in run.payload]
    if not answers or any(json.loads(answer).get("outcome") != "IGNORED" for answer in answers):
        yield f"Expected that {ami} is ignored: {answers}"


if __name__ == "__main__":
    sys.exit(main())
