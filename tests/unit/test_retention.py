"""Which images are superseded, when they may be deleted, and the pass that marks them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest

from tests.unit.fakes import NOW, TASK_ID, InMemoryAws, version_arn
from vm_image_import.domain.errors import PermanentError, TransientError
from vm_image_import.domain.models import NO_MARKS, Build, Marks
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.domain.retention import YES, Decision, Noted, Rule, decide, find_superseded, newest_builds
from vm_image_import.imports.retention import CHECKED, RECORD
from vm_image_import.records.registration import Record
from vm_image_import.settings import Settings

TODAY = NOW.date()
MONTH = timedelta(days=30)
RULE = Rule(2, MONTH)
KEEP_TWO = Rule(2)
SETTINGS = Settings(keep_versions=2, delete_after_days=30)


def build(  # noqa: PLR0913 - what a build is made of
    version: str,
    number: int = 1,
    *,
    name: str = "web",
    status: str = "AVAILABLE",
    ami: str | None = None,
    marks: Marks = NO_MARKS,
    task: str | None = TASK_ID,
    is_import: bool = True,
) -> Build:
    """Return an imported build, which has an AMI of its own unless one is given."""
    ami = f"ami-{name}-{version}-{number}" if ami is None else ami
    return Build(version_arn(version, name, number), status, is_import, (ami,) if ami else (), task, marks=marks)


def day(days: int) -> str:
    """Return the day so many days after today."""
    return (TODAY + timedelta(days=days)).isoformat()


def labels(builds: list[Build]) -> list[str]:
    """Return name, version and number of builds."""
    return [each.arn.partition(":image/")[2] for each in builds]


@dataclass(frozen=True)
class Case:
    """Builds, and those of them that are superseded."""

    builds: list[Build]
    superseded: list[str] = field(default_factory=list)
    rule: Rule = KEEP_TWO
    pinned: tuple[str, ...] = ()


CASES: Mapping[str, Case] = {
    "the versions below the highest ones": Case(
        [build("1.10.0"), build("1.9.0"), build("1.2.0"), build("1.0.0")], ["web/1.2.0/1", "web/1.0.0/1"]
    ),
    "none where there are not more than are kept": Case([build("1.0.0"), build("2.0.0")]),
    "of each name by itself": Case(
        [build(version, name=name) for name in ("web", "shop") for version in ("1.0.0", "2.0.0", "3.0.0")],
        ["web/1.0.0/1", "shop/1.0.0/1"],
    ),
    "an older build of a kept version": Case(
        [build("1.0.0"), build("2.0.0", 1), build("2.0.0", 2), build("2.0.0", 10)], ["web/2.0.0/1", "web/2.0.0/2"]
    ),
    "no build above the available one of its version": Case(
        [build("1.0.0"), build("1.0.0", 2, status="DEPRECATED")], rule=Rule(1)
    ),
    "nothing for a deprecated newest version": Case(
        [build("1.0.0"), build("2.0.0"), build("3.0.0", status="DEPRECATED")],
    ),
    "the deprecated version below the kept ones": Case(
        [build("1.0.0", status="DEPRECATED"), build("2.0.0"), build("3.0.0")], ["web/1.0.0/1"]
    ),
    "no version between the kept ones": Case(
        [build("1.0.0"), build("2.0.0", status="DISABLED"), build("3.0.0")],
    ),
    "what has failed below the kept ones": Case(
        [build("1.0.0", status="FAILED", ami=""), build("2.0.0"), build("3.0.0")], ["web/1.0.0/1"]
    ),
    "nothing that is in progress": Case([build("1.0.0", status="PENDING"), build("2.0.0"), build("3.0.0")]),
    "nothing that is deleted": Case([build("1.0.0", status="DELETED"), build("2.0.0"), build("3.0.0")]),
    "nothing where none is available": Case(
        [build("1.0.0", status="FAILED"), build("2.0.0", status="DEPRECATED")], rule=Rule(1)
    ),
    "nothing of others, and not because of others": Case(
        [
            *(build("1.0.0", task=None), build("1.1.0", is_import=False), build("1.2.0", task="another tool's")),
            *(build("2.0.0"), build("3.0.0"), build("4.0.0", task=None), build("5.0.0", is_import=False)),
        ],
    ),
    "nothing with the tag that keeps it": Case(
        [build("1.0.0", marks=Marks(is_kept=True)), build("1.1.0"), build("2.0.0"), build("3.0.0")], ["web/1.1.0/1"]
    ),
    "nothing whose AMI a parameter names": Case(
        [build("1.0.0"), build("2.0.0"), build("3.0.0")], pinned=("ami-web-1.0.0-1",)
    ),
    "nothing whose AMI is that of a build that stays": Case(
        [build("2.0.0", 1, ami="ami-1"), build("2.0.0", 2, ami="ami-1"), build("3.0.0")]
    ),
    "nothing whose AMI has another name, too": Case(
        [build("1.0.0", ami="ami-1"), build("2.0.0"), build("3.0.0"), build("1.0.0", name="shop", ami="ami-1")]
    ),
    "nothing whose AMI is that of an image of others": Case(
        [build("1.0.0", ami="ami-1"), build("2.0.0"), build("3.0.0"), build("0.1.0", task=None, ami="ami-1")]
    ),
    "what shares its AMI with deleted images only": Case(
        [build("1.0.0", ami="ami-1"), build("2.0.0"), build("3.0.0"), build("0.1.0", status="DELETED", ami="ami-1")],
        ["web/1.0.0/1"],
    ),
    "nothing whose tagged AMI is that of a build that stays": Case(
        [
            build("1.0.0", status="FAILED", ami="")._replace(tagged_ami_id="ami-web-3.0.0-1"),
            *(build("2.0.0"), build("3.0.0")),
        ],
    ),
    "nothing of other names, nor what shares its AMI with one": Case(
        [
            *(build(version, name=name, ami=version) for name in ("web", "shop") for version in ("1.0.0", "2.0.0")),
            *(build("0.1.0"), build("3.0.0"), build("3.0.0", name="shop")),
        ],
        ["web/0.1.0/1"],
        Rule(2, allows=lambda name: name == "web"),
    ),
    "nothing with an unknown ARN": Case(
        [build("1.0.0")._replace(arn="arn:aws:imagebuilder:image/web/1.0.0/1"), build("2.0.0"), build("3.0.0")]
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_superseded(case: Case) -> None:
    """Exactly the builds of the case are superseded, in whatever order Image Builder lists them."""
    for builds in (case.builds, case.builds[::-1]):
        assert sorted(labels(find_superseded(builds, case.rule, case.pinned))) == sorted(case.superseded)


@pytest.mark.parametrize("checked", [-7, -3, 0])
@pytest.mark.parametrize(
    ("present", "wanted", "deletion_day"),
    [
        (Marks(), Marks(day(0), None), day(30)),
        (Marks("gone"), Marks(day(0), None), day(30)),
        (Marks("9999-12-31", "9999-12-31"), Marks(day(0), None), day(30)),
        (Marks(day(-22)), Marks(day(-22), None), day(8)),
        (Marks(day(-23)), Marks(day(-23), day(7)), day(7)),
        (Marks(day(-100)), Marks(day(-100), day(7)), day(7)),
        (Marks(day(-29), day(1)), Marks(day(-29), day(1)), day(1)),
        (Marks(day(-30), day(0)), Marks(day(-30), YES), day(0)),
        (Marks(day(-33), day(-3)), Marks(day(-33), YES), day(0)),
        (Marks(day(-33), YES), Marks(day(-33), YES), day(0)),
        (Marks(day(-29), YES), Marks(day(-29), day(7)), day(7)),
        (Marks(day(-3), YES), Marks(day(-3), None), day(27)),
        (Marks(None, YES), Marks(day(0), None), day(30)),
        (Marks(day(-40), day(400)), Marks(day(-40), day(7)), day(7)),
        (Marks(day(-25), day(-1)), Marks(day(-25), day(7)), day(7)),
    ],
    ids=[
        *(
            "new",
            "no day",
            "a day to come",
            "more than a week before",
            "a week before",
            "late",
            "announced",
            "due",
            "overdue",
        ),
        *("to be deleted", "deleted a day too early", "deleted weeks too early", "the mark was removed"),
        *("announced for a distant day", "announced for a day before it is due"),
    ],
)
def test_when_an_image_may_be_deleted(present: Marks, wanted: Marks, deletion_day: str, checked: int) -> None:
    """An image is announced a week before the end of its time, and may be deleted no sooner than that."""
    builds = [build("1.0.0", marks=present), build("2.0.0"), build("3.0.0")]
    (decision,) = decide(builds, RULE, TODAY, Noted(TODAY + timedelta(days=checked)))
    assert (decision.marks, str(decision.deletion_day)) == (wanted, deletion_day)


@pytest.mark.parametrize("checked", [None, -8], ids=["never", "more than a week ago"])
@pytest.mark.parametrize("delete", [YES, day(-300), day(0)], ids=["to be deleted", "overdue", "due"])
def test_an_old_announcement_is_made_anew(delete: str, checked: int | None) -> None:
    """Where marks were not checked for a week, or one was not removed, what is due is announced again and untagged."""
    builds = [build("1.0.0", marks=Marks(day(-330), delete)), build("2.0.0"), build("3.0.0")]
    last = None if checked is None else TODAY + timedelta(days=checked)
    for noted in (Noted(last), Noted(TODAY, {builds[0].arn})):
        (decision,) = decide(builds, RULE, TODAY, noted)
        assert (decision.marks, str(decision.deletion_day)) == (Marks(day(-330), day(7)), day(7))
        assert (decision.announced, decision.removed) == (day(7), ["vm-image-import:delete"])


@pytest.mark.parametrize("checked", [None, -8, -7, 0])
def test_an_announced_day_to_come_is_kept(checked: int | None) -> None:
    """A day that is to come is not announced again, whenever the marks were checked."""
    builds = [build("1.0.0", marks=Marks(day(-29), day(1))), build("2.0.0"), build("3.0.0")]
    last = None if checked is None else TODAY + timedelta(days=checked)
    (decision,) = decide(builds, RULE, TODAY, Noted(last))
    assert (decision.marks.delete, decision.removed, decision.announced) == (day(1), [], None)


def test_without_days_nothing_is_deleted() -> None:
    """Without `deleteAfterDays` images are marked as superseded, and the tag for the deletion is removed."""
    builds = [build("1.0.0", marks=Marks(day(-400), YES)), build("2.0.0"), build("3.0.0")]
    (decision,) = decide(builds, Rule(2), TODAY, Noted(TODAY))
    assert (decision.marks, decision.deletion_day) == (Marks(day(-400), None), None)
    assert (decision.removed, decision.added, decision.announced) == (["vm-image-import:delete"], {}, None)


def test_builds_of_one_ami_wait_for_each_other() -> None:
    """An AMI is deleted no sooner than so many days after the last one of its images was marked."""
    old, new = Marks(day(-30), day(0)), Marks(day(-3))
    builds = [
        *(build("1.0.0", ami="ami-1", marks=old), build("1.1.0", ami="ami-1", marks=new)),
        *(build("2.0.0"), build("3.0.0")),
    ]
    assert [each.deletion_day for each in decide(builds, RULE, TODAY, Noted(TODAY))] == [
        date.fromisoformat(day(27))
    ] * 2
    assert [each.marks.delete for each in decide(builds, RULE, TODAY, Noted(TODAY))] == [None, None]


@pytest.mark.parametrize(
    "other",
    [
        build("3.0.0", marks=Marks(day(-50), YES)),
        build("1.0.0", marks=Marks(day(-50), YES, is_kept=True)),
        build("1.0.0", marks=Marks(day(-50), YES), is_import=False),
        build("1.0.0", marks=Marks(day(-50), YES), status="PENDING"),
    ],
    ids=["newest", "kept", "no import", "in progress"],
)
def test_marks_that_do_not_apply_are_removed(other: Build) -> None:
    """An image that is not superseded keeps no mark, whoever has tagged it."""
    (decision,) = decide([other, build("2.0.0")], RULE, TODAY, Noted(TODAY))
    assert decision.removed == ["vm-image-import:superseded", "vm-image-import:delete"]
    assert (decision.stops_deletion, decision.added, decision.announced) == (True, {}, None)


@pytest.mark.parametrize(
    "other",
    [
        build("1.0.0", marks=Marks(day(-50), YES), task=None),
        build("1.0.0", marks=Marks(day(-50), YES), status="DELETED"),
        build("1.0.0", marks=Marks(day(-50), YES), name="shop"),
        build("1.0.0", marks=Marks(day(-50), YES))._replace(arn="arn:web"),
    ],
    ids=["without the tag of this system", "deleted", "of another name", "with an unknown ARN"],
)
def test_marks_without_effect_are_left(other: Build) -> None:
    """Marks on what the policy cannot delete are not changed."""
    rule = Rule(2, MONTH, allows=lambda name: name == "web")
    assert [*decide([other, build("2.0.0")], rule, TODAY, Noted(TODAY))] == []


def test_the_newest_build_is_whoevers() -> None:
    """The newest builds are those that `x.x.x` names: the highest available ones, of others, too."""
    builds = [
        build("2.0.0"),
        build("3.0.0", task=None),
        build("3.0.0", 2, status="FAILED"),
        build("1.0.0", name="shop"),
    ]
    broken = build("9.0.0")._replace(arn="arn:web")
    assert newest_builds([*builds, broken]) == {"web": builds[1].arn, "shop": builds[3].arn}


def test_only_changes_are_written() -> None:
    """A decision adds the tags that are missing or other, and removes those that are not wanted."""
    decision = Decision(build("1.0.0", marks=Marks(day(-30), day(0))), Marks(day(-30), YES))
    assert (decision.added, decision.removed) == ({"vm-image-import:delete": YES}, [])
    assert not decision.stops_deletion


# The pass.


def account(*marks: Marks, settings: Settings = SETTINGS, checked: int | None = 0) -> InMemoryAws:
    """Return an account with two kept versions of a name, and one lower version for each of the marks.

    All marks were checked on the day `checked`; None where they never were.
    """
    lower = [build(f"1.{number}.0", marks=each) for number, each in enumerate(marks)]
    aws = InMemoryAws(settings=settings, builds=[*lower, build("2.0.0"), build("3.0.0")])
    if checked is not None:
        aws.put(Record(first_seen={CHECKED: NOW + timedelta(days=checked)}), RECORD, is_open=False)
    return aws


def marks_of(aws: InMemoryAws, version: str = "1.0.0", name: str = "web") -> Marks:
    """Return the marks of a version."""
    (found,) = (each.marks for each in aws.builds if f"/{name}/{version}/" in each.arn)
    return found


def writes(aws: InMemoryAws) -> list[str]:
    """Return the calls that change tags."""
    return [call for call in aws.calls if call.startswith(("tag", "untag"))]


def test_an_image_is_marked_announced_and_deleted() -> None:
    """An image is marked on the first day, announced a week before it is due, and then tagged for its deletion."""
    aws = account(NO_MARKS)
    seen: dict[Marks, int] = {}
    for days in range(32):
        aws.age = timedelta(days=days)
        for _ in range(2):
            aws.sweep()
        seen.setdefault(marks_of(aws), days)
    assert seen == {Marks(day(0)): 0, Marks(day(0), day(30)): 23, Marks(day(0), YES): 30}
    ((subject, message, outcome, _),) = aws.published
    assert (subject, outcome) == ("Deletion of superseded images", "RETENTION")
    assert f"web/1.0.0/1 (ami-web-1.0.0-1): from {day(30)} on." in message
    assert len(writes(aws)) == 3


def test_a_pass_is_made_once_a_day() -> None:
    """The second sweep of a day reads one record, and lists no builds."""
    aws = account(NO_MARKS)
    aws.sweep()
    aws.calls.clear()
    writes_before = aws.writes
    assert aws.sweep().outcomes == []
    # The lock of the sweep.
    assert (aws.calls, aws.writes - writes_before) == ([], 1)
    aws.age = timedelta(days=1)
    aws.sweep()
    assert aws.calls == ["list_builds", "find_available ami-web-1.0.0-1 ami-web-2.0.0-1 ami-web-3.0.0-1"]


def test_another_configuration_is_a_pass_of_its_own() -> None:
    """The first sweep with another configuration makes a pass: raised, lowered, and without a deletion."""
    aws = account(Marks(day(-90), YES))
    aws.sweep()
    assert marks_of(aws) == Marks(day(-90), YES)
    aws.settings = Settings(keep_versions=3, delete_after_days=30)
    aws.sweep()
    assert marks_of(aws) == NO_MARKS
    aws.settings = Settings(keep_versions=1, delete_after_days=30)
    aws.sweep()
    assert [marks_of(aws, version) for version in ("1.0.0", "2.0.0", "3.0.0")] == [*[Marks(day(0))] * 2, NO_MARKS]
    aws.settings = Settings(keep_versions=1)
    aws.sweep()
    assert marks_of(aws) == Marks(day(0))


@pytest.mark.parametrize("checked", [None, -200])
def test_old_marks_get_a_notice_when_retention_is_on_again(checked: int | None) -> None:
    """After a time without passes no image is deleted before it was announced, and then a week has passed."""
    aws = account(Marks(day(-330), YES), Marks(day(-330), day(-300)), checked=checked)
    seen: dict[tuple[Marks, Marks], int] = {}
    for days in range(9):
        aws.age = timedelta(days=days)
        aws.sweep()
        seen.setdefault((marks_of(aws), marks_of(aws, "1.1.0")), days)
    announced, due = Marks(day(-330), day(7)), Marks(day(-330), YES)
    assert seen == {(announced, announced): 0, (due, due): 7}
    ((_, message, *_),) = aws.published
    assert message.count(f"from {day(7)} on.") == 2


@pytest.mark.parametrize("limit", ["changes", "announced today", "time", "late list"])
def test_an_old_mark_gets_a_notice_also_where_its_pass_is_cut_short(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """An image that one pass could not announce any more is announced a week before its deletion, too."""
    aws = account(*[Marks(day(-330), YES), Marks(day(-330), day(-300))] * 2, checked=None)
    if limit == "changes":
        monkeypatch.setattr("vm_image_import.imports.retention._MAX_CHANGES", 3)
    if limit == "announced today":
        aws.put(Record(first_seen={"notified": NOW}), RECORD, is_open=False)
    if limit == "late list":
        aws.current_builds = aws.builds[:1]
    aws.calls_in_time = 3 if limit == "time" else 10_000
    for days in range(7):
        aws.age = timedelta(days=days)
        for _ in range(5):
            aws.sweep()
            assert YES not in {build.marks.delete for build in aws.builds} or not days
            aws.calls_in_time = 10_000
        aws.current_builds = None
    announced = [build.marks.delete for build in aws.builds if build.marks.delete]
    assert (len(announced), {*announced} <= {day(7), day(8)}) == (4, True)


def test_what_was_not_untagged_is_not_taken_for_announced() -> None:
    """As long as AWS refuses to remove an old mark, it does not count; then the last announced day is written."""
    aws = account(Marks(day(-330), day(-300)), NO_MARKS, checked=None)
    aws.errors[version_arn("1.0.0", "web")] = PermanentError("Denied.", "AccessDeniedException")
    for days in range(20):
        aws.age = timedelta(days=days)
        aws.sweep()
        assert marks_of(aws) == Marks(day(-330), day(-300))
    aws.errors, aws.age = {}, timedelta(days=20)
    aws.sweep()
    assert marks_of(aws) == Marks(day(-330), day(21))


def test_a_refused_removal_stops_no_other_deletion() -> None:
    """Where AWS refuses to remove the mark of one image, another one is announced and deleted on its days."""
    aws = account(Marks(day(-60)))
    aws.builds.append(build("1.0.0", name="shop", marks=Marks(day(-60), YES)))
    aws.errors[version_arn("1.0.0", "shop")] = PermanentError("Denied.", "AccessDeniedException")
    seen: dict[Marks, int] = {}
    for days in range(60):
        aws.age = timedelta(days=days)
        aws.sweep()
        seen.setdefault(marks_of(aws), days)
    assert seen == {Marks(day(-60), day(7)): 0, Marks(day(-60), YES): 7}


def test_a_refused_removal_is_remembered_until_it_is_made() -> None:
    """An image whose mark AWS kept is announced anew where it is due later; nothing is remembered afterwards."""
    aws = account(Marks(day(-60), YES))
    aws.settings = Settings(keep_versions=3, delete_after_days=30)
    aws.errors[version_arn("1.0.0", "web")] = PermanentError("Denied.", "AccessDeniedException")
    aws.sweep()
    before = {*aws.record(RECORD).first_seen}
    aws.settings, aws.errors = SETTINGS, {}
    aws.sweep()
    assert marks_of(aws) == Marks(day(-60), day(7))
    remembered = f"not untagged {version_arn('1.0.0', 'web')}"
    assert (remembered in before, remembered in aws.record(RECORD).first_seen) == (True, False)


@pytest.mark.parametrize("days", range(1, 9))
def test_missed_days_need_no_new_notice(days: int) -> None:
    """Where passes are missing for up to a week, what was announced and is due is deleted without another notice."""
    aws = account(Marks(day(-29), day(1)))
    aws.sweep()
    aws.age = timedelta(days=days)
    aws.sweep()
    assert marks_of(aws).delete == (YES if days <= 7 else day(15))


@pytest.mark.parametrize("versions", [1, 3])
def test_another_number_of_versions_needs_no_new_notice(versions: int) -> None:
    """With another `keepVersions` an announced image is deleted on its day, if it is still superseded."""
    aws = account(Marks(day(-30), day(0)), Marks(day(-29), day(1)))
    aws.sweep()
    aws.age = timedelta(days=1)
    aws.settings = Settings(keep_versions=versions, delete_after_days=30)
    aws.sweep()
    assert marks_of(aws) == Marks(day(-30), YES)
    assert marks_of(aws, "1.1.0") == (Marks(day(-29), YES) if versions == 1 else NO_MARKS)
    assert aws.outcomes_published() == []


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(keep_versions=2, delete_after_days=30, observe=True)],
    ids=["not configured", "observe"],
)
def test_without_a_rule_nothing_is_read_or_changed(settings: Settings) -> None:
    """Without `keepVersions`, and with `observe`, a sweep lists no builds, and a dry run shows none."""
    aws = account(Marks(day(-90), YES), settings=settings)
    for dry_run in (False, True):
        result = aws.sweep(dry_run=dry_run)
        assert (result.outcomes, result.problems) == ([], [])
    assert aws.calls == []


def test_a_dry_run_shows_everything_and_changes_nothing() -> None:
    """A dry run names each superseded image with its day, and each image with a mark that does not apply."""
    aws = account(NO_MARKS, Marks(day(-23)), Marks(day(-30), YES))
    aws.change_marks(version_arn("3.0.0", "web"), {"vm-image-import:superseded": day(-1)})
    items = {**aws.items}
    outcomes = aws.sweep(dry_run=True).outcomes
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.RETENTION}
    reasons = {(outcome.image_arn or "").split("/")[2]: outcome.reason for outcome in outcomes}
    assert reasons == {
        "1.0.0": f"The next pass marks it as superseded. It may be deleted from {day(30)} on.",
        "1.1.0": f"It is superseded since {day(-23)}. It may be deleted from {day(7)} on.",
        "1.2.0": f"It is superseded since {day(-30)}. It may be deleted from {day(0)} on.",
        "3.0.0": "It is not superseded. The next pass removes vm-image-import:superseded.",
    }
    assert (writes(aws), aws.published, aws.items) == ([], [], items)
    aws.settings = Settings(keep_versions=2)
    assert (aws.sweep(dry_run=True).outcomes[0].reason or "").endswith("superseded. It is not deleted.")


def test_what_the_parameter_names_is_not_marked() -> None:
    """The AMI that a parameter names keeps its image from being marked, and its mark is removed."""
    settings = Settings(keep_versions=2, delete_after_days=30, parameter_prefix="/base")
    aws = account(Marks(day(-90), YES), NO_MARKS, settings=settings)
    aws.parameters["/base/web"] = "ami-web-1.0.0-1"
    aws.sweep()
    assert (marks_of(aws), marks_of(aws, "1.1.0")) == (NO_MARKS, Marks(day(0)))


@dataclass(frozen=True)
class LostCase:
    """Versions, of which some have lost their AMIs, and those that are superseded."""

    builds: list[Build]
    lost: tuple[str, ...]
    superseded: tuple[str, ...] = ()


LOST_CASES: Mapping[str, LostCase] = {
    "a lost newest version": LostCase([build("1.0.0"), build("2.0.0"), build("3.0.0")], ("3.0.0",)),
    "a lost version between": LostCase([build("1.0.0"), build("2.0.0"), build("3.0.0")], ("2.0.0",)),
    "one of more": LostCase([build(f"{n}.0.0") for n in (1, 2, 3, 4)], ("3.0.0",), ("1.0.0",)),
    "a lost superseded version": LostCase([build("1.0.0"), build("2.0.0"), build("3.0.0")], ("1.0.0",), ("1.0.0",)),
    "all": LostCase([build("1.0.0"), build("2.0.0"), build("3.0.0")], ("1.0.0", "2.0.0", "3.0.0")),
    "a lost newer build": LostCase([build("2.0.0"), build("3.0.0"), build("3.0.0", 2)], ("3.0.0-2",)),
    "one that only a tag names": LostCase(
        [build("1.0.0"), build("2.0.0"), build("3.0.0", ami="")._replace(tagged_ami_id="ami-web-3.0.0")], ("3.0.0",)
    ),
    "one that is not known": LostCase([build("1.0.0"), build("2.0.0"), build("3.0.0", ami="")], ()),
}


@pytest.mark.parametrize("case", LOST_CASES.values(), ids=LOST_CASES.keys())
def test_a_version_without_an_ami_is_not_counted(case: LostCase) -> None:
    """A version whose AMI is deregistered or disabled is none of those that are kept, and a dry run shows the same."""
    gone = {ami_id for lost in case.lost for ami_id in (f"ami-web-{lost}", f"ami-web-{lost}-1")}
    aws = InMemoryAws(settings=SETTINGS, builds=case.builds, gone=gone)
    shown = {(outcome.image_arn or "").split("/")[2] for outcome in aws.sweep(dry_run=True).outcomes}
    aws.sweep()
    marked = {each.arn.split("/")[2] for each in aws.builds if each.marks.superseded}
    assert (shown, marked) == ({*case.superseded}, {*case.superseded})


def test_the_last_usable_ami_of_a_name_stays() -> None:
    """An image that has its time behind it loses its marks where the newer one has lost its AMI."""
    builds = [build("1.0.0", marks=Marks(day(-90), YES)), build("2.0.0")]
    aws = InMemoryAws(settings=Settings(keep_versions=1, delete_after_days=30), builds=builds, gone={"ami-web-2.0.0-1"})
    aws.sweep()
    assert marks_of(aws) == NO_MARKS


def test_amis_are_read_of_names_with_superseded_images_only() -> None:
    """One read names the AMIs of the available imports of all names with superseded images, and no other AMI."""
    aws = account(NO_MARKS)
    aws.builds += [build("1.0.0", name="shop"), build("1.5.0", status="FAILED"), build("1.6.0", task=None)]
    aws.builds += [build(version, name="app") for version in ("1.0.0", "2.0.0", "3.0.0")]
    aws.sweep(dry_run=True)
    amis = [f"ami-{name}-{version}-1" for name in ("app", "web") for version in ("1.0.0", "2.0.0", "3.0.0")]
    assert aws.calls == ["list_builds", f"find_available {' '.join(amis)}"]


def test_a_late_list_marks_nothing() -> None:
    """Where `x.x.x` is not what the list of builds shows, nothing of the name is marked on that day."""
    aws = account(NO_MARKS)
    aws.current_builds = aws.builds[:1]
    for image in (aws.current_builds, [build("9.9.9", status="PENDING")]):
        aws.current_builds = image
        aws.sweep()
        assert writes(aws) == []
        aws.items.clear()


def test_a_tag_that_others_have_set_is_removed_and_reported() -> None:
    """A tag for the deletion of an image that is not due is removed, and is in the notification of the day."""
    aws = account(Marks(day(-1), YES))
    aws.change_marks(version_arn("3.0.0", "web"), {"vm-image-import:delete": YES})
    aws.sweep()
    assert (marks_of(aws), marks_of(aws, "3.0.0")) == (Marks(day(-1)), NO_MARKS)
    ((_, message, *_),) = aws.published
    for label in ("web/1.0.0/1 (ami-web-1.0.0-1)", "web/3.0.0/1 (ami-web-3.0.0-1)"):
        assert f"{label} had the tag vm-image-import:delete and is not due." in message


def test_there_is_one_notification_a_day() -> None:
    """A second pass of a day publishes nothing, and announces on the next day."""
    aws = account(Marks(day(-23)))
    aws.sweep()
    aws.builds.append(build("1.9.0", marks=Marks(day(-99))))
    aws.settings = Settings(keep_versions=2, delete_after_days=29)
    aws.sweep()
    assert (len(aws.published), marks_of(aws, "1.9.0")) == (1, Marks(day(-99)))
    aws.age = timedelta(days=1)
    aws.sweep()
    assert (len(aws.published), marks_of(aws, "1.9.0")) == (2, Marks(day(-99), day(8)))


def test_a_tag_that_others_have_set_is_reported_on_every_pass() -> None:
    """A removed tag is reported although images were announced on that day, and costs the others no announcement."""
    aws = account(Marks(day(-23)), NO_MARKS)
    for days in (29, 28):
        aws.sweep()
        aws.change_marks(version_arn("1.1.0", "web"), {"vm-image-import:delete": YES})
        aws.settings = Settings(keep_versions=2, delete_after_days=days)
    aws.sweep()
    assert marks_of(aws, "1.1.0") == Marks(day(0))
    reported = ["web/1.1.0/1 (ami-web-1.1.0-1) had the tag" in message for _, message, *_ in aws.published]
    assert reported == [False, True, True]


def test_a_reported_tag_delays_no_announcement() -> None:
    """A notification about removed tags only is not the announcement of its day."""
    aws = account(Marks(day(-1), YES))
    aws.sweep()
    aws.builds.append(build("1.9.0", marks=Marks(day(-99))))
    aws.settings = Settings(keep_versions=2, delete_after_days=29)
    aws.sweep()
    assert (len(aws.published), marks_of(aws, "1.9.0")) == (2, Marks(day(-99), day(7)))


def test_a_removed_tag_is_reported_whatever_follows() -> None:
    """A removed tag is reported although AWS is throttled afterwards: no later pass finds the tag."""
    aws = account(Marks(day(-1), YES), NO_MARKS)
    aws.errors[version_arn("1.1.0", "web")] = TransientError("Slow down.")
    assert aws.sweep().problems == ["Retention: Slow down."]
    assert (marks_of(aws), len(aws.published)) == (Marks(day(-1)), 1)


@pytest.mark.parametrize(
    "error", [TransientError("Slow down."), PermanentError("Denied.", "AuthorizationErrorException")]
)
def test_a_removed_tag_is_reported_when_it_can_be(error: Exception) -> None:
    """A removed tag whose notification could not be sent is reported once, by the next pass that can."""
    aws = account(Marks(day(-1), YES))
    aws.publish_error = error
    aws.sweep()
    assert (marks_of(aws), aws.published) == (Marks(day(-1)), [])
    aws.publish_error = None
    for days in range(3):
        aws.age = timedelta(days=days)
        aws.sweep()
    ((_, message, outcome, _),) = aws.published
    assert ("web/1.0.0/1 (ami-web-1.0.0-1) had the tag" in message, outcome) == (True, "RETENTION")


def test_a_notification_of_removed_tags_announces_no_deletion() -> None:
    """A notification about removed tags only says that, and of no image that it will be deleted."""
    aws = account(Marks(day(-1), YES))
    aws.sweep()
    ((_, message, *_),) = aws.published
    assert ("Image Builder will delete" in message, "No deletion is announced." in message) == (False, True)


def test_only_a_tag_that_was_removed_is_reported_so() -> None:
    """A notification does not say of a tag that AWS keeps, or for which there was no time, that it was removed."""
    aws = account(Marks(day(-1), YES), Marks(day(-1), YES))
    aws.errors[version_arn("1.0.0", "web")] = PermanentError("Denied.", "AccessDeniedException")
    aws.sweep()
    assert aws.outcomes_published() == ["RETENTION", "RETENTION_FAILED"]
    message = aws.published[0].message
    assert ("web/1.0.0/1 (" in message, "web/1.1.0/1 (" in message) == (False, True)


def test_many_deletions_are_one_notification() -> None:
    """A notification lists 100 images and counts the others."""
    aws = account(*[Marks(day(-60))] * 130)
    aws.sweep()
    ((_, message, *_),) = aws.published
    assert message.count(f"from {day(7)} on.") == 100
    assert "30 more: invoke the function" in message
    assert "will delete 130 superseded images" in message


def test_a_denied_tag_is_reported_once_and_tried_again() -> None:
    """Where AWS denies the tags of an image, the others are marked. It is reported once, and each sweep tries again."""
    aws = account(NO_MARKS, NO_MARKS)
    aws.errors[version_arn("1.0.0", "web")] = PermanentError("Denied.", "AccessDeniedException")
    for _ in range(3):
        outcome = aws.sweep().outcomes[-1]
        assert (outcome.kind, outcome.problem) == (OutcomeKind.RETENTION_FAILED, "AccessDeniedException")
    assert aws.outcomes_published() == ["RETENTION_FAILED"]
    assert aws.published[0].subject == "Retention failed: web/1.0.0/1"
    assert "Denied." in aws.published[0].message
    assert marks_of(aws, "1.1.0") == Marks(day(0))
    aws.errors.clear()
    aws.sweep()
    assert (marks_of(aws), aws.record(RECORD).reported) == (Marks(day(0)), "")


def test_problems_of_different_kinds_are_reported_once() -> None:
    """Whichever problem of several AWS answers first, or not at all, each kind is reported once until the pass ends."""
    aws = account(NO_MARKS, NO_MARKS)
    denied, limited = PermanentError("Denied.", "AccessDeniedException"), PermanentError("Too many.", "TooManyTags")
    first, second = version_arn("1.0.0", "web"), version_arn("1.1.0", "web")
    for problems in ((denied, denied), (denied, limited), (limited, denied), (denied, limited)):
        aws.errors = dict(zip((first, second), problems, strict=True))
        aws.sweep()
    assert aws.outcomes_published() == ["RETENTION_FAILED"] * 2
    assert "Denied. Too many." in aws.published[1].message
    aws.errors = {second: limited}
    assert [outcome.is_new for outcome in aws.sweep().outcomes if outcome.problem] == [False]
    aws.errors = {}
    aws.sweep()
    aws.age, aws.errors = timedelta(days=1), {version_arn("1.3.0", "web"): limited}
    aws.builds.append(build("1.3.0"))
    aws.sweep()
    assert aws.outcomes_published() == ["RETENTION_FAILED"] * 3


@pytest.mark.parametrize("what", ["list", "AMI", "x.x.x", "parameter"])
def test_what_cannot_be_read_is_reported_once(what: str) -> None:
    """Where AWS denies a read, nothing is marked, and it is reported once."""
    aws = account(NO_MARKS, settings=Settings(keep_versions=2, parameter_prefix="/base"))
    denied: Exception = PermanentError("Denied.", "AccessDeniedException")
    if what == "list":
        aws.builds_error = denied
    amis = " ".join(f"ami-web-{version}-1" for version in ("1.0.0", "2.0.0", "3.0.0"))
    read = {"AMI": amis, "x.x.x": version_arn("x.x.x", "web")[:-2], "parameter": "/base/web"}
    aws.errors = {read[what]: denied} if what in read else {}
    for _ in range(2):
        aws.sweep()
    assert (writes(aws), aws.outcomes_published()) == ([], ["RETENTION_FAILED"])


def test_a_transient_error_is_a_problem_of_the_sweep() -> None:
    """A throttled pass is a problem of the sweep, keeps what it has noted, and is continued by the next sweep."""
    aws = account(Marks(day(-60)), NO_MARKS)
    aws.errors[version_arn("1.1.0", "web")] = TransientError("Slow down.")
    assert aws.sweep().problems == ["Retention: Slow down."]
    aws.errors.clear()
    assert aws.sweep().problems == []
    assert (marks_of(aws, "1.1.0"), len(aws.published)) == (Marks(day(0)), 1)


def test_a_notification_that_cannot_be_sent_announces_nothing() -> None:
    """Without its notification an image gets no day of deletion; the next sweep tries again."""
    aws = account(Marks(day(-60)), NO_MARKS)
    aws.publish_error = TransientError("Slow down.")
    assert aws.sweep().problems == ["Retention: Slow down."]
    assert (marks_of(aws), marks_of(aws, "1.1.0")) == (Marks(day(-60)), Marks(day(0)))
    aws.publish_error = None
    aws.sweep()
    assert marks_of(aws) == Marks(day(-60), day(7))


def test_a_sweep_changes_so_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one sweep does not mark, the next ones do, until the pass is complete."""
    monkeypatch.setattr("vm_image_import.imports.retention._MAX_CHANGES", 2)
    aws = account(*[NO_MARKS] * 5)
    marked = []
    for _ in range(4):
        aws.sweep()
        marked.append(len(writes(aws)))
    assert marked == [2, 4, 5, 5]


