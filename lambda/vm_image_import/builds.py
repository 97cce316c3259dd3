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


class Builds:
    """The imported builds, and the versions of each name."""

    def __init__(self, builds: Iterable[Build]) -> None:
        self._imports: list[Build] = []
        self._highest: dict[str, tuple[int, ...]] = {}
        self._newest: dict[str, list[Build]] = {}
        for build in builds:
            try:
                arn = BuildArn.parse(build.arn)
            except ValueError:
                # No registration has such an ARN.
                continue
            if build.is_import:
                self._imports.append(build)
            self._highest[arn.name] = max(self._highest.get(arn.name, ()), arn.order)
            if build.status == _AVAILABLE:
                self._newest[arn.name] = nlargest(2, [build, *self._newest.get(arn.name, ())], key=_order)

    def find(self, task: ImportTask, ami: Ami, recorded: Collection[str]) -> Build | None:
        """Return the best build of this import that is not one of the recorded ARNs: the AMI is its only output.

        The tags of a build are not enough, because anybody may set them.
        """
        found = [
            build
            for build in self._imports
            if build.ami_ids == (ami.id,)
            and build.tagged_task_id in {None, task.id}
            and build.is_usable
            and build.arn not in recorded
        ]
        # Among the tagged ones is that of this system, which has the derived name.
        return min(
            found, key=lambda build: (build.status != _AVAILABLE, not build.tagged_task_id, _order(build)), default=None
        )

    def find_requested(self, task: ImportTask, ami: Ami, recorded: Collection[str]) -> Build | None:
        """Return the build that this system has requested for an import, by its tags, if possible a usable one."""
        found = [
            build
            for build in self._imports
            if (build.tagged_task_id, build.tagged_ami_id) == (task.id, ami.id)
            and build.ami_ids in ((), (ami.id,))
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

    def newest(self, name: str, besides: str) -> Build | None:
        """Return the highest build of a name that is AVAILABLE, besides the one with an ARN."""
        return next((build for build in self._newest.get(name, ()) if build.arn != besides), None)


class BuildLister:
    """Lists the builds at first use, once: what Image Builder answers, or refuses, serves the whole invocation."""

    def __init__(self, image_builder: ImageBuilder, deadline: Deadline) -> None:
        self._image_builder = image_builder
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
        return Builds(self._image_builder.list_builds(self._deadline))


def _order(build: Build) -> tuple[int, ...]:
    return BuildArn.parse(build.arn).order
