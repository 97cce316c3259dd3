"""The versions of the scheme `increment`: each import gets one of its own.

Image Builder's lists are up to two minutes old, so imports of one name that are registered at the same time would all
get the version after the listed ones. A version is therefore claimed with a record, under the name as the ARN has it.
"""

from dataclasses import dataclass
from typing import Final

from vm_image_import.clients import Clients
from vm_image_import.derive import names, versions
from vm_image_import.errors import InProgressError, RejectedError, TransientError
from vm_image_import.idempotency.records import IdempotencyKey, RegistrationId
from vm_image_import.models import Invocation

_CANDIDATES: Final = 100
"""As many as one read of the records takes; more imports of one name are not registered within two minutes."""


@dataclass(frozen=True, slots=True)
class VersionClaims:
    """The claimed versions. Every method raises TransientError or PermanentError."""

    clients: Clients
    invocation: Invocation

    def claim(self, id_: RegistrationId, name: str) -> str:
        """Claim the next version of the images with this name, or return the one that the registration has claimed.

        Raises RejectedError where the highest version has no successor.
        """
        candidates, claimed = self._candidates(name)
        for version in candidates:
            if claimed.get(version) == str(id_):
                return version
        for version in candidates:
            if version not in claimed and self._try_claim(id_, name, version):
                return version
        message = f"The next {len(candidates)} versions of {name} are claimed by other imports. Try again later."
        raise TransientError(message)

    def show(self, id_: RegistrationId, name: str) -> str:
        """Return the version that `claim` would return, and claim nothing."""
        candidates, claimed = self._candidates(name)
        own = [version for version in candidates if claimed.get(version) == str(id_)]
        free = [version for version in candidates if version not in claimed]
        return next(iter(own + free), candidates[-1])

    def release(self, id_: RegistrationId, name: str, version: str) -> None:
        """Release the version of a request that Image Builder has refused."""
        self.clients.idempotency_store.release(_key(name, version), str(id_))

    def _candidates(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Return the next versions, and the ids of the registrations that have claimed some of them."""
        arn = self.invocation.environment.image_arn(names.arn_name(name))
        candidates: list[str] = []
        version = versions.after(self.clients.image_builder.list_versions(arn, name))
        while version and len(candidates) < _CANDIDATES:
            candidates.append(version)
            version = versions.after([version])
        if not candidates:
            problem = f"The highest version of {name} cannot be incremented: state the version."
            raise RejectedError({"highest version": problem})
        keys = {_key(name, version): version for version in candidates}
        claimed = self.clients.idempotency_store.get_completed(keys)
        return candidates, {keys[key]: id_ for key, id_ in claimed.items()}

    def _try_claim(self, id_: RegistrationId, name: str, version: str) -> bool:
        try:
            with self.clients.idempotency_store.claim(_key(name, version), self.invocation) as claim:
                if claim.completed is None:
                    claim.complete(str(id_))
                return claim.completed in (None, str(id_))
        except InProgressError:
            # Another invocation claims it at this moment.
            return False


def _key(name: str, version: str) -> IdempotencyKey:
    return IdempotencyKey("version", f"{names.arn_name(name)}/{version}")
