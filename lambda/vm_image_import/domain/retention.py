"""Which imported images are superseded by higher versions of their names, and when they may be deleted.

The function marks images with tags and never deletes one. A lifecycle policy of Image Builder deletes what has the tag
DELETE with the value YES. docs/retention.md is the contract.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.models import DELETE, IMPORT_TASK_ID, SUPERSEDED, Build, Marks

YES: Final = "yes"
"""The value of the tag DELETE from the day on from which an image may be deleted."""
NOTICE: Final = timedelta(days=7)
"""How long before its deletion an image is announced, and how long an announcement is valid without a pass."""

_AVAILABLE: Final = "AVAILABLE"
_DELETED: Final = "DELETED"
_DISABLED: Final = "DISABLED"
_FINAL: Final = frozenset({_AVAILABLE, "CANCELLED", "DEPRECATED", _DISABLED, "FAILED"})
"""The states in which nothing is done to an image any more (API reference, `ImageState`)."""


class Rule(NamedTuple):
    """What the deployment configures."""

    keep_versions: int
    """The versions of each name that are kept."""
    delete_after: timedelta | None = None
    """How long an image stays after its mark; None where nothing is deleted."""
    allows: Callable[[str], bool] = lambda _: True
    """Says whether a name, as the ARN has it, is one of this deployment."""


class Noted(NamedTuple):
    """What earlier passes have noted."""

    checked: date | None = None
    """The last day on which every mark that did not apply was removed; None where it is not known."""
    not_untagged: Collection[str] = ()
    """The ARNs whose marks could not be removed then."""
    announced: Mapping[str, str] = {}
    """The days of deletion that were announced and could not be written, by the ARN."""


class Decision(NamedTuple):
    """What the marks of one build should be."""

    build: Build
    marks: Marks
    """Without `is_kept`."""
    deletion_day: date | None = None
    """The first day on which the lifecycle policy may delete it, by what is known today; None for never."""
    is_announced: bool = False
    """Whether its day of deletion was announced, and is not written yet."""

    @property
    def stops_deletion(self) -> bool:
        """Whether the lifecycle policy would delete the build, although it must not."""
        return self.build.marks.delete == YES != self.marks.delete

    @property
    def removed(self) -> list[str]:
        """The keys of the tags to remove."""
        present, wanted = self.build.marks, self.marks
        # Also before another day is announced, which may take until the next day.
        keys = [DELETE] if present.delete is not None and wanted.delete not in {present.delete, YES} else []
        return [SUPERSEDED, *keys] if present.superseded is not None and wanted.superseded is None else keys

    @property
    def added(self) -> dict[str, str]:
        """The tags to write, without an announced day."""
        present, wanted = self.build.marks, self.marks
        tags = {SUPERSEDED: wanted.superseded} if wanted.superseded != present.superseded else {}
        if wanted.delete == YES != present.delete:
            tags[DELETE] = YES
        return {key: value for key, value in tags.items() if value}

    @property
    def announced(self) -> str | None:
        """The day to write as the value of the tag DELETE, and to announce before."""
        day = self.marks.delete
        return day if day not in {None, YES, self.build.marks.delete} else None


def find_superseded(builds: Sequence[Build], rule: Rule, pinned_amis: Collection[str] = ()) -> list[Build]:
    """Return the builds that may go: of lower versions than the highest available ones, and older ones of a version.

    Only imports of this system are counted and returned, and only in a final state. A build with the tag KEEP stays,
    and so does one whose AMI is in `pinned_amis`, or is that of a build that stays.
    """
    parsed = [(BuildArn.parse(build.arn), build) for build in builds if is_own(build)]
    own = [(arn, build) for arn, build in parsed if rule.allows(arn.name)]
    available: dict[str, dict[tuple[int, ...], int]] = {}
    for arn, build in own:
        if build.status == _AVAILABLE:
            newest = available.setdefault(arn.name, {})
            *version, number = arn.order
            newest[(*version,)] = max(number, newest.get((*version,), 0))
    kept = {name: sorted(newest, reverse=True)[: rule.keep_versions] for name, newest in available.items()}

    def is_lower(arn: BuildArn) -> bool:
        *numbers, number = arn.order
        version, versions = (*numbers,), kept.get(arn.name, [])
        if version in versions:
            return number < available[arn.name][version]
        return len(versions) == rule.keep_versions and version < versions[-1]

    found = [build for arn, build in own if build.status in _FINAL and not build.marks.is_kept and is_lower(arn)]
    going = {build.arn for build in found}
    needed = {*pinned_amis}
    for build in builds:
        if build.arn not in going and build.status != _DELETED:
            needed |= _amis(build)
    return [build for build in found if not _amis(build) & needed]


def counted_amis(builds: Sequence[Build], rule: Rule) -> set[str]:
    """Return the AMIs of the versions that are counted, of names with superseded builds: on them it depends which."""
    names = {BuildArn.parse(build.arn).name for build in find_superseded(builds, rule)}
    counted = [build for build in builds if build.status == _AVAILABLE and is_own(build)]
    return {ami_id for build in counted if BuildArn.parse(build.arn).name in names for ami_id in _amis(build)}


def disable_without_ami(builds: Iterable[Build], lost_amis: Collection[str]) -> list[Build]:
    """Return the builds, with those as disabled that Image Builder takes for available and whose AMIs are lost.

    An AMI is lost where it is deregistered or disabled.
    """
    lost = {*lost_amis}
    return [
        build._replace(status=_DISABLED) if build.status == _AVAILABLE and _amis(build) <= lost else build
        for build in builds
    ]


def decide(
    builds: Sequence[Build], rule: Rule, today: date, noted: Noted, pinned_amis: Collection[str] = ()
) -> Iterator[Decision]:
    """Yield a decision for each build that is superseded, and for each other one that has marks."""
    superseded = find_superseded(builds, rule, pinned_amis)
    # Builds of one AMI, made with "force", go together: the first deletion takes the AMI away from all of them.
    marked: dict[str, date] = {}
    for build in superseded:
        for ami_id in _amis(build):
            marked[ami_id] = max(marked.get(ami_id, date.min), _marked_day(build, today))
    for build in superseded:
        day = _marked_day(build, today)
        due = None
        if rule.delete_after:
            due = max((day, *(marked[ami_id] for ami_id in _amis(build)))) + rule.delete_after
        announced = noted.announced.get(build.arn)
        if (day_announced := parse_day(announced)) and day_announced <= today:
            # It has passed without the tag.
            announced = None
        checked = None if build.arn in noted.not_untagged else noted.checked
        delete = _decide_delete(announced or build.marks.delete, due, today, checked)
        deletion_day = today if delete == YES else parse_day(delete) or due
        is_announced = delete is not None and delete == announced != build.marks.delete
        yield Decision(build, Marks(day.isoformat(), delete), deletion_day, is_announced)
    going = {build.arn for build in superseded}
    for build in builds:
        has_marks = build.marks.superseded is not None or build.marks.delete is not None
        if has_marks and build.arn not in going and build.status != _DELETED and _can_be_changed(build, rule):
            yield Decision(build, Marks())


def _decide_delete(present: str | None, due: date | None, today: date, checked: date | None) -> str | None:
    """Return the value that the tag DELETE should have, of an image that is due on a day."""
    if due is None:
        return None
    announced = parse_day(present)
    # An older announcement may be one that nobody remembers, or that nobody has made.
    is_valid = checked is not None and today - checked <= NOTICE
    if is_valid and today >= due and (present == YES or (announced and due <= announced <= today)):
        return YES
    if announced and announced >= due and today < announced <= today + NOTICE:
        return present
    if today + NOTICE >= due:
        return (today + NOTICE).isoformat()
    return None


def newest_builds(builds: Iterable[Build]) -> dict[str, str]:
    """Return the ARN of the highest available build of each name, whoever made it."""
    found: dict[str, BuildArn] = {}
    for build in builds:
        arn = _parse(build.arn)
        if arn and build.status == _AVAILABLE and (arn.name not in found or found[arn.name].order < arn.order):
            found[arn.name] = arn
    return {name: arn.text for name, arn in found.items()}


def is_of(build: Build, account: str) -> bool:
    """Return whether a build is one of an account, or has an ARN that no image has."""
    arn = _parse(build.arn)
    return arn is None or arn.account == account


def is_own(build: Build) -> bool:
    """Return whether a build is an import with the tag of this system."""
    return build.is_import and _has_tag(build) and _parse(build.arn) is not None


def _can_be_changed(build: Build, rule: Rule) -> bool:
    """Return whether the function may remove marks of a build, and the lifecycle policy delete it."""
    arn = _parse(build.arn)
    return arn is not None and rule.allows(arn.name) and _has_tag(build)


def _has_tag(build: Build) -> bool:
    return IMPORT_TASK_ID.fullmatch(build.tagged_task_id or "") is not None


def _parse(arn: str) -> BuildArn | None:
    try:
        return BuildArn.parse(arn)
    except ValueError:
        # No registration has such an ARN.
        return None


def _marked_day(build: Build, today: date) -> date:
    """Return the day of a build's mark; today where it has none, or one that cannot be."""
    day = parse_day(build.marks.superseded)
    return day if day and day <= today else today


def parse_day(text: str | None) -> date | None:
    """Return the day in the value of a tag, or None where it is none."""
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None


def _amis(build: Build) -> set[str]:
    """Return the AMIs of a build; where the list shows none, the one that its tag names."""
    return {*build.ami_ids} or {ami_id for ami_id in [build.tagged_ami_id] if ami_id}
