"""The versions of the scheme `increment`: each import gets one of its own.

Image Builder's lists may lack images of the last two minutes (API reference, `ListImages`), so imports of one name that
are registered at the same time would all get the version after the listed ones. A version is therefore claimed with a
record, under the name as the ARN has it.
"""

from typing import Final

from vm_image_import.derive import names, versions
from vm_image_import.domain.errors import RejectedError, TransientError
from vm_image_import.records.registration import VERSION, RegistrationId, unreadable
from vm_image_import.records.store import Store

_CANDIDATES: Final = 100
"""As many as one read of the records returns; more imports of one name are not registered within two minutes."""


class VersionClaims:
    """The claimed versions of one name, for one registration.

    Every method raises TransientError, PermanentError, or InvalidRecordError for an item that another hand wrote.
    """

    def __init__(self, store: Store, registration_id: RegistrationId, name: str) -> None:
        self._store = store
        self._id = str(registration_id)
        self._name = names.arn_name(name)
        self._before: dict[str, str] = {}
        """Who had each claimed version before, by its key; empty where nobody had it."""

    def claim(self, highest: str | None) -> str:
        """Claim the version after the highest one, or return the version that the registration has claimed.

        Raises RejectedError where the highest version has no successor.
        """
        own, free = self._read(highest)
        if own:
            self._before[self._key(own)] = self._id
            return own
        for version in free:
            if str(self.take(version)) == self._id:
                return version
        message = f"Other imports have claimed the next versions of {self._name}. Try again later."
        raise TransientError(message)

    def peek(self, highest: str | None) -> str:
        """Return the version that `claim` would return, and claim nothing. Raises what `claim` raises."""
        own, free = self._read(highest)
        return own or next(iter(free))

    def take(self, version: str, instead_of: RegistrationId | None = None) -> RegistrationId | None:
        """Claim a version that no other one but `instead_of` has claimed.

        Return the registration that has it now, or None where another one gave it back meanwhile.
        """
        key = self._key(version)
        taken = self._store.take(key, self._id, str(instead_of or ""))
        if taken.value == self._id:
            self._before[key] = taken.before
        try:
            return RegistrationId.parse(taken.value) if taken.value else None
        except ValueError as error:
            raise unreadable(key, error) from error

    def was_claimed_before(self, version: str) -> bool:
        """Return whether an earlier attempt of the registration had claimed a version."""
        return self._before.get(self._key(version)) == self._id

    def give_back(self, version: str) -> None:
        """Give back the version of a request that Image Builder has refused, to the registration that had it before.

        Only what these claims have claimed anew is given back: where an earlier attempt of the registration had claimed
        the version, there may be an image of it.
        """
        key = self._key(version)
        before = self._before.get(key, self._id)
        if not before:
            self._store.give_back(key, self._id)
        elif before != self._id:
            self._store.take(key, before, instead_of=self._id)

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
        return f"{VERSION} {self._name}/{'.'.join(str(int(number)) for number in version.split('.'))}"