@pytest.mark.parametrize("calls", range(1, 12))
def test_an_invocation_that_runs_out_of_time_is_continued(calls: int) -> None:
    """Whenever the time is over, later sweeps complete the pass."""
    settings = Settings(keep_versions=2, delete_after_days=30, parameter_prefix="/base")
    aws = account(NO_MARKS, Marks(day(-60)), Marks(day(-60), YES), settings=settings)
    aws.calls_in_time = calls
    aws.sweep()
    aws.calls_in_time = 10_000
    aws.sweep()
    assert [marks_of(aws, f"1.{number}.0") for number in range(3)] == [
        Marks(day(0)),
        Marks(day(-60), day(7)),
        Marks(day(-60), YES),
    ]
    assert aws.outcomes_published() == ["RETENTION"]


def test_more_names_than_there_is_time_for_are_a_problem() -> None:
    """Where there is no time to read the parameter of each name, nothing is marked, and the sweep says so."""
    settings = Settings(keep_versions=1, parameter_prefix="/base")
    builds = [build(version, name=name) for name in ("web", "shop") for version in ("1.0.0", "2.0.0")]
    aws = InMemoryAws(settings=settings, builds=builds, calls_in_time=2)
    (problem,) = aws.sweep().problems
    assert "No time was left to read the parameters" in problem
    assert writes(aws) == []


