"""Whose name, whose version, whose tags: what a deployment allows, whatever an import states."""

from datetime import timedelta

import pytest

from tests.unit.derivation import derive
from tests.unit.fakes import AMI, ARN, AVAILABLE, TASK, TASK_ID, InMemoryAws, Item, version_arn
from vm_image_import.derive import names
from vm_image_import.domain.errors import PermanentError, RejectedError, TransientError
from vm_image_import.domain.models import Build, ImportTask, Overrides
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.records.registration import Record
from vm_image_import.report.answers import answer_of
from vm_image_import.settings import Settings

TEAM_A = Settings(allowed_names=["team-a-*", "shared"])
FROM_TAGS = Settings(names_from="tags", only_tasks_tagged={"Owner": "a"})
STATED = {"Name": "web", "Version": "1.0", "Owner": "a"}


@pytest.mark.parametrize(
    ("name", "patterns", "allowed"),
    [
        ("web", [], True),
        ("team-a-web", ["team-a-*"], True),
        ("team-a-", ["team-a-*"], True),
        ("team-a", ["team-a-*"], False),
        ("my-team-a-web", ["team-a-*"], False),
        ("team-b-web", ["team-a-*", "team-b-*"], True),
        ("web", ["*"], True),
        ("a-b-c", ["a-*-c"], True),
    ],
)
def test_a_pattern_matches_the_whole_name(name: str, patterns: list[str], *, allowed: bool) -> None:
    """A name is allowed where a pattern matches the whole of it; without patterns every name is."""
    assert names.is_allowed(name, patterns) is allowed


@pytest.mark.parametrize("stated", ["Team_A Web", "team-a-web", "TEAM-A-web", "Shared"])
def test_an_allowed_name_is_compared_as_its_arn_has_it(stated: str) -> None:
    """A name is compared in lower case and with hyphens, as its ARN has it."""
    aws = InMemoryAws(TASK._replace(tags={"Name": stated}), AMI, TEAM_A)
    assert aws.on_event().kind is OutcomeKind.REGISTERED


@pytest.mark.parametrize("stated", ["web-server", "Team-A", "team-b-web", "t\u0435am-b-web", "shared-2"])
def test_another_name_is_rejected_with_the_patterns(stated: str) -> None:
    """A name that no pattern allows is rejected, whether a tag, a payload or the file states it, with the patterns."""
    by_tag = InMemoryAws(TASK._replace(tags={"Name": stated}), AMI, TEAM_A)
    by_payload, by_file = InMemoryAws(TASK, AMI, TEAM_A), InMemoryAws(TASK, AMI, TEAM_A)
    for outcome in (by_tag.on_event(), by_payload.manually(Overrides(name=stated)), by_file.by_sweep()):
        assert outcome.kind is OutcomeKind.REJECTED
        assert "allowedNames, team-a-*, shared" in (outcome.reason or "")
    assert not [*by_tag.requests, *by_payload.requests, *by_file.requests]


def test_a_name_that_is_not_allowed_costs_sweeps_nothing() -> None:
    """A name that is not allowed is reported once, and is registered when it is corrected."""
    aws = InMemoryAws(TASK, AMI, TEAM_A)
    aws.sweep()
    aws.calls.clear()
    assert aws.sweep().outcomes == []
    assert (aws.calls, aws.outcomes_published()) == ([], ["REJECTED"])
    aws.task = TASK._replace(tags={"Name": "team-a-web"})
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED


@pytest.mark.parametrize(
    ("tags", "overrides", "problems"),
    [
        (STATED, Overrides(), None),
        ({**STATED, "Team": "x", "OsVersion": "y"}, Overrides(description="Web", os_version="z"), None),
        ({}, Overrides(), "tag Name, tag Version"),
        ({"Version": "1.0"}, Overrides(), "tag Name"),
        ({"Name": "web"}, Overrides(), "tag Version"),
        (STATED, Overrides(name="web"), "name"),
        (STATED, Overrides(semantic_version="1.0"), "semanticVersion"),
        ({**STATED, "name": "other"}, Overrides(), "tags in another case"),
        ({**STATED, "VERSION": "9.0"}, Overrides(), "tags in another case"),
        ({**STATED, "osversion": "x"}, Overrides(), "tags in another case"),
        ({**STATED, "owner": "b"}, Overrides(), "tags in another case"),
        ({"name": "other", "Version": "1.0"}, Overrides(), "tags in another case, tag Name"),
        ({**STATED, "Name": "?"}, Overrides(), "tag Name"),
    ],
)
def test_only_tags_state_name_and_version(tags: dict[str, str], overrides: Overrides, problems: str | None) -> None:
    """With `namesFrom` `tags`, exact tags of the task state name and version, and nothing else does."""
    task = TASK._replace(tags=tags, description="described")
    if problems is None:
        request = derive(task, AMI, overrides, FROM_TAGS, token="t").request
        assert (request.name, request.semantic_version) == ("web", "1.0.0")
        return
    with pytest.raises(RejectedError) as caught:
        derive(task, AMI, overrides, FROM_TAGS, token="t")
    assert caught.value.problem == problems


