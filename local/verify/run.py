"""One verification: imports a disk, watches what happens to it, asks what AWS answers, and removes what it made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NetworkError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from local.verify.account import Account, Answer, VerifyError, answer_of, is_denied
from local.verify.assumptions import PROBE_TAG, SECOND_TAG, Finding, Observations
from local.verify.cleanup import Cleanup
from local.verify.deployment import Deployment
from local.verify.imports import FINAL, Imports, Wait
from local.verify.mailbox import Mailbox
from vm_image_import.aws.ec2 import PAGE_SIZE
from vm_image_import.domain.errors import TransientError
from vm_image_import.domain.remedies import find_remedy
from vm_image_import.imports.candidate import LISTED_AFTER
from vm_image_import.imports.steps.run import STEPS
from vm_image_import.records.registration import Registration
from vm_image_import.records.store import Store

_SECONDS: Final = 15
"""Between two looks at the import."""
_MINUTE: Final = 60
_TOKEN_MINUTES: Final = 16
"""For how long a client token is not used, and for how long an event that did not come is waited for."""
_SWEEPS: Final = 3
"""After so many sweeps, what was not done will not be."""
_NETWORK: Final = (HTTPClientError, NetworkError, TransientError)
_UNKNOWN: Final = "import-ami-00000000000000000"
_ENDED: Final = {"completed", "deleted"}


@dataclass(frozen=True)
class Claim:
    """What is proved of the deployment."""

    text: str
    finding: Finding


@dataclass
class Verification:
    """One run. `run` fills `seen`, the observations, and `claims`."""

    account: Account
    deployment: Deployment
    disk: Path
    bucket: str
    id: str
    """Random; part of every name."""
    wait: Wait
    console: Console
    cleanup: Cleanup

    def __post_init__(self) -> None:
        self.seen = Observations()
        settings = self.deployment.settings
        prefix = settings.parameter_prefix
        # A name that the deployment allows.
        patterns = [pattern for pattern in settings.allowed_names if "*" in pattern]
        image = patterns[0].replace("*", self.name) if patterns else self.name
        self._parameter = f"{prefix}/{image}" if prefix else None
        self._mailbox = Mailbox(self.account, self.name)
        tags = {**settings.only_tasks_tagged, settings.name_tag: image, settings.version_tag: "1.0.0"}
        self._imports = Imports(self.account, self.id, tags)
        self._store = Store(self.account.client("dynamodb"), self.deployment.table)
        self._started = datetime.now(UTC)
        self._images: list[str] = []
        self._second: dict[str, object] = {}
        self._failing = self._cancelled = ""
        self._is_cancelled = False
        self._alarm_set = ""

    def run(self) -> None:
        """Run it. Raises VerifyError where the import fails, and botocore's errors where AWS refuses a call."""
        self._mailbox.open(self.deployment.topic, self.cleanup)
        key = self._upload()
        self.cleanup.add(
            f"aws ec2 describe-import-image-tasks: tagged {PROBE_TAG}={self.id}, with images, AMIs, snapshots",
            lambda: self._imports.remove(self.cleanup, self._images, self._parameter, self.wait),
        )
        self.seen.task_id = self._imports.start(self.bucket, key)
        # No upload is needed for a disk that cannot be read.
        self._failing = self._imports.start(self.bucket, f"{self.name}/missing.vmdk")
        self._cancelled = self._imports.start(self.bucket, key)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[status]}"),
            console=self.console,
        ) as progress:
            bar = progress.add_task("Import", total=100, status="")
            self._watch(progress, bar)
            progress.update(bar, description="Questions", status="asking what AWS does not document")
            self._ask()
            self._settle(progress, bar)
        self._finish()

    @property
    def name(self) -> str:
        """The beginning of every name."""
        return f"{PROBE_TAG}-{self.id}"

    @property
    def _ec2(self) -> Any:  # noqa: ANN401 - boto3's
        return self.account.client("ec2")

    @property
    def _builder(self) -> Any:  # noqa: ANN401 - boto3's
        return self.account.client("imagebuilder")

    def _upload(self) -> str:
        s3, key = self.account.client("s3"), f"{self.name}/{self.disk.name}"

        command = f"aws s3 rm 's3://{self.bucket}/{key}'"
        self.cleanup.add(command, lambda: self.cleanup.call(command, s3.delete_object, Bucket=self.bucket, Key=key))
        size = self.disk.stat().st_size
        with Progress(TextColumn("Upload"), BarColumn(bar_width=30), console=self.console) as progress:
            bar = progress.add_task("", total=size)
            s3.upload_file(str(self.disk), self.bucket, key, Callback=lambda sent: progress.advance(bar, sent))
        return key

    def _watch(self, progress: Progress, bar: TaskID) -> None:
        """Look until the import is registered and its steps have ended, or until they will not be."""
        most = (_SWEEPS * self.deployment.sweep_minutes + 10) * _MINUTE / _SECONDS
        after = 0
        while after < most:
            if (task := self._look_again()) is None:
                continue
            status = task.get("StatusMessage", task["Status"])
            progress.update(bar, completed=float(task.get("Progress") or 100), status=status)
            if task["Status"] == "deleted":
                remedy = find_remedy(task.get("StatusMessage"), task.get("Platform"), [self.disk.name])
                message = f"EC2 cannot import {self.disk.name}: {task.get('StatusMessage')} {remedy.text} {remedy.url}"
                raise VerifyError(message)
            if self._steps_ended():
                return
            after += task["Status"] == "completed"
            self.wait(_SECONDS)

    def _look_again(self) -> Mapping[str, Any] | None:
        """Look once, and return the import task; None, a while later, where the network fails: it is a long run."""
        try:
            return self._look()
        except _NETWORK:
            self.wait(_SECONDS)
            return None

    def _steps_ended(self) -> bool:
        try:
            registration = self.registration()
        except TransientError:
            return False
        return registration is not None and not self.steps_left(registration)

    def _look(self) -> Mapping[str, Any]:
        """Look once at everything, and return the import task."""
        seen = self.seen
        self._mailbox.receive()
        tasks = self._imports.tasks()
        task = tasks.get(seen.task_id, {"Status": "unknown"})
        is_active = task["Status"] == "active"
        state = " ".join(filter(None, (task["Status"], task.get("StatusMessage"))))
        if state not in seen.task_states:
            seen.task_states.append(state)
        seen.completed = seen.completed or task["Status"] == "completed"
        if is_active and task.get("ImageId"):
            seen.active_task_named = task["ImageId"]
        self._look_at_ami(task)
        if is_active and seen.ami_id:
            seen.ami_came_first = True
        if not self._is_cancelled and tasks.get(self._cancelled, {}).get("Status") == "active":
            request = {"ImportTaskId": self._cancelled, "CancelReason": PROBE_TAG}
            self._is_cancelled = not answer_of(lambda: self._ec2.cancel_import_task(**request)).code
        for attribute, id_ in (("failed", self._failing), ("cancelled", self._cancelled)):
            other = tasks.get(id_, {})
            if other.get("Status") in _ENDED:
                setattr(seen, attribute, Answer("", other["Status"], other.get("StatusMessage", "")))
        return task

    def _look_at_ami(self, task: Mapping[str, Any]) -> None:
        seen = self.seen
        by_name = {"Owners": ["self"], "Filters": [{"Name": "name", "Values": [seen.task_id]}]}
        try:
            images = self._ec2.describe_images(**({"ImageIds": [ami]} if (ami := task.get("ImageId")) else by_name))
        except ClientError:
            # EC2 may not show it yet.
            return
        for image in images["Images"]:
            if image["State"] == "available":
                seen.ami_id, seen.ami_name = image["ImageId"], image["Name"]
                seen.ami_description, seen.ami_created = image.get("Description", ""), image["CreationDate"]
        if seen.ami_id and (event := self._mailbox.find_event(seen.ami_id)):
            seen.ami_event = event["time"]

    def registration(self) -> Registration | None:
        """Return the record of the import."""
        record = self._store.read([self.seen.task_id]).get(self.seen.task_id)
        found = record.registration if record else None
        if found:
            self.seen.registered = found.arn
            if found.arn not in self._images:
                self._images.append(found.arn)
        return found

    def steps_left(self, registration: Registration) -> Sequence[str]:
        """Return the names of the steps of a registration that have not ended."""
        settings = self.deployment.settings
        return [step.name for step in STEPS if step.is_configured(settings) and step.name not in registration.results]

    def _import(self, name: str, task_id: str, token: str, **params: object) -> Callable[[], str]:
        """Return a call of ImportVmImage, which returns the ARN of the image."""
        request = {
            "name": name,
            "semanticVersion": "1.0.0",
            "platform": "Linux",
            "vmImportTaskId": task_id,
            "clientToken": f"{self.id}-{token}",
            "tags": {PROBE_TAG: self.id},
            **params,
        }

        def call() -> str:
            arn = str(self._builder.import_vm_image(**request)["imageArn"])
            self._images.append(arn)
            return arn

        return call

    def _ask(self) -> None:
        """Ask what AWS answers. Only what the function cannot meet: its own image is registered by now."""
        seen, ec2 = self.seen, self._ec2
        tasks = ec2.describe_import_image_tasks
        seen.unknown_task = answer_of(lambda: f"{tasks(ImportTaskIds=[_UNKNOWN])['ImportImageTasks']}")
        states = [{"Name": "task-state", "Values": ["active", "completed"]}]
        seen.two_states = answer_of(lambda: f"{len(tasks(Filters=states)['ImportImageTasks'])} tasks")
        seen.next_token = answer_of(self._last_token)
        seen.impossible_imports = [
            answer_of(self._import(f"{self.name}-unknown", _UNKNOWN, "unknown")),
            *([answer_of(self._import(f"{self.name}-failed", self._failing, "failed"))] if seen.failed else []),
        ]
        if not seen.completed:
            return
        seen.short_name = answer_of(self._import("a", seen.task_id, "short"))
        seen.second_name = f"Verify Me_{self.id}"
        self._second = {"name": seen.second_name, "task_id": seen.task_id, "token": "second"}
        seen.second_import = answer_of(self._import_second())
        if seen.second_import.value:
            other = {"description": "Another value"}
            seen.other_values = answer_of(self._import(seen.second_name, seen.task_id, "second", **other))
        arn = seen.second_import.value or self._image_arn(f"{self.name}-none/1.0.0/1")
        self._look_at_second()
        # Before it is AVAILABLE: its name has no other version.
        if "AVAILABLE" not in seen.states:
            all_versions = f"{arn.rsplit('/', 2)[0]}/x.x.x"
            seen.no_version = answer_of(lambda: self._get_image(all_versions)["state"]["status"])

    def _import_second(self) -> Callable[[], str]:
        name, task_id, token = (str(self._second[key]) for key in ("name", "task_id", "token"))
        return self._import(name, task_id, token, tags={PROBE_TAG: self.id, SECOND_TAG: "yes"})

    def _image_arn(self, resource: str) -> str:
        partition = self.deployment.topic.split(":")[1]
        return f"arn:{partition}:imagebuilder:{self.account.region}:{self.account.id}:image/{resource}"

    def _last_token(self) -> str:
        tasks = partial(self._ec2.describe_import_image_tasks, MaxResults=PAGE_SIZE)
        answer = tasks()
        while token := answer.get("NextToken"):
            answer = tasks(NextToken=token)
        return repr(answer.get("NextToken"))

    def _get_image(self, arn: str) -> Mapping[str, Any]:
        image: Mapping[str, Any] = self._builder.get_image(imageBuildVersionArn=arn)["image"]
        return image

    def _look_at_second(self) -> None:
        seen = self.seen
        if not (seen.second_import and seen.second_import.value):
            return
        try:
            image = self._get_image(seen.second_import.value)
        except (ClientError, *_NETWORK):
            # Image Builder may not show it yet.
            return
        status = image["state"]["status"]
        if status not in seen.states:
            seen.states.append(status)
        if status not in FINAL and image.get("outputResources", {}).get("amis"):
            seen.named_in_progress = True

    def _look_at_list(self) -> None:
        if not (self.seen.second_import and (arn := self.seen.second_import.value)):
            return
        pages = self._builder.get_paginator("list_image_build_versions").paginate()
        images = (image for page in pages for image in page["imageSummaryList"])
        self.seen.listed_name = answer_of(lambda: next((each["name"] for each in images if each["arn"] == arn), ""))

    def _settle(self, progress: Progress, bar: TaskID) -> None:
        """Wait for what comes later, or not at all, and see whether an alarm arrives."""
        if self.deployment.alarms:
            self._set_alarm(self.deployment.alarms[0])
        # A failed import is reported by a sweep.
        minutes = max(_TOKEN_MINUTES, self.deployment.sweep_minutes + 2)
        for minute in range(minutes):
            if minute == LISTED_AFTER // timedelta(minutes=1):
                self._look_at_list()
            left = f"waiting for what comes late, {minutes - minute} minutes"
            progress.update(bar, description="Waiting", completed=100 * minute / minutes, status=left)
            # An image may be in progress for seconds only.
            looks = 4 if self.seen.states and self.seen.states[-1] not in FINAL else 1
            for _ in range(looks):
                self.wait(_MINUTE / looks)
                self._look_at_second()
            self._look_again()

    def _set_alarm(self, alarm: str) -> None:
        cloudwatch = self.account.client("cloudwatch")

        def reset() -> None:
            command = f"aws cloudwatch set-alarm-state --alarm-name {alarm} --state-value OK --state-reason verified"
            request = {"AlarmName": alarm, "StateValue": "OK", "StateReason": f"{PROBE_TAG}: this was a test."}
            self.cleanup.call(command, cloudwatch.set_alarm_state, **request)

        self.cleanup.add(f"The alarm {alarm} is still in ALARM.", reset)
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason=f"{PROBE_TAG}: this is a test.")
        self._alarm_set = alarm

    def _finish(self) -> None:
        seen = self.seen
        if seen.second_import and seen.second_import.value:
            seen.token_later = answer_of(self._import_second())
        if seen.ami_id:
            tags = self._ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [seen.ami_id]}])["Tags"]
            seen.ami_tags = [tag["Key"] for tag in tags]
        self.registration()
        if seen.registered and (event := self._mailbox.find_event(seen.registered)):
            seen.image_event = f"{event['detail']['state']['status']} at {event['time']}"
        seen.denied = [line for line in self._log() if is_denied(line)]

    def _log(self) -> Iterator[str]:
        """Yield the lines of the function's log since the run began."""
        pages = (
            self.account.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=self.deployment.log_group, startTime=int(self._started.timestamp() * 1000))
        )
        for page in pages:
            for event in page["events"]:
                yield event["message"]

    def claims(self) -> Iterator[Claim]:
        """Yield what the run proves of the deployment."""
        seen, registration = self.seen, self.registration()
        is_denied_ = bool(seen.denied)
        yield Claim("The import is registered, once.", self._once())
        yield Claim("The time from the AMI to its image.", self._latency(registration))
        left = self.steps_left(registration) if registration else ["all"]
        results = (
            ", ".join(f"{step}: {result}" for step, result in registration.results.items()) if registration else ""
        )
        yield Claim("All steps are done.", Finding("no" if left else "yes", results or "There is no record."))
        yield Claim(
            "The role suffices: no call was denied.",
            Finding("no" if is_denied_ else "yes", (seen.denied or ["No line of the log names a denied call."])[0]),
        )
        for task_id, outcome in ((seen.task_id, "IMAGE_AVAILABLE"), (self._failing, "IMPORT_FAILED")):
            outcomes = self._mailbox.outcomes(task_id)
            finding = Finding("yes" if outcomes == [outcome] else "no", f"Delivered: {', '.join(outcomes) or 'none'}.")
            yield Claim(f"One notification `{outcome}` is delivered.", finding)
        alarms = [each["Subject"] for each in self._mailbox.notifications if self._alarm_set in each["Message"]]
        if self._alarm_set:
            yield Claim("An alarm is delivered.", _found(alarms[0] if alarms else ""))
        else:
            yield Claim("An alarm is delivered.", Finding("not seen", "The stack has no alarms."))

    def _once(self) -> Finding:
        of_task = self._imports.images_of(self.seen.task_id)
        evidence = ", ".join(of_task) or "Image Builder lists no image of the import."
        return Finding("yes" if of_task == [self.seen.registered] else "no", evidence)

    def _latency(self, registration: Registration | None) -> Finding:
        if registration is None or not self.seen.ami_created:
            return Finding("not seen", "")
        seconds = (registration.time - datetime.fromisoformat(self.seen.ami_created)).total_seconds()
        recorded = registration.time.isoformat(timespec="seconds")
        return Finding("yes", f"{seconds:.0f} seconds: AMI {self.seen.ami_created}, record {recorded}.")


def _found(evidence: str) -> Finding:
    return Finding("yes" if evidence else "no", evidence or "Nothing was found.")
