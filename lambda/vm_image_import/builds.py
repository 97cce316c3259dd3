"""The image builds that exist, listed once for everything that an invocation does."""

from collections.abc import Collection, Iterable
from heapq import nlargest
from typing import Final

from vm_image_import.aws.image_builder import ImageBuilder
from vm_image_import.deadline import Deadline
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import PermanentError, TransientError
from vm_image_import.domain.models import Ami, Build, ImportTask

_AVAILABLE: Final = "AVAILABLE"
_NOT_RESOLVED: Final = frozenset({"DEPRECATED", "DISABLED"})
"""An ARN with `x.x.x` does not resolve to such a build (API reference, `GetImage`)."""


class Builds:
    """The imported builds of an account, and the versions of each name."""

    def __init__(self, builds: Iterable[Build], account: str) -> None:
        self._imports: list[Build] = []
        self._highest: dict[str, tuple[int, ...]] = {}
        self._newest: dict[str, list[Build]] = {}
        self._resolved: dict[str, tuple[int, ...]] = {}
        self._spellings: dict[str, set[str]] = {}
        for build in builds:
            try:
                arn = BuildArn.parse(build.arn)
            except ValueError:
                # No registration has such an ARN.
                continue
            if arn.account != account:
                # Another account shares it.
                continue
            if build.is_import:
                self._imports.append(build)
            self._highest[arn.name] = max(self._highest.get(arn.name, ()), arn.order)
            if build.is_usable and build.status not in _NOT_RESOLVED:
                self._resolved[arn.name] = max(self._resolved.get(arn.name, ()), arn.order)
            if build.is_usable:
                self._spellings.setdefault(arn.name, set()).add(build.stated_name or arn.name)
            if build.status == _AVAILABLE:
                self._newest[arn.name] = nlargest(2, [build, *self._newest.get(arn.name, ())], key=_order)

    def find(self, task: ImportTask, ami: Ami, recorded: Collection[str]) -> Build | None:
        """Return the best build of this import that is not one of the recorded ARNs: the AMI is its only output.

        So it is the image of no other import. Its tags decide nothing: anybody may set them.
        """
        found = [
            build
            for build in self._imports
            if build.ami_ids == (ami.id,) and build.is_usable and build.arn not in recorded
        ]
        # Among the tagged ones is that of this system, which has the derived name.
        return min(
            found,
            key=lambda build: (build.status != _AVAILABLE, build.tagged_task_id != task.id, _order(build)),
            default=None,
        )

    def find_requested(self, task: ImportTask, ami: Ami, recorded: Collection[str]) -> Build | None:
        """Return the build that this system has requested for an import, by its tags, if possible a usable one.

        A usable one has the AMI as its only output. One that failed may have none.
        """
        found = [
            build
            for build in self._imports
            if (build.tagged_task_id, build.tagged_ami_id) == (task.id, ami.id)
            and (build.ami_ids == (ami.id,) or (not build.ami_ids and not build.is_usable))
            and build.arn not in recorded
        ]
        return min(found, key=lambda build: (not build.is_usable, _order(build)), default=None)

    def is_undecided(self, task: ImportTask, ami: Ami, *, untagged: bool) -> bool:
        """Return whether a build without an output may become the image of this import.

        `untagged` says whether one without the tags of this system counts, too.
        """
        tags = {(task.id, ami.id)} | ({(None, None)} if untagged else set())
        return any(
            not build.ami_ids and build.is_usable and (build.tagged_task_id, build.tagged_ami_id) in tags
            for build in self._imports
        )

    def highest_version(self, name: str) -> str | None:
        """Return the highest version of a name as ARNs have it, in whatever state it is."""
        order = self._highest.get(name)
        return ".".join(map(str, order[:-1])) if order else None

    def highest_resolved_version(self, name: str) -> str | None:
        """Return the highest version of a name as ARNs have it that `x.x.x` resolves to, now or when available."""
        order = self._resolved.get(name)
        return ".".join(map(str, order[:-1])) if order else None

    def spellings(self, name: str) -> Collection[str]:
        """Return what the name of usable builds was made of, for a name as ARNs have it."""
        return self._spellings.get(name, ())

    def find_version(self, name: str, version: str, task: ImportTask, ami: Ami) -> Build | None:
        """Return a usable build of a name as ARNs have it, and of a version, that another import has."""
        path, numbers = f":image/{name}/", _numbers(version)
        return next(
            (
                build
                for build in self._imports
                # Only then is it worth to parse one of thousands.
                if path in build.arn
                and _order(build)[:-1] == numbers
                and build.is_usable
                and build.ami_ids != (ami.id,)
                and (build.ami_ids or (build.tagged_task_id, build.tagged_ami_id) != (task.id, ami.id))
            ),
            None,
        )

    def newest(self, name: str, besides: str) -> Build | None:
        """Return the highest build of a name that is AVAILABLE, besides the one with an ARN."""
        return next((build for build in self._newest.get(name, ()) if build.arn != besides), None)


class BuildLister:
    """Lists the builds at first use, once: what Image Builder answers, or refuses, serves the whole invocation."""

    def __init__(self, image_builder: ImageBuilder, account: str, deadline: Deadline) -> None:
        self._image_builder = image_builder
        self._account = account
        self._deadline = deadline
        self._builds: Builds | None = None
        self._error: TransientError | PermanentError | None = None

    def builds(self) -> Builds:
        """Return the builds. Raises TransientError or PermanentError, the same one each time."""
        if self._error:
            # Each raise adds to the traceback, which is logged for each import.
            raise self._error.with_traceback(None)
        if self._builds is None:
            try:
                self._builds = self.list_again()
            except (TransientError, PermanentError) as error:
                self._error = error
                raise
        return self._builds

    def list_again(self) -> Builds:
        """Return the builds as Image Builder lists them now. Raises TransientError or PermanentError."""
        return Builds(self._image_builder.list_builds(self._deadline), self._account)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _order(build: Build) -> tuple[int, ...]:
    return BuildArn.parse(build.arn).order