def test_by_default_everything_may_state_name_and_version() -> None:
    """By default, tags in another case state nothing and harm nothing, and the file states name and version."""
    task = TASK._replace(tags={"name": "other", "VERSION": "9.0"})
    request = derive(task, AMI, Overrides(), Settings(), token="t").request
    assert (request.name, request.semantic_version) == ("web-server", "1.4.2")


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (Settings(), {"Team": "shop", "Cost": "7", "team": "x"}),
        (Settings(tags={"Team": "ops"}), {"Team": "ops", "Cost": "7"}),
        (Settings(image_tag_keys=["Cost"]), {"Cost": "7"}),
        (Settings(image_tag_keys=[]), {}),
        (Settings(image_tag_keys=["Team"], tags={"Team": "ops"}), {"Team": "ops"}),
        (Settings(image_tag_keys=["CreatedBy", "createdby"]), {}),
        (Settings(tags={"CreatedBy": "us"}, image_tag_keys=[]), {"CreatedBy": "us"}),
    ],
    ids=["all", "configured wins", "listed", "none", "both", "CreatedBy", "CreatedBy of the configuration"],
)
def test_the_tasks_tags_on_an_image(settings: Settings, given: dict[str, str]) -> None:
    """An image gets the listed tags of its task, unless they are configured in any case, and never `CreatedBy`."""
    tags = {"Team": "shop", "team": "x", "Cost": "7", "CreatedBy": "EC2 Image Builder", "createdby": "x"}
    made = derive(TASK._replace(tags=tags), AMI, Overrides(), settings, token="t").request.tags
    assert {key: value for key, value in made.items() if not key.startswith("vm-image-import:")} == given


IMMUTABLE = Settings(immutable_versions=True)
VERSION = "version web-server/1.4.2"
"""The key of the claimed version."""
FIRST = TASK._replace(id="import-ami-00000002", image_id="ami-1")
"""Another import of the version."""
OTHER = Build(ARN, "AVAILABLE", is_import=True, ami_ids=("ami-0fedcba9876543210",))


@pytest.mark.parametrize(
    ("other", "taken"),
    [
        (OTHER, True),
        (OTHER._replace(status="PENDING", ami_ids=(), tagged_task_id="import-ami-00000000"), True),
        (OTHER._replace(status="DEPRECATED"), True),
        (OTHER._replace(arn=version_arn("01.04.2")), True),
        (OTHER._replace(status="FAILED"), False),
        (OTHER._replace(status="DELETED"), False),
        (OTHER._replace(arn=version_arn("1.4.1")), False),
        (OTHER._replace(arn=version_arn("1.4.2", "web-server-2")), False),
        (OTHER._replace(is_import=False), False),
    ],
    ids=["available", "pending", "deprecated", "zeros", "failed", "deleted", "version", "name", "a pipeline's"],
)
@pytest.mark.parametrize("settings", [IMMUTABLE, Settings()], ids=["immutable", "default"])
def test_a_version_that_another_import_has(settings: Settings, other: Build, *, taken: bool) -> None:
    """With `immutableVersions` it is rejected with the other's ARN; else it is another build, with a warning."""
    aws = InMemoryAws(TASK, AMI, settings, builds=[other], age=timedelta(hours=1))
    dry, outcome = aws.manually(dry_run=True), aws.on_event(age=timedelta(hours=1))
    if not taken:
        assert (dry.kind, outcome.kind) == (OutcomeKind.DRY_RUN, OutcomeKind.REGISTERED)
        assert not outcome.warnings
    elif settings.immutable_versions:
        assert dry.kind is outcome.kind is OutcomeKind.REJECTED
        assert f"version 1.4.2 of web-server, {other.arn}, and" in (outcome.reason or "")
        assert outcome.problem == "version"
        assert not aws.requests
        assert not aws.record().registration
    else:
        assert (
            dry.warnings
            == outcome.warnings
            == [f"This is another build of version 1.4.2, which another import has: {other.arn}."]
        )


