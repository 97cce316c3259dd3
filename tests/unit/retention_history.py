"""Random histories of images over days, with the daily pass and the lifecycle policy, and what must always hold."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Final

from tests.unit.fakes import NOW, InMemoryAws, version_arn
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import PermanentError, TransientError
from vm_image_import.domain.models import Build, Marks
from vm_image_import.domain.retention import YES, parse_day
from vm_image_import.report import log
from vm_image_import.settings import Settings

_DAYS: Final = 90
_NAMES: Final = ("web", "shop")
_STATES: Final = ("AVAILABLE", "AVAILABLE", "AVAILABLE", "DEPRECATED", "DISABLED", "FAILED", "PENDING")
_KEEP: Final = 2
_DAYS_KEPT: Final = 14


@dataclass
class History:
    """One account over some weeks, decided by a seed."""

    seed: int
    violations: list[str] = field(default_factory=list)
    deleted: int = 0
    marked: int = 0
    _first_marked: dict[str, date] = field(default_factory=dict)
    """The day on which the pass has marked a build, as long as it has the mark."""
    _tampered: set[str] = field(default_factory=set)
    """Builds whose marks somebody has changed: their days are nobody's promise."""

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 - a history that can be repeated
        settings = Settings(keep_versions=_KEEP, delete_after_days=_DAYS_KEPT, parameter_prefix="/base")
        self._aws = InMemoryAws(settings=settings)
        self._amis = 0

    def run(self) -> "History":
        """Play all days."""
        for number in range(_DAYS):
            self._aws.age = timedelta(days=number)
            for _ in range(self._random.randint(0, 3)):
                self._random.choice(
                    [
                        *(self._import, self._import, self._import, self._change_state, self._pin, self._tamper),
                        *(self._drop, self._deregister),
                    ]
                )()
            self._aws.calls_in_time = self._random.choice([10_000, 10_000, 10_000, self._random.randint(1, 20)])
            self._aws.errors = self._faults()
            before = {build.arn: build.marks for build in self._aws.builds}
            self._aws.sweep()
            log.metrics.clear_metrics()
            if not self._aws.errors and self._aws.calls_in_time == 10_000:
                self._check(before)
            self._note(before)
            if self._random.random() < 0.8:
                self._execute_policy()
        return self

    @property
    def _today(self) -> date:
        return (NOW + self._aws.age).date()

    def _faults(self) -> dict[str, Exception]:
        if self._random.random() < 0.8 or not self._aws.builds:
            return {}
        error: Exception = self._random.choice([TransientError("Slow down."), PermanentError("Denied.", "Denied")])
        return {self._random.choice(self._aws.builds).arn: error}

    def _import(self) -> None:
        name, version = self._random.choice(_NAMES), f"{self._random.randint(1, 9)}.0.0"
        self._amis += 1
        shared = [ami_id for build in self._aws.builds for ami_id in build.ami_ids]
        is_forced = shared and self._random.random() < 0.2
        ami = self._random.choice(shared) if is_forced else f"ami-{self._amis}"
        task = "import-ami-12345678" if self._random.random() < 0.9 else None
        arn, status = version_arn(version, name, self._amis), self._random.choice(_STATES)
        self._aws.builds.append(Build(arn, status, self._random.random() < 0.95, (ami,), task))

    def _pick(self) -> Build | None:
        return self._random.choice(self._aws.builds) if self._aws.builds else None

    def _replace(self, build: Build, changed: Build) -> None:
        self._aws.builds[self._aws.builds.index(build)] = changed

    def _change_state(self) -> None:
        if build := self._pick():
            self._replace(build, build._replace(status=self._random.choice(_STATES)))

    def _pin(self) -> None:
        if build := self._pick():
            if self._random.random() < 0.5:
                kept = self._random.random() < 0.7
                self._replace(build, build._replace(marks=build.marks._replace(is_kept=kept)))
            else:
                self._aws.parameters[f"/base/{BuildArn.parse(build.arn).name}"] = build.ami_ids[0]

    def _tamper(self) -> None:
        if build := self._pick():
            day = str(self._today - timedelta(days=self._random.randint(-5, 30)))
            marks = self._random.choice([Marks(), Marks(day), Marks(day, YES), Marks(None, YES), Marks(day, day)])
            self._replace(build, build._replace(marks=marks._replace(is_kept=build.marks.is_kept)))
            self._tampered.add(build.arn)

    def _drop(self) -> None:
        if build := self._pick():
            self._aws.builds.remove(build)

    def _deregister(self) -> None:
        if build := self._pick():
            self._aws.gone |= {*build.ami_ids}

    def _note(self, before: dict[str, Marks]) -> None:
        for build in self._aws.builds:
            if build.marks.superseded is None:
                self._first_marked.pop(build.arn, None)
                if build.marks.delete is None:
                    self._tampered.discard(build.arn)
            elif build.arn not in self._first_marked or before[build.arn].superseded is None:
                self.marked += 1
                self._first_marked[build.arn] = self._today

    def _execute_policy(self) -> None:
        for build in [each for each in self._aws.builds if each.marks.delete == YES]:
            if build.arn not in self._tampered:
                self.violations += self._deletion_problems(build)
                self.deleted += 1
            self._aws.builds.remove(build)
            self._aws.gone |= {*build.ami_ids}

    def _deletion_problems(self, build: Build) -> Iterator[str]:
        sharing = [each for each in self._aws.builds if {*each.ami_ids} & {*build.ami_ids}]
        for each in sharing:
            if each.arn not in self._tampered and each.marks.superseded is None:
                yield f"{self.seed}: {build.arn} took the AMI of {each.arn}"
            marked = self._first_marked.get(each.arn, self._today)
            if each.arn not in self._tampered and self._today - marked < timedelta(days=_DAYS_KEPT):
                yield f"{self.seed}: {each.arn} lost its AMI {(self._today - marked).days} days after its mark"

    def _check(self, before: dict[str, Marks]) -> None:
        self.violations += [f"{self.seed}: {problem}" for problem in self._problems(before)]

    def _problems(self, before: dict[str, Marks]) -> Iterator[str]:
        marked = [build for build in self._aws.builds if build.marks.superseded or build.marks.delete]
        # What has no tag of this system can have marks, which have no effect.
        marked = [build for build in marked if build.tagged_task_id]
        for build in marked:
            if not build.is_import:
                yield f"{build.arn} is not an import"
            if build.marks.is_kept:
                yield f"{build.arn} is kept"
            if build.status == "PENDING":
                yield f"{build.arn} is in progress"
            if {*build.ami_ids} & {*self._aws.parameters.values()} & self._named(build):
                yield f"{build.arn} is what the parameter names"
            if (
                build.marks.delete == YES
                and before[build.arn].delete != YES
                and not parse_day(before[build.arn].delete)
            ):
                yield f"{build.arn} was not announced"
        for name in _NAMES:
            available = [each for each in self._aws.builds if f"/{name}/" in each.arn and each.status == "AVAILABLE"]
            highest = max(available, key=lambda each: BuildArn.parse(each.arn).order, default=None)
            if highest and highest in marked:
                yield f"{highest.arn} is the highest available version"
            own = [each for each in available if each.is_import and each.tagged_task_id]
            own = [each for each in own if not {*each.ami_ids} & self._aws.gone]
            versions = {BuildArn.parse(each.arn).order[:-1] for each in own}
            kept = {BuildArn.parse(each.arn).order[:-1] for each in own if each not in marked}
            if len(kept) < min(_KEEP, len(versions)):
                yield f"{len(kept)} of {len(versions)} versions of {name} stay"

    def _named(self, build: Build) -> set[str]:
        value = self._aws.parameters.get(f"/base/{BuildArn.parse(build.arn).name}")
        return {value} if value else set()
