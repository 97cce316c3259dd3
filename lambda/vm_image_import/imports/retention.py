"""Marks the superseded images of each name, once a day, and removes marks that do not apply. It deletes nothing."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from vm_image_import.derive import names
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import InProgressError, PermanentError, TransientError
from vm_image_import.domain.models import DELETE, SUPERSEDED, Build
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.domain.retention import (
    NOTICE,
    Decision,
    Noted,
    Rule,
    counted_amis,
    decide,
    disable_without_ami,
    find_superseded,
    is_of,
    newest_builds,
)
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import Record
from vm_image_import.records.store import Claim
from vm_image_import.report.log import logger
from vm_image_import.report.notifications import publish
from vm_image_import.settings import Settings

RECORD: Final = "retention"
"""The id of the record of the passes."""
CHECKED: Final = "marks checked"
"""What is noted in the record with the time of the last pass that tried to remove every mark that did not apply."""
_NOT_UNTAGGED: Final = "not untagged "
"""What is noted in the record, with the ARN after it, of each image whose mark AWS refused to remove in that pass."""
_UNTAGGED: Final = "untagged "
"""What is noted in the record, with the label of the image after it, of each removed tag for deletion that is not
published yet: no later pass finds the tag."""
_ANNOUNCED: Final = "announced "
"""What is noted in the record, with the ARN after it, of each image whose day of deletion is published and not written
yet."""
_NOTIFIED: Final = "notified"
"""What is noted in the record with the time of the last announcement."""
_SEPARATOR: Final = ", "
"""Between the kinds of problems that were reported."""
_MAX_CHANGES: Final = 300
"""The most images whose marks one sweep changes, and that one notification announces. The next sweep continues."""
_MAX_LISTED: Final = 100
"""The most images that a notification lists."""
_CALLS: Final = 5
"""The calls for which there must be time before an image is begun: to look at its name, to change its tags, to publish
twice, and to save the record."""


def preview(invocation: Invocation) -> Iterator[Outcome]:
    """Yield an outcome for each superseded image, and for each image with marks that do not apply; change nothing.

    Raises TransientError or PermanentError where AWS cannot be read.
    """
    if rule := rule_of(invocation.settings):
        record = _read(invocation)
        for decision in _decide(rule, _list(invocation), record, invocation):
            yield _outcome(decision, _describe_preview(decision))


def run(invocation: Invocation) -> Iterator[Outcome]:
    """Make the pass of this day if it was not made yet, and yield an outcome for each image whose marks it changes.

    What AWS refuses is reported once for each kind of problem, and the next sweep tries again; it continues what there
    was no time for, too. Raises TransientError where AWS may answer a later attempt.
    """
    rule = rule_of(invocation.settings)
    if rule is None or _is_done(_read(invocation), rule, invocation):
        return
    try:
        with invocation.store.claim(RECORD, invocation.deadline) as claim:
            if not _is_done(claim.record, rule, invocation):
                yield from _Pass(invocation, rule, claim).run()
    except InProgressError as error:
        logger.info("Another invocation makes the pass", reason=str(error))


def rule_of(settings: Settings) -> Rule | None:
    """Return the configured rule; None where no image is marked."""
    if settings.keep_versions is None or settings.observe:
        return None
    days = settings.delete_after_days
    delete_after = None if days is None else timedelta(days=days)
    return Rule(settings.keep_versions, delete_after, lambda name: names.is_allowed(name, settings.allowed_names))


def _read(invocation: Invocation) -> Record:
    return invocation.store.read([RECORD]).get(RECORD, Record())


def _is_done(record: Record, rule: Rule, invocation: Invocation) -> bool:
    """Return whether the pass with this rule was made today."""
    last = record.first_seen.get(_name_of_pass(rule))
    return last is not None and last.date() == invocation.time.date()


def _name_of_pass(rule: Rule) -> str:
    return f"pass {rule.keep_versions} {rule.delete_after and rule.delete_after.days}"


def _list(invocation: Invocation) -> Sequence[Build]:
    """Return the builds of this account. The list may have those that other accounts share."""
    account = invocation.environment.account
    return [each for each in invocation.clients.image_builder.list_builds(invocation.deadline) if is_of(each, account)]


def _decide(rule: Rule, builds: Sequence[Build], record: Record, invocation: Invocation) -> Sequence[Decision]:
    """Return the decisions, with only those versions counted that have an AMI, and what parameters name pinned.

    Raises TransientError or PermanentError.
    """
    amis = counted_amis(builds, rule)
    builds = disable_without_ami(builds, amis - invocation.clients.ec2.find_available(amis, invocation.deadline))
    prefix, pinned = invocation.settings.parameter_prefix, []
    if prefix:
        superseded = find_superseded(builds, rule)
        for name in sorted({BuildArn.parse(build.arn).name for build in superseded}):
            if not invocation.deadline.allows(_CALLS):
                message = "No time was left to read the parameters of all names with superseded images."
                raise TransientError(message)
            pinned.append(invocation.clients.parameter_store.find(f"{prefix}/{name}"))
    checked = record.first_seen.get(CHECKED)
    noted = Noted(
        checked and checked.date(),
        _noted(record, _NOT_UNTAGGED),
        {arn: (time.date() + NOTICE).isoformat() for arn, time in _noted(record, _ANNOUNCED).items()},
    )
    return [*decide(builds, rule, invocation.time.date(), noted, {each.value for each in pinned if each})]


def _noted(record: Record, prefix: str) -> dict[str, datetime]:
    """Return what is noted in the record after a prefix, and when."""
    return {what.removeprefix(prefix): time for what, time in record.first_seen.items() if what.startswith(prefix)}


class _Pass:
    """One pass over all names."""

    def __init__(self, invocation: Invocation, rule: Rule, claim: Claim) -> None:
        self._invocation = invocation
        self._rule = rule
        self._claim = claim
        self._record = claim.record
        self._newest: Mapping[str, str] = {}
        self._is_current: dict[str, bool] = {}
        self._changes = 0
        self._is_complete = True
        self._refused: dict[str, PermanentError] = {}
        """What AWS has refused first of each kind of problem."""
        self._refused_arns: list[str | None] = []
        """The ARN of the image that each refusal was about; None where it was about no image."""

    def run(self) -> Iterator[Outcome]:
        """Make the pass, record it, and yield the outcomes. Raises TransientError."""
        failed: TransientError | None = None
        try:
            yield from self._change_marks()
        except PermanentError as error:
            self._note(error)
        except TransientError as error:
            failed = error
        try:
            if self._refused:
                yield self._report()
            elif self._is_complete and failed is None:
                times = self._record.first_seen.items()
                kept = {
                    what: time for what, time in times if what in {CHECKED, _NOTIFIED} or what.startswith(_ANNOUNCED)
                }
                self._record = self._record._replace(reported="", first_seen=kept)
                self._note_time(_name_of_pass(self._rule))
        finally:
            self._claim.save(self._record)
        if failed:
            raise failed

    def _change_marks(self) -> Iterator[Outcome]:
        builds = _list(self._invocation)
        self._newest = newest_builds(builds)
        decisions = _decide(self._rule, builds, self._record, self._invocation)
        announced: list[Decision] = []
        self._keep(_ANNOUNCED, [each.build.arn for each in decisions if each.is_announced])
        try:
            # First what keeps images.
            for each in [each for each in decisions if each.removed]:
                outcomes = [*self._change(each)]
                if outcomes and each.stops_deletion:
                    self._note_time(f"{_UNTAGGED}{_label(each)}")
                yield from outcomes
            if self._is_complete:
                self._note_checked()
            for each in [each for each in decisions if each.added]:
                if self._may_add(each):
                    yield from self._change(each, each.added)
            to_write = [each for each in decisions if each.announced and self._may_add(each)]
            for each in [each for each in to_write if each.is_announced]:
                yield from self._write_day(each)
            notified = self._record.first_seen.get(_NOTIFIED)
            if not notified or notified.date() != self._invocation.time.date():
                announced = [each for each in to_write if not each.is_announced][: _MAX_CHANGES - self._changes]
        finally:
            # Whatever AWS answers then: what was removed is published at once, or by the next sweep.
            self._notify(announced)
        for each in announced:
            yield from self._write_day(each)

    def _may_add(self, decision: Decision) -> bool:
        """Return whether `x.x.x` is what the list of builds shows, which may be late: marks depend on it."""
        if not self._has_time():
            return False
        arn = BuildArn.parse(decision.build.arn)
        if arn.name not in self._is_current:
            try:
                image = self._invocation.clients.image_builder.find_image(arn.all_versions)
            except PermanentError as error:
                image = None
                self._note(error, decision.build.arn)
            self._is_current[arn.name] = image is not None and image.arn == self._newest.get(arn.name)
        return self._is_current[arn.name]

    def _note(self, error: PermanentError, arn: str | None = None) -> None:
        self._refused_arns.append(arn)
        self._refused.setdefault(error.problem, error)

    def _note_checked(self) -> None:
        """Note that every mark that does not apply was removed but those of the refusals until now."""
        # One refusal holds up no other image.
        self._keep(_NOT_UNTAGGED)
        for what in (CHECKED, *(f"{_NOT_UNTAGGED}{arn}" for arn in self._refused_arns)):
            self._note_time(what)

    def _note_time(self, name: str) -> None:
        self._record = self._record._replace(first_seen={**self._record.first_seen, name: self._invocation.time})

    def _keep(self, prefix: str, kept: Collection[str] = ()) -> None:
        """Keep of what is noted after a prefix only this."""
        others = {what: time for what, time in self._record.first_seen.items() if not what.startswith(prefix)}
        noted = {f"{prefix}{what}": time for what, time in _noted(self._record, prefix).items() if what in kept}
        self._record = self._record._replace(first_seen={**others, **noted})

    def _has_time(self) -> bool:
        if self._changes < _MAX_CHANGES and self._invocation.deadline.allows(_CALLS):
            return True
        self._is_complete = False
        return False

    def _change(self, decision: Decision, added: Mapping[str, str] = {}) -> Iterator[Outcome]:
        """Add tags to an image, or remove those that do not apply, and yield the outcome.

        What AWS refuses does not stop the others.
        """
        if not self._has_time():
            return
        self._changes += 1
        arn, image_builder = decision.build.arn, self._invocation.clients.image_builder
        try:
            exists = image_builder.tag(arn, added) if added else image_builder.untag(arn, decision.removed)
        except PermanentError as error:
            self._note(error, arn)
            return
        if exists:
            tags = [f"{key} = {value}" for key, value in added.items()] or decision.removed
            yield _outcome(decision, f"{'Tagged' if added else 'Untagged'}: {', '.join(tags)}.")

    def _write_day(self, decision: Decision) -> Iterator[Outcome]:
        """Write the announced day of deletion of an image. Until it is written, each sweep tries again."""
        for outcome in self._change(decision, {DELETE: decision.announced or ""}):
            self._keep(_ANNOUNCED, {*_noted(self._record, _ANNOUNCED)} - {decision.build.arn})
            yield outcome

    def _notify(self, announced: Sequence[Decision]) -> None:
        """Publish what is about to be deleted, and of what the tag for its deletion was removed."""
        stopped = [*_noted(self._record, _UNTAGGED)]
        lines = [f"{_label(each)}: from {each.announced} on." for each in announced]
        lines += [f"{label} had the tag {DELETE} and is not due. The tag was removed." for label in stopped]
        if not lines:
            return
        left = len(lines) - _MAX_LISTED
        more = [f"{left} more: invoke the function with the payload of a sweep and dryRun."] if left > 0 else []
        reason = f"No deletion is announced. The tag {DELETE} was removed from {len(stopped)} images."
        if announced:
            reason = f"Image Builder will delete {len(announced)} superseded images, with their AMIs and snapshots."
        publish(Outcome(OutcomeKind.RETENTION, reason=reason, warnings=[*lines[:_MAX_LISTED], *more]), self._invocation)
        self._keep(_UNTAGGED)
        if announced:
            for what in (_NOTIFIED, *(f"{_ANNOUNCED}{each.build.arn}" for each in announced)):
                self._note_time(what)

    def _report(self) -> Outcome:
        """Return what AWS has refused, published unless each of these problems was reported since a complete pass."""
        reported = self._record.reported.partition(" ")[2].split(_SEPARATOR)
        problems = sorted({*filter(None, reported), *self._refused})
        outcome = Outcome(
            OutcomeKind.RETENTION_FAILED,
            image_arn=self._refused_arns[0],
            reason=" ".join(str(error) for _, error in sorted(self._refused.items())),
            problem=_SEPARATOR.join(problems),
        )
        if self._record.reported == outcome.report:
            return outcome._replace(is_new=False)
        publish(outcome, self._invocation)
        self._record = self._record._replace(reported=outcome.report)
        return outcome


def _label(decision: Decision) -> str:
    build = decision.build
    return f"{BuildArn.parse(build.arn).label} ({', '.join(build.ami_ids) or 'no AMI'})"


def _outcome(decision: Decision, reason: str) -> Outcome:
    build = decision.build
    return Outcome(OutcomeKind.RETENTION, image_arn=build.arn, reason=reason, ami_id=next(iter(build.ami_ids), None))


def _describe_preview(decision: Decision) -> str:
    """Return what the next pass does with an image, and when it may be deleted."""
    since, day = decision.marks.superseded, decision.deletion_day
    if since is None:
        return f"It is not superseded. The next pass removes {' and '.join(decision.removed)}."
    is_new = SUPERSEDED in decision.added
    marked = "The next pass marks it as superseded." if is_new else f"It is superseded since {since}."
    return f"{marked} It may be deleted from {day} on." if day else f"{marked} It is not deleted."