def test_a_version_that_is_not_listed_yet_is_taken_all_the_same() -> None:
    """Of two imports of one version at once, the second is rejected, although Image Builder lists the first later."""
    second = TASK._replace(id="import-ami-00000002")
    aws = InMemoryAws(TASK, AMI, IMMUTABLE)
    assert aws.on_event().kind is OutcomeKind.REGISTERED
    aws.task, aws.ami = second, AMI._replace(name=second.id)
    outcome = aws.on_event()
    assert (outcome.kind, outcome.import_task_id) == (OutcomeKind.REJECTED, second.id)
    assert f"version 1.4.2 of web-server, {TASK_ID}, and" in (outcome.reason or "")
    # The first one was deleted, or has failed.
    aws.age = timedelta(minutes=5)
    kinds = {outcome.import_task_id: outcome.kind for outcome in aws.sweep().outcomes if outcome.request}
    assert kinds == {second.id: OutcomeKind.REGISTERED}


def test_a_version_is_taken_for_five_minutes_from_its_request() -> None:
    """A version that a sweep requests after 200 seconds is taken until five minutes after the request."""
    second = TASK._replace(id="import-ami-00000002")
    aws = InMemoryAws(TASK, AMI, IMMUTABLE, elapsed=timedelta(seconds=200))
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED
    aws.elapsed = timedelta(0)
    aws.task, aws.ami = second, AMI._replace(name=second.id)
    kinds = {seconds: aws.on_event(timedelta(seconds=seconds)).kind for seconds in (499, 500)}
    assert kinds == {499: OutcomeKind.REJECTED, 500: OutcomeKind.REGISTERED}


def test_a_version_of_an_import_that_is_being_registered_is_taken() -> None:
    """A version is taken as soon as another import has claimed it, and is given back where Image Builder refuses it."""
    aws = InMemoryAws(TASK, AMI, IMMUTABLE, other_task=FIRST, items={VERSION: Item(FIRST.id)})
    assert aws.on_event().kind is OutcomeKind.REJECTED
    aws.in_progress.add(FIRST.id)
    assert aws.on_event().kind is OutcomeKind.IN_PROGRESS
    given_back = InMemoryAws(TASK, AMI, IMMUTABLE, items={VERSION: Item("")})
    with pytest.raises(TransientError):
        given_back.on_event()
    refused = InMemoryAws(TASK, AMI, IMMUTABLE, import_error=PermanentError("denied", "AccessDenied"))
    assert refused.on_event().kind is OutcomeKind.REJECTED
    assert VERSION not in refused.items


@pytest.mark.parametrize(
    ("first", "record", "kind"),
    [
        (FIRST, Record(), OutcomeKind.REJECTED),
        (FIRST._replace(status="active"), Record(), OutcomeKind.REJECTED),
        (FIRST, Record(reported="REJECTED AccessDenied"), OutcomeKind.REJECTED),
        (FIRST, Record(reported="REJECTED AMI gone"), OutcomeKind.REGISTERED),
        (FIRST._replace(status="deleted"), Record(), OutcomeKind.REGISTERED),
        (None, Record(), OutcomeKind.REGISTERED),
    ],
    ids=["completed", "active", "refused", "AMI gone", "failed", "not listed"],
)
def test_a_version_of_an_import_that_can_get_no_image(
    first: ImportTask | None, record: Record, kind: OutcomeKind
) -> None:
    """A version without an image is free where its import's AMI is gone, or the task has failed or is not listed."""
    aws = InMemoryAws(TASK, AMI, IMMUTABLE, other_task=first, items={VERSION: Item(FIRST.id)})
    aws.put(record, FIRST.id)
    assert aws.on_event().kind is kind
    assert aws.items[VERSION].data == (TASK.id if kind is OutcomeKind.REGISTERED else FIRST.id)
    assert aws.record(FIRST.id) == record