def test_a_refused_day_of_deletion_is_announced_once() -> None:
    """Where AWS refuses the tag with the announced day, each sweep tries again, until it can be written."""
    aws = account(Marks(day(-60)), Marks(day(-60)))
    aws.errors[version_arn("1.0.0", "web")] = PermanentError("Too many.", "InvalidParameterException")
    for days in range(3):
        for _ in range(2):
            aws.age = timedelta(days=days)
            aws.sweep()
    assert aws.outcomes_published() == ["RETENTION", "RETENTION_FAILED"]
    aws.errors.clear()
    aws.sweep()
    assert (marks_of(aws), marks_of(aws, "1.1.0")) == (Marks(day(-60), day(7)), Marks(day(-60), day(7)))
    assert len(aws.published) == 2


def test_a_day_of_deletion_that_was_never_written_is_announced_again() -> None:
    """An announced day that has passed before AWS lets it be written is announced anew."""
    aws = account(Marks(day(-60)))
    aws.errors[version_arn("1.0.0", "web")] = PermanentError("Denied.", "AccessDeniedException")
    aws.sweep()
    aws.errors, aws.age = {}, timedelta(days=8)
    aws.sweep()
    assert (marks_of(aws), aws.outcomes_published().count("RETENTION")) == (Marks(day(-60), day(15)), 2)


