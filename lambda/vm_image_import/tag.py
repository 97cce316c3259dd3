"""Tags the AMI of a registered image, and the AMI's snapshots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vm_image_import.clients import Clients
from vm_image_import.derive import tags
from vm_image_import.errors import InProgressError, PermanentError
from vm_image_import.idempotency.records import IdempotencyKey, Registration, RegistrationId
from vm_image_import.models import Ami, ImportTask, Invocation, Outcome, OutcomeKind
from vm_image_import.notifications import notify_once
from vm_image_import.observability import count, logger

_MAX_TAGS: Final = 50
"""The most tags of an AMI or snapshot; those of AWS (`aws:`) do not count (user guide, "Tag your resources")."""
_MARGIN_MS: Final = 100_000
"""Tagging is not begun later than this before the timeout: where AWS hardly answers, its calls take three times 30
seconds, and the registration has to be recorded after them."""


@dataclass(frozen=True, slots=True)
class AmiTagger:
    """Tags AMIs and their snapshots. A tag that is there already is left as it is."""

    clients: Clients
    invocation: Invocation

    def try_tag(self, task: ImportTask, ami: Ami, image_arn: str) -> Sequence[str]:
        """Tag the AMI of an image that is registered at this moment, if tagging is configured.

        Return the ids of the AMI and its snapshots; none where one of them could not be tagged. The next sweep tags
        them then.
        """
        if not self.clients.settings.tag_amis or self.invocation.remaining_ms() < _MARGIN_MS:
            return ()
        try:
            tagged = self._tag(task, ami, image_arn)
        except Exception:  # noqa: BLE001 - whatever it is, the image is registered; the next sweep reports it
            logger.exception("Registered, but the AMI could not be tagged")
            return ()
        # EC2 may not show an AMI to every operation yet.
        return tagged if len(tagged) == 1 + len(ami.snapshot_ids) else ()

    def tag_registered(self, task: ImportTask, id_: RegistrationId, registration: Registration) -> Outcome | None:
        """Tag the AMI of an image that was registered before, as far as it and its snapshots still exist.

        Return None where there was nothing to do. Raises TransientError, or PermanentError where the notification that
        the AMI cannot be tagged fails.
        """
        try:
            with self.clients.idempotency_store.claim(IdempotencyKey("tagged", str(id_)), self.invocation) as claim:
                if claim.completed is not None:
                    return None
                ami = self.clients.ec2.find_ami(registration.ami_id)
                tagged = self._tag(task, ami, registration.arn) if ami else ()
                claim.complete(" ".join(tagged))
        except InProgressError:
            return None
        except PermanentError as error:
            outcome = Outcome(
                OutcomeKind.AMI_NOT_TAGGED,
                task.id,
                image_arn=registration.arn,
                reason=str(error),
                ami_id=registration.ami_id,
                task=task,
                problem=error.code or type(error).__name__,
            )
            return notify_once(IdempotencyKey("not-tagged", str(id_)), outcome, self.clients, self.invocation)
        reason = "The AMI was registered before, and is tagged now." if tagged else "The AMI is gone."
        return Outcome(
            OutcomeKind.ALREADY_REGISTERED, task.id, image_arn=registration.arn, reason=reason, tagged=tagged
        )

    def _tag(self, task: ImportTask, ami: Ami, image_arn: str) -> Sequence[str]:
        """Tag an AMI and its snapshots, and return the ids of those that exist."""
        wanted = tags.of_ami(task, ami, image_arn, self.clients.settings)
        ids = (ami.id, *ami.snapshot_ids)
        present = self.clients.ec2.find_tags(ids)
        groups: dict[tuple[str, ...], list[str]] = {}
        for id_ in ids:
            groups.setdefault(_missing(wanted, present.get(id_, {})), []).append(id_)
        gone: list[str] = []
        for keys, group in groups.items():
            if keys:
                gone += self._create(group, {key: wanted[key] for key in keys})
        if any(groups):
            count("AmisTagged")
        return tuple(id_ for id_ in ids if id_ not in gone)

    def _create(self, ids: Sequence[str], missing: Mapping[str, str]) -> Sequence[str]:
        """Tag what has the same tags missing, and return the ids of what does not exist."""
        ec2 = self.clients.ec2
        if ec2.create_tags(ids, missing):
            return ()
        return [id_ for id_ in ids if len(ids) == 1 or not ec2.create_tags([id_], missing)]


def _missing(wanted: Mapping[str, str], present: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of the wanted tags that a resource does not have, as many as it has room for."""
    room = _MAX_TAGS - sum(not key.startswith("aws:") for key in present)
    return tuple(key for key in wanted if key not in present)[: max(0, room)]