def test_an_import_whose_ami_comes_back_keeps_its_version() -> None:
    """A version is not free where its import's AMI was reported as gone, and is shown again."""
    aws = InMemoryAws(TASK, AMI, IMMUTABLE, other_task=FIRST, other_ami=AMI._replace(id="ami-1", name=FIRST.id))
    aws.items[VERSION] = Item(FIRST.id)
    aws.put(Record(reported="REJECTED AMI gone"), FIRST.id)
    assert aws.on_event().kind is OutcomeKind.REJECTED
    assert aws.items[VERSION].data == FIRST.id


def test_a_look_for_a_warning_stops_no_registration() -> None:
    """With `increment`, a stated version is registered although EC2 does not show who has it."""
    settings = Settings(version_scheme="increment")
    aws = InMemoryAws(TASK, AMI, settings, items={VERSION: Item(FIRST.id)}, errors={FIRST.id: TransientError("503")})
    assert aws.on_event().kind is OutcomeKind.REGISTERED


def test_an_import_whose_ami_is_gone_gives_its_version_to_the_next_one() -> None:
    """A VM that is imported again, as its AMI was deregistered before its image was requested, gets the version."""
    aws = InMemoryAws(FIRST, AMI._replace(id="ami-1", name=FIRST.id), IMMUTABLE, import_error=TransientError("503"))
    aws.sweep()
    assert aws.items[VERSION].data == FIRST.id
    aws.ami, aws.other_task, aws.other_ami, aws.import_error = None, TASK, AMI, None
    aws.pages = [[FIRST, TASK]]
    for _ in range(2):
        aws.sweep()
        assert not aws.requests
        aws.age += timedelta(minutes=30)
    # The sweeps process imports in random order.
    aws.sweep()
    aws.sweep()
    assert [request.import_task_id for request in aws.requests] == [TASK.id]


@pytest.mark.parametrize("record", [Item("?", "REJECTED AMI gone"), None], ids=["unreadable", "EC2 refuses"])
def test_a_version_of_an_import_that_is_not_known_is_taken(record: Item | None) -> None:
    """A version stays taken where the record of its import cannot be read, or EC2 refuses to show its task."""
    aws = InMemoryAws(TASK, AMI, IMMUTABLE, items={VERSION: Item(FIRST.id)})
    if record:
        aws.items[FIRST.id] = record
    else:
        aws.errors[FIRST.id] = PermanentError("denied", "UnauthorizedOperation")
    outcome = aws.on_event()
    assert (outcome.kind, outcome.problem) == (OutcomeKind.REJECTED, "version")
    assert aws.items[VERSION].data == FIRST.id


def test_a_free_version_goes_to_one_import() -> None:
    """A version that one import has taken from another one is taken for all others, also for its former import."""
    aws = InMemoryAws(TASK, AMI, IMMUTABLE, items={VERSION: Item(FIRST.id)})
    assert aws.on_event().kind is OutcomeKind.REGISTERED
    aws.task, aws.ami = FIRST, AMI._replace(id="ami-1", name=FIRST.id)
    outcome = aws.on_event(image_id="ami-1")
    assert outcome.kind is OutcomeKind.REJECTED
    assert f"version 1.4.2 of web-server, {TASK.id}, and" in (outcome.reason or "")
    # The image of the one that has it failed.
    aws.age = timedelta(minutes=5)
    assert aws.on_event(timedelta(minutes=5), "ami-1").kind is OutcomeKind.REGISTERED
    assert aws.items[VERSION].data == FIRST.id


def test_an_import_may_have_its_own_version_again() -> None:
    """With `immutableVersions`, `force` makes another build of the import's own version, which has the version then."""
    own = Build(ARN, "AVAILABLE", is_import=True, ami_ids=(AMI.id,))
    aws = InMemoryAws(TASK, AMI, IMMUTABLE)
    assert aws.on_event().kind is OutcomeKind.REGISTERED
    for builds in ([own], [own._replace(ami_ids=(), tagged_task_id=TASK_ID, tagged_ami_id=AMI.id)]):
        aws.builds = builds
        assert aws.manually(request_id=str(builds), force=True).kind is OutcomeKind.REGISTERED
    assert aws.items[VERSION].data == f"{TASK_ID} 2"