@pytest.mark.parametrize("days", [[0, 1, 2, 9], [0, 1, 2, 3, 4, 5, 6, 7]], ids=["seldom", "daily"])
def test_a_day_of_deletion_that_has_passed_unwritten_is_announced_anew(days: list[int]) -> None:
    """Where AWS refuses the tag until the announced day has come, a week's notice is given again."""
    aws = account(Marks(day(-60)))
    for each in days:
        denied = each < days[-1]
        aws.errors = {version_arn("1.0.0", "web"): PermanentError("Denied.", "AccessDeniedException")} if denied else {}
        aws.age = timedelta(days=each)
        aws.sweep()
    assert marks_of(aws) == Marks(day(-60), day(days[-1] + 7))
    assert aws.outcomes_published().count("RETENTION") == 2


def test_a_tag_with_the_announced_day_that_is_removed_is_announced_anew() -> None:
    """Where the answer to the tag was lost, and a user removes the tag later, a week's notice is given again."""
    aws = account(Marks(day(-60)))
    aws.errors[version_arn("1.0.0", "web")] = TransientError("No answer.")
    aws.sweep()
    aws.errors.clear()
    aws.change_marks(version_arn("1.0.0", "web"), {"vm-image-import:delete": day(7)})
    aws.sweep()
    aws.change_marks(version_arn("1.0.0", "web"), {"vm-image-import:delete": None})
    aws.age = timedelta(days=3)
    aws.sweep()
    assert marks_of(aws) == Marks(day(-60), day(10))
    assert aws.outcomes_published() == ["RETENTION"] * 2


