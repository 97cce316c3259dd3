"""Registers one import with Image Builder: the use case in which every trigger ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from vm_image_import.derive import client_token, derive, names
from vm_image_import.errors import PermanentError, RejectedError, TokenUsedError, TransientError
from vm_image_import.home import Home
from vm_image_import.outcome import Kind, Outcome
from vm_image_import.request import ImageRequest
from vm_image_import.settings import Settings
from vm_image_import.task import Ami, ImportTask
from vm_image_import.telemetry import logger
from vm_image_import.triggers import AmiAvailable, ManualImport

_VISIBLE_AFTER: Final = timedelta(minutes=1)
"""EC2's reads lag for moments. Lambda's first retry comes after a minute: what EC2 does not show by then is gone."""


class Imports(Protocol):
    """What EC2 knows of imports. Every method may raise TransientError or PermanentError."""

    def find_task(self, import_task_id: str) -> ImportTask | None:
        """Return the task, or None where EC2 does not list it."""

    def find_ami(self, image_id: str) -> Ami | None:
        """Return the AMI, or None where there is none (any more, or yet)."""

    def find_ami_named(self, name: str) -> Ami | None:
        """Return this account's AMI of that name, or None."""


class Images(Protocol):
    """Image Builder. Every method may raise TransientError or PermanentError."""

    def versions(self, arn: str, name: str) -> Iterable[str]:
        """Return the semantic versions of an image, by the ARN of all its versions and by its name."""

    def import_vm_image(self, request: ImageRequest) -> str:
        """Register the image and return its build version's ARN."""


@dataclass(frozen=True, slots=True)
class Registrar:
    """Registers the imports of its home.

    Whatever AWS answers in passing (TransientError) and whatever keeps it from reading (PermanentError) is raised.
    """

    imports: Imports
    images: Images
    home: Home
    settings: Settings

    def register_ami(self, trigger: AmiAvailable, now: datetime) -> Outcome:
        """Register the AMI of an event, if an import task of this account and Region made it."""
        ami = self.imports.find_ami(trigger.image_id)
        if ami is None:
            if now - trigger.time < _VISIBLE_AFTER:
                not_yet = f"EC2 does not show {trigger.image_id} yet."
                raise TransientError(not_yet)
            return Outcome(Kind.IGNORED, reason=f"{trigger.image_id} is gone.")
        if ami.import_task_id is None:
            return Outcome(Kind.IGNORED, reason=f"{ami.id} is not named like an import task: no import made it.")
        logger.append_keys(importTaskId=ami.import_task_id)
        task = self.imports.find_task(ami.import_task_id)
        if task is None:
            reason = f"EC2 lists no such import task here: {ami.id} is a copy, or its import ended 7 days ago."
            return Outcome(Kind.IGNORED, ami.import_task_id, reason=reason)
        if ami.state == "pending":
            # EC2's read lags behind its own event, which will not come again.
            not_yet = f"EC2 shows {ami.id} as pending yet."
            raise TransientError(not_yet)
        if missing := [key for key, value in self.settings.only_tasks_tagged.items() if task.tags.get(key) != value]:
            reason = f"The import task is left alone: its tags {', '.join(missing)} are not as configured."
            return Outcome(Kind.IGNORED, task.id, reason=reason)
        return self._register(ManualImport(task.id), task, ami, "")

    def register_task(self, trigger: ManualImport, run: str) -> Outcome:
        """Register the import that a person names, as they overrule it, whatever tags the configuration asks for.

        `run` is the id of this run and its repeats: one that is forced makes one image.
        """
        logger.append_keys(importTaskId=trigger.import_task_id)
        task = self.imports.find_task(trigger.import_task_id)
        if task is None:
            reason = "EC2 lists no such import task in this Region. It forgets a task 7 days after its end."
            return Outcome(Kind.NOT_FOUND, trigger.import_task_id, reason=reason)
        ami = self.imports.find_ami(task.image_id) if task.image_id else self.imports.find_ami_named(task.id)
        return self._register(trigger, task, ami, run)

    def _register(self, asked: ManualImport, task: ImportTask, ami: Ami | None, run: str) -> Outcome:
        ready = _ready_ami(task, ami)
        if isinstance(ready, Outcome):
            return ready
        try:
            token = client_token(self.home.account, self.home.region, task.id, run if asked.force else "")
            derivation = derive(task, ready, asked.overrides, self.settings, token=token, versions_of=self._versions_of)
        except RejectedError as error:
            return Outcome(Kind.REJECTED, task.id, reason=str(error))
        request = derivation.request.parameters()
        logger.info("Derived the request", sources=derivation.sources, tags_left_out=derivation.tags_left_out)
        if asked.dry_run:
            return Outcome(Kind.DRY_RUN, task.id, request=request)
        try:
            arn = self.images.import_vm_image(derivation.request)
        except TokenUsedError:
            reason = (
                'The import was registered before, with other values. To register it once more write "force": true.'
            )
            return Outcome(Kind.ALREADY_REGISTERED, task.id, request=request, reason=reason)
        except PermanentError as error:
            return Outcome(Kind.REJECTED, task.id, request=request, reason=str(error))
        return Outcome(Kind.REGISTERED, task.id, image_arn=arn, request=request)

    def _versions_of(self, name: str) -> Iterable[str]:
        return self.images.versions(self.home.image_arn(names.in_arn(name)), name)


def _ready_ami(task: ImportTask, ami: Ami | None) -> Ami | Outcome:
    """Return the AMI when it can be registered, else the outcome that says why not."""
    if task.ended_without_ami:
        kind = Kind.IMPORT_CANCELLED if task.cancelled else Kind.IMPORT_FAILED
        return Outcome(kind, task.id, reason=task.status_message or "EC2 gives no reason.")
    if ami is None and task.status == "completed":
        return Outcome(
            Kind.IGNORED,
            task.id,
            reason="The import completed, but EC2 does not show its AMI: it is gone, or ask again.",
        )
    if ami is None or ami.state == "pending":
        step = ", ".join(filter(None, (task.status_message, task.progress and f"{task.progress} %")))
        reason = f"The import is still running ({step or task.status or 'no status'})."
        return Outcome(Kind.IN_PROGRESS, task.id, reason=reason)
    if ami.is_copy:
        return Outcome(Kind.IGNORED, task.id, reason=f"{ami.id} is a copy of {ami.source_image_id}.")
    if ami.state != "available":
        return Outcome(Kind.IGNORED, task.id, reason=f"{ami.id} is {ami.state}, so it cannot be registered.")
    if task.image_id and task.image_id != ami.id:
        return Outcome(Kind.IGNORED, task.id, reason=f"The import made {task.image_id}, not {ami.id}.")
    return ami