@pytest.mark.parametrize(
    ("existing", "stated", "warned"),
    [
        ([], "1.0", ""),
        ([], "2026-11-23", ""),
        ([], "99999.0.0", ""),
        ([], "100001.0.0", "The version 100001.0.0 is very high"),
        ([], "1073741823.0.0", "The version 1073741823.0.0 is very high"),
        ([], "20261123.101500.0", ""),
        ([], "20261323.1.0", "The version 20261323.1.0 is very high"),
        (["1.4.2"], "1.4.3", ""),
        (["0.9.0"], "1.0.0", ""),
        (["0.9.0"], "1000.0.0", ""),
        (["0.9.0"], "1001.0.0", "The version jumps from 0.9.0 to 1001.0.0"),
        (["1.4.2"], "2026.11.23", "The version jumps from 1.4.2 to 2026.11.23"),
        (["2025.01.01", "1.4.2"], "2026.11.23", ""),
        (["2025.01.01"], "20261123.101500.0", "The version jumps from 2025.1.1 to 20261123.101500.0"),
        (["200000.0.0"], "200000.0.1", ""),
        (["1.5.0", "1.10.0"], "1.4.2", "x.x.x does not find this image: version 1.10.0 of web-server is higher."),
        (["20251123.0.0"], "1.4.2", "x.x.x does not find this image: version 20251123.0.0 of web-server is higher."),
        (["1.4.2"], "1.4.2", "This is another build of version 1.4.2"),
    ],
)
def test_an_unusual_version_is_a_warning(existing: list[str], stated: str, warned: str) -> None:
    """A version that `x.x.x` does not find, that jumps, is very high or not the first of its kind, is one warning."""
    builds = [OTHER._replace(arn=version_arn(each)) for each in existing]
    failed = OTHER._replace(arn=version_arn("9.9.9"), status="FAILED", stated_name="x")
    ended = [failed, *(OTHER._replace(arn=version_arn("9.9.9"), status=each) for each in ("DEPRECATED", "DISABLED"))]
    aws = InMemoryAws(TASK._replace(tags={"Version": stated}), AMI, builds=[*builds, *ended])
    warnings = aws.on_event().warnings
    assert len(warnings) == bool(warned)
    assert "".join(warnings).startswith(warned)


@pytest.mark.parametrize(
    ("stated", "existing", "warned"),
    [
        ("web-server", ["web-server"], False),
        ("Web Server", ["Web Server"], False),
        ("web@server", ["web@server"], False),
        ("web-server", [], False),
        ("Web_Server", ["web-server"], True),
        ("web@server", ["web-server"], True),
        ("w\u0435b-server", ["web-server"], True),
        ("\uff57eb-server", ["web-server"], True),
        ("web@server", ["web-server", "web@server"], False),
    ],
)
def test_a_name_of_another_spelling_is_a_warning(stated: str, existing: list[str], *, warned: bool) -> None:
    """A text that only becomes the name of existing images is one warning, and one that they have, too, is none."""
    builds = [OTHER._replace(arn=version_arn("1.0.0"), stated_name=each) for each in existing]
    for overrides, tags in ((Overrides(name=stated), {}), (Overrides(), {"Name": stated})):
        aws = InMemoryAws(TASK._replace(tags=tags), AMI, builds=builds)
        outcome = aws.manually(overrides)
        assert len(outcome.warnings) == warned
        assert [each for each in outcome.warnings if "they are one image" not in each] == []
        made = aws.requests[0]
        assert made.tags.get("vm-image-import:name", made.name) == stated


def test_warnings_are_notified_once_and_cost_nothing() -> None:
    """Warnings are in the notification that the image is available, and in the answer; no call is added for them."""
    higher = OTHER._replace(arn=version_arn("9.0.0"))
    aws = InMemoryAws(TASK, AMI, builds=[higher])
    outcome = aws.on_event()
    text = "x.x.x does not find this image: version 9.0.0 of web-server is higher."
    assert answer_of(outcome)["warnings"] == [text]
    assert (aws.reads, aws.writes, len(aws.calls)) == (1, 1, 5)
    aws.image = AVAILABLE
    aws.on_image_event()
    aws.sweep()
    (notification,) = aws.published
    assert text in notification.message.splitlines()


def test_what_would_be_registered_is_warned_of() -> None:
    """With `observe`, the notification of what would be registered has the warnings."""
    aws = InMemoryAws(TASK, AMI, Settings(observe=True), builds=[OTHER._replace(arn=version_arn("9.0.0"))])
    aws.on_event()
    assert "version 9.0.0 of web-server is higher" in aws.published[0].message