def test_a_throttled_day_of_deletion_is_written_by_the_next_sweep() -> None:
    """Every day of one announcement is written, whenever AWS has time."""
    aws = account(*[Marks(day(-60))] * 3)
    aws.errors[version_arn("1.1.0", "web")] = TransientError("Slow down.")
    aws.sweep()
    aws.errors.clear()
    aws.sweep()
    assert {marks_of(aws, f"1.{number}.0") for number in range(3)} == {Marks(day(-60), day(7))}
    assert aws.outcomes_published() == ["RETENTION"]


def test_no_more_is_announced_than_one_sweep_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image is announced once, with the day that its tag gets, however many there are."""
    monkeypatch.setattr("vm_image_import.imports.retention._MAX_CHANGES", 2)
    aws = account(*[Marks(day(-60))] * 5)
    for days in range(4):
        aws.age = timedelta(days=days)
        aws.sweep()
        aws.sweep()
    days_of_tags = [marks_of(aws, f"1.{number}.0").delete for number in range(5)]
    assert sorted(filter(None, days_of_tags)) == [day(7), day(7), day(8), day(8), day(9)]
    for number, tagged in enumerate(days_of_tags):
        found = [each.message for each in aws.published if f"web/1.{number}.0/1 (" in each.message]
        assert len(found) == 1
        assert f"web/1.{number}.0/1 (ami-web-1.{number}.0-1): from {tagged} on." in found[0]


def test_what_another_account_shares_is_not_looked_at() -> None:
    """Builds of another account neither count as versions nor get marks."""
    aws = account(NO_MARKS)
    theirs = [build(version, marks=Marks(day(-60), YES)) for version in ("1.0.0", "9.0.0")]
    aws.builds += [each._replace(arn=each.arn.replace(":123456789012:", ":210987654321:")) for each in theirs]
    aws.sweep()
    assert writes(aws) == [f"tag {version_arn('1.0.0', 'web')}"]


def test_an_image_that_is_gone_is_no_failure() -> None:
    """An image that was deleted after it was listed is left out."""
    aws = account(NO_MARKS, NO_MARKS)
    aws.current_builds = aws.builds[1:]
    outcomes = aws.sweep().outcomes
    assert [outcome.image_arn for outcome in outcomes] == [version_arn("1.1.0", "web")]


def test_another_pass_is_not_waited_for() -> None:
    """Where another invocation makes the pass, a sweep does not."""
    aws = account(NO_MARKS)
    aws.in_progress.add(RECORD)
    assert aws.sweep().problems == []
    assert writes(aws) == []
