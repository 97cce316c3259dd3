"""One import that may be registered: its identity, its versions, and its request."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from vm_image_import.derive import (
    Derivation,
    DerivedValue,
    Identity,
    derive,
    identify,
    make_client_token,
    names,
    stated_name,
)
from vm_image_import.domain.errors import InProgressError, PermanentError, RejectedError, TransientError
from vm_image_import.domain.models import Ami, ImportTask, Overrides
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.imports.readiness import AMI_GONE
from vm_image_import.imports.warnings import ANOTHER_BUILD, find_warnings
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import Record, Registration, RegistrationId
from vm_image_import.records.version_claims import VersionClaims
from vm_image_import.report.log import logger

_VERSION_TAKEN: Final = "Another import has version {} of {}, {}, and immutableVersions is true: state another version."
LISTED_AFTER: Final = timedelta(minutes=5)
"""After this time, Image Builder's list is taken to be complete. `ListImages` may lack images of the last two minutes
(API reference)."""


class Candidate(NamedTuple):
    """One import to register, and what its request is derived from."""

    task: ImportTask
    ami: Ami
    id: RegistrationId
    overrides: Overrides
    invocation: Invocation

    @property
    def client_token(self) -> str:
        """The same for every attempt of this registration."""
        return make_client_token(self.invocation.environment, str(self.id))

    def claims(self, name: str) -> VersionClaims:
        """Return the claimed versions of an image name."""
        return VersionClaims(self.invocation.store, self.id, name)

    def identify(self) -> tuple[DerivedValue, DerivedValue | None]:
        """Return the name, and the version: None where the scheme `increment` decides it.

        Raises RejectedError, also where another import has the version and none may have it a second time, and
        TransientError or PermanentError.
        """
        name, version = identify(self.task, self.ami, self.overrides, self.invocation.settings)
        if version and self.invocation.settings.immutable_versions:
            builds = self.invocation.builds.builds()
            if other := builds.find_version(names.arn_name(name.value), version.value, self.task, self.ami):
                raise RejectedError({"version": _VERSION_TAKEN.format(version.value, name.value, other.arn)})
        return name, version

    def claim_version(self, claims: VersionClaims, name: str, version: str) -> RegistrationId | None:
        """Claim a stated version, so that no other import gets it while Image Builder's list may not show it.

        An import that can get no image any more, or whose image failed or was deleted, loses it. Return the
        registration of another import that keeps it. Raises RejectedError where another import keeps it and none may
        have it a second time, InProgressError while that import is processed, TransientError or PermanentError.
        """
        owner = _take(claims, version)
        if owner.import_task_id == self.task.id:
            if owner != self.id:
                # A forced image takes the place of the one before it: whether that exists is asked of the owner.
                _take(claims, version, instead_of=owner)
            return None
        is_immutable = self.invocation.settings.immutable_versions
        try:
            # While its record is claimed, no other invocation requests the image of the other import.
            with self.invocation.store.claim(owner, self.invocation.deadline) as claim:
                if self._gives_way(owner, claim.record):
                    owner = _take(claims, version, instead_of=owner)
        except (InProgressError, TransientError):
            # Without immutableVersions, it is only a warning.
            if is_immutable:
                raise
        if owner == self.id:
            return None
        if is_immutable:
            raise RejectedError({"version": _VERSION_TAKEN.format(version, name, owner.import_task_id)})
        return owner

    def _gives_way(self, owner: RegistrationId, record: Record) -> bool:
        """Return whether another import that has claimed a version has no image of it, and can get none."""
        if record.registration:
            # Later the list shows its image, unless it failed or was deleted.
            return self.invocation.time - record.registration.time >= LISTED_AFTER
        if record.unreadable:
            return False
        ec2, is_gone = self.invocation.clients.ec2, record.reported == f"{OutcomeKind.REJECTED.value} {AMI_GONE}"
        try:
            task = ec2.find_task(owner.import_task_id)
            # An AMI that was gone may be back.
            return task is None or task.ended_without_ami or (is_gone and ec2.find_ami_of(task) is None)
        except PermanentError:
            return False

    def warnings(
        self, identity: Identity, derivation: Derivation, other: RegistrationId | None = None
    ) -> Sequence[str]:
        """Return what is unusual. A forced registration is a decision, for which the builds are not listed.

        `other` is the registration of another import that has claimed the version.
        """
        if self.id.number:
            return derivation.unused_tags
        stated = stated_name(self.task, self.overrides, self.invocation.settings, identity.name)
        builds = self.invocation.builds.builds()
        unusual = [*find_warnings(identity, stated, self.task, self.ami, builds)]
        name, version = names.arn_name(identity.name.value), identity.version.value
        if other and not builds.find_version(name, version, self.task, self.ami):
            unusual.append(ANOTHER_BUILD.format(version, other.import_task_id))
        return [*derivation.unused_tags, *unusual]

    def highest_version(self, name: str) -> str | None:
        """Return the highest version of an image name. Raises TransientError or PermanentError."""
        return self.invocation.builds.builds().highest_version(names.arn_name(name))

    def derive(self, identity: Identity) -> Derivation:
        """Return the request, and where its parts come from."""
        derivation = derive(self.task, self.ami, self.overrides, self.invocation.settings, identity, self.client_token)
        logger.info("Derived the request", sources=derivation.sources, dropped_tags=derivation.dropped_tags)
        return derivation

    def registration(self, arn: str, sources: Mapping[str, str], *, adopted: bool = False) -> Registration:
        """Return what is recorded of an image of this import."""
        task = self.task._replace(status=None, status_message=None, progress=None, disks=(self.task.boot_disk,))
        return Registration(
            arn,
            self.ami.id,
            self.invocation.now(),
            task,
            {part: sources[part] for part in ("name", "semanticVersion") if part in sources},
            adopted=adopted,
            request_id=self.invocation.request_id,
        )


def _take(claims: VersionClaims, version: str, instead_of: RegistrationId | None = None) -> RegistrationId:
    """Claim a version, and return the registration that has it now."""
    owner = claims.take(version, instead_of)
    if owner is None:
        message = f"The version {version} was given back just now. Try again later."
        raise TransientError(message)
    return owner
