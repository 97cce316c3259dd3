"""The versions of the scheme `increment`: each import gets one of its own.

Image Builder's lists may lack images of the last two minutes (API reference, `ListImages`), so imports of one name that
are registered at the same time would all get the version after the listed ones. A version is therefore claimed with a
record, under the name as the ARN has it.
"""

from typing import Final

from vm_image_import.derive import names, versions
from vm_image_import.domain.errors import RejectedError, TransientError
from vm_image_import.records.store import Store

_CANDIDATES: Final = 100
"""As many as one read of the records returns; more imports of one name are not registered within two minutes."""


class VersionClaims:
    """The claimed versions of one name, for one registration.

    Every method raises TransientError or PermanentError.
    """

    def __init__(self, store: Store, registration_id: object, name: str) -> None:
        self._store = store
        self._id = str(registration_id)
        self._name = names.arn_name(name)

    def claim(self, highest: str | None) -> str:
        """Claim the version after the highest one, or return the version that the registration has claimed.

        Raises RejectedError where the highest version has no successor.
        """
        own, free = self._read(highest)
        if own:
            return own
        for version in free:
            if self.take(version) == self._id:
                return version
        message = f"Other imports have claimed the next versions of {self._name}. Try again later."
        raise TransientError(message)

    def peek(self, highest: str | None) -> str:
        """Return the version that `claim` would return, and claim nothing. Raises what `claim` raises."""
        own, free = self._read(highest)
        return own or next(iter(free))

    def take(self, version: str, instead_of: object = "") -> str:
        """Claim a version that no other one but `instead_of` has claimed. Return the id of the one that has it now."""
        return self._store.take(self._key(version), self._id, str(instead_of))

    def give_back(self, version: str) -> None:
        """Give back the version of a request that Image Builder has refused."""
        self._store.give_back(self._key(version), self._id)

    def _read(self, highest: str | None) -> tuple[str | None, list[str]]:
        """Return the version that the registration has claimed, and those above every claimed one, lowest first."""
        candidates: list[str] = []
        version = versions.after([highest] if highest else [])
        while version and len(candidates) < _CANDIDATES:
            candidates.append(version)
            version = versions.after([version])
        if not candidates:
            problem = f"The highest version of {self._name} cannot be incremented: state the version."
            raise RejectedError({"highest version": problem})
        values = self._store.read_values(map(self._key, candidates))
        claimed = [version for version in candidates if self._key(version) in values]
        own = next((version for version in claimed if values[self._key(version)] == self._id), None)
        # A version between claimed ones was given back. It would be lower than that of an earlier import.
        free = candidates[candidates.index(claimed[-1]) + 1 :] if claimed else candidates
        if not own and not free:
            message = f"The next {len(candidates)} versions of {self._name} are claimed by other imports."
            raise TransientError(message)
        return own, free

    def _key(self, version: str) -> str:
        # Versions are compared as numbers: 2021.01.01 and 2021.1.1 are one.
        return f"version {self._name}/{'.'.join(str(int(number)) for number in version.split('.'))}"
