"""The use case: what becomes of an import in every state in which EC2 may show it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from vm_image_import.errors import InProgressError, PermanentError, TokenUsedError, TransientError
from vm_image_import.models import (
    Ami,
    AwsEnvironment,
    Disk,
    Image,
    ImageRequest,
    ImportTask,
    Outcome,
    OutcomeKind,
    Overrides,
)
from vm_image_import.notices import Notice
from vm_image_import.ports import Fact, Once
from vm_image_import.register import Registrar
from vm_image_import.settings import Settings
from vm_image_import.triggers import AmiAvailable, ManualImport

TASK_ID = "import-ami-fg4d51t0"
NOW = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
AMI = Ami(id="ami-0abcdef1234567890", created=NOW, name=TASK_ID)
TASK = ImportTask(
    id=TASK_ID, status="completed", image_id=AMI.id, disks=(Disk(bucket="b", key="web-server-1.4.2.ova"),)
)
RUNNING = replace(TASK, image_id=None, status="active", progress="39", status_message="converting")
FAILED = replace(TASK, image_id=None, status="deleted", status_message="ClientError: Unsupported kernel version X")
CANCELLED = replace(FAILED, status_message="Cancelled by user")
ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2/1"


@dataclass
class Aws:
    """AWS in memory; knows nothing that a test did not put there, and fails when told to."""

    task: ImportTask | None = None
    ami: Ami | None = None
    fails: Exception | None = None
    existing: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    calls: list[str] = field(default_factory=list)
    registered: list[ImageRequest] = field(default_factory=list)
    told: list[Notice] = field(default_factory=list)
    mute: Exception | None = None
    ledger: dict[Fact, str] = field(default_factory=dict)
    busy: set[Fact] = field(default_factory=set)

    def once(self, fact: Fact, act: Callable[[], str]) -> Once:
        if fact in self.busy:
            another = f"Another run is at {fact.about}."
            raise InProgressError(another)
        if fact in self.ledger:
            return Once(self.ledger[fact], now=False)
        self.ledger[fact] = act()
        return Once(self.ledger[fact], now=True)

    def known(self, facts: Iterable[Fact]) -> dict[Fact, str]:
        return {fact: self.ledger[fact] for fact in facts if fact in self.ledger}

    def publish(self, notice: Notice) -> None:
        if self.mute:
            raise self.mute
        self.told.append(notice)

    def finished_tasks(self) -> list[list[ImportTask]]:
        return [[self.task]] if self.task else []

    def find_image(self, arn: str) -> Image | None:
        raise AssertionError(arn)

    def find_task(self, import_task_id: str) -> ImportTask | None:
        self.calls.append("find_task")
        return self.task if self.task and self.task.id == import_task_id else None

    def find_ami(self, image_id: str) -> Ami | None:
        self.calls.append("find_ami")
        return self.ami if self.ami and self.ami.id == image_id else None

    def find_ami_named(self, name: str) -> Ami | None:
        self.calls.append("find_ami_named")
        return self.ami if self.ami and self.ami.name == name else None

    def versions(self, arn: str, name: str) -> tuple[str, ...]:
        self.calls.append(f"versions {arn} {name}")
        return self.existing

    def import_vm_image(self, request: ImageRequest) -> str:
        self.calls.append("import_vm_image")
        if self.fails:
            raise self.fails
        self.registered.append(request)
        return ARN

    def on_event(self, age: timedelta = timedelta(seconds=1), image_id: str = AMI.id) -> Outcome:
        return self._registrar.register_ami(AmiAvailable(image_id, NOW), NOW + age)

    def by_hand(
        self, overrides: Overrides | None = None, run: str = "run-1", *, dry_run: bool = False, force: bool = False
    ) -> Outcome:
        asked = ManualImport(TASK_ID, overrides or Overrides(), dry_run=dry_run, force=force)
        return self._registrar.register_task(asked, run)

    def by_sweep(self, *, dry_run: bool = False) -> Outcome:
        assert self.task
        return self._registrar.register_finished(self.task, dry_run=dry_run)

    @property
    def _registrar(self) -> Registrar:
        return Registrar(self, self, self, self, AwsEnvironment("aws", "us-east-1", "123456789012"), self.settings)


def test_both_ways_make_the_same_request() -> None:
    """An event and a person lead to the same request with the same token, so a second one changes nothing."""
    ways = Aws(TASK, AMI), Aws(TASK, AMI), Aws(TASK, AMI)
    outcomes = [ways[0].on_event(), ways[1].by_hand(), ways[2].by_sweep()]
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.REGISTERED}
    assert {outcome.image_arn for outcome in outcomes} == {ARN}
    assert ways[0].registered == ways[1].registered == ways[2].registered
    assert outcomes[0].request == ways[0].registered[0].parameters()


def test_an_import_is_registered_once() -> None:
    """Whatever comes after the first success gets its image, and no other is made."""
    aws = Aws(TASK, AMI)
    aws.on_event()
    for again in (aws.on_event, aws.by_hand, aws.by_sweep):
        outcome = again()
        assert (outcome.kind, outcome.image_arn) == (OutcomeKind.ALREADY_REGISTERED, ARN)
    assert len(aws.registered) == 1
    assert [notice.outcome for notice in aws.told] == ["REGISTERED"]


def test_another_run_is_left_alone() -> None:
    """Two runs at once for one task make one image: the second one leaves it to the first."""
    aws = Aws(TASK, AMI, busy={Fact("registered", TASK_ID)})
    assert aws.on_event().kind is OutcomeKind.IN_PROGRESS
    assert not aws.registered


def test_a_failure_leaves_nothing_behind() -> None:
    """What was put right is registered by the next try."""
    aws = Aws(TASK, AMI, fails=PermanentError("not authorized"))
    assert aws.on_event().kind is OutcomeKind.REJECTED
    aws.fails = None
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED


@pytest.mark.parametrize("refusal", [TransientError("SNS"), PermanentError("SNS")])
def test_a_notice_that_cannot_be_sent_is_sent_later(refusal: Exception) -> None:
    """The image stands and is not asked for again; whoever comes later fails until people are told."""
    aws = Aws(TASK, AMI, mute=refusal)
    assert aws.on_event().kind is OutcomeKind.REGISTERED
    for attempt in (aws.on_event, aws.by_sweep, aws.by_hand):
        with pytest.raises(type(refusal)):
            attempt()
    aws.mute = None
    assert [aws.by_sweep().kind, aws.by_hand().kind] == [OutcomeKind.ALREADY_REGISTERED] * 2
    assert len(aws.registered) == 1
    assert [notice.outcome for notice in aws.told] == ["REGISTERED"]


def test_a_forced_import_is_registered_for_the_sweep_too() -> None:
    """Whoever forces an import that nobody has registered yet makes one image, not two."""
    aws = Aws(TASK, AMI)
    assert aws.by_hand(force=True).kind is OutcomeKind.REGISTERED
    assert aws.by_sweep().kind is OutcomeKind.ALREADY_REGISTERED
    assert len(aws.registered) == 1


def test_a_corrected_name_has_versions_of_its_own() -> None:
    """The version that was decided for another name does not follow the import."""
    aws = Aws(replace(TASK, disks=()), AMI, PermanentError("denied"), ("1.0.0",), Settings(version_scheme="increment"))
    assert aws.by_hand(Overrides(name="web")).kind is OutcomeKind.REJECTED
    aws.fails, aws.existing = None, ("5.0.0",)
    assert aws.by_hand(Overrides(name="data"), dry_run=True).request == aws.by_hand(Overrides(name="data")).request
    assert aws.registered[0].semantic_version == "5.0.1"


def test_a_dry_run_shows_the_version_that_was_decided() -> None:
    """Although an earlier run made an image of it and was ended before it could record that."""
    aws = Aws(replace(TASK, disks=()), AMI, PermanentError("ended"), ("1.0.0",), Settings(version_scheme="increment"))
    aws.by_hand(Overrides(name="web"))
    aws.existing = ("1.0.1",)
    request = aws.by_hand(Overrides(name="web"), dry_run=True).request
    assert request
    assert request["semanticVersion"] == "1.0.1"


def test_a_tag_that_goes_wrong_afterwards_changes_nothing() -> None:
    """What is registered is registered, whatever its task's tags become."""
    aws = Aws(TASK, AMI)
    aws.on_event()
    aws.task = replace(TASK, tags={"Version": "latest"})
    for again in (aws.on_event, aws.by_hand, aws.by_sweep):
        assert (again().kind, again().image_arn) == (OutcomeKind.ALREADY_REGISTERED, ARN)
    assert [notice.outcome for notice in aws.told] == ["REGISTERED"]


def test_a_rejection_is_told_once_and_can_be_put_right() -> None:
    """The same reason is one notice and one count, however often it is met; the next sweep takes a corrected tag."""
    aws = Aws(replace(TASK, tags={"Version": "latest"}), AMI)
    outcomes = [aws.on_event(), aws.by_sweep(), aws.by_sweep()]
    assert [(outcome.kind, outcome.news) for outcome in outcomes] == [
        (OutcomeKind.REJECTED, True),
        (OutcomeKind.REJECTED, False),
        (OutcomeKind.REJECTED, False),
    ]
    assert [notice.outcome for notice in aws.told] == ["REJECTED"]
    aws.task = replace(TASK, tags={"Version": "2.0"})
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED
    assert aws.registered[0].semantic_version == "2.0.0"


def test_a_failed_import_is_told_once() -> None:
    """With EC2's own words and what to do about them; a cancelled one is nobody's news."""
    aws = Aws(FAILED)
    outcomes = [aws.by_sweep(), aws.by_sweep()]
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.IMPORT_FAILED] * 2
    assert [outcome.news for outcome in outcomes] == [True, False]
    (notice,) = aws.told
    assert "ClientError: Unsupported kernel version X" in notice.message
    assert "Install a kernel that VM Import supports" in notice.message
    cancelled = Aws(CANCELLED)
    assert cancelled.by_sweep().kind is OutcomeKind.IMPORT_CANCELLED
    assert not cancelled.told


def test_a_dry_run_of_the_sweep_changes_nothing() -> None:
    """It shows what would be registered, and tells nobody."""
    aws = Aws(TASK, AMI)
    assert aws.by_sweep(dry_run=True).kind is OutcomeKind.DRY_RUN
    aws.task = FAILED
    assert aws.by_sweep(dry_run=True).kind is OutcomeKind.IMPORT_FAILED
    assert not aws.registered
    assert not aws.told
    assert not aws.ledger


def test_by_hand_the_ami_is_the_one_that_the_task_names() -> None:
    """Packer and others copy and rename AMIs: where the task names its AMI, the name does not matter."""
    aws = Aws(TASK, replace(AMI, name="renamed"))
    assert aws.by_hand().kind is OutcomeKind.REGISTERED
    assert aws.calls == ["find_task", "find_ami", "import_vm_image"]


def test_an_event_costs_three_calls() -> None:
    """The AMI, the task and the image are each asked for once."""
    aws = Aws(TASK, AMI)
    aws.on_event()
    assert aws.calls == ["find_ami", "find_task", "import_vm_image"]


@pytest.mark.parametrize("name", [None, "web-server", "import-ami-short", "my-import-ami-0123456789abcdef0"])
def test_an_ami_that_is_no_import_is_ignored_after_one_call(name: str | None) -> None:
    """Every AMI of the account wakes the function; nearly none is an import."""
    aws = Aws(TASK, replace(AMI, name=name))
    assert aws.on_event().kind is OutcomeKind.IGNORED
    assert aws.calls == ["find_ami"]


def test_a_fresh_ami_that_ec2_does_not_show_is_asked_for_again() -> None:
    """EC2's reads lag: the first run raises, so that Lambda tries again a minute later."""
    with pytest.raises(TransientError):
        Aws(TASK).on_event(age=timedelta(seconds=59))


def test_an_ami_that_ec2_still_shows_as_pending_is_asked_for_again() -> None:
    """The event comes once: were it taken for done, the import would be lost."""
    aws = Aws(TASK, replace(AMI, state="pending"))
    with pytest.raises(TransientError):
        aws.on_event(age=timedelta(hours=1))
    assert not aws.registered


def test_an_ami_that_is_gone_is_ignored() -> None:
    """After a minute an AMI that EC2 does not show was deregistered: no retry brings it back."""
    outcome = Aws(TASK).on_event(age=timedelta(minutes=1))
    assert outcome.kind is OutcomeKind.IGNORED
    assert AMI.id in (outcome.reason or "")


@pytest.mark.parametrize(
    ("task", "ami"),
    [
        (TASK, replace(AMI, source_image_id="ami-0fedcba9876543210")),
        (None, AMI),
        (replace(TASK, image_id="ami-0fedcba9876543210"), AMI),
        (TASK, replace(AMI, state="deregistered")),
        (TASK, replace(AMI, state="disabled")),
    ],
    ids=["copy", "task unknown here", "another AMI's task", "deregistered", "disabled"],
)
def test_an_ami_that_only_looks_like_an_import_is_ignored(task: ImportTask | None, ami: Ami) -> None:
    """A copy keeps the name of the import's AMI, and old AMIs send the same event again."""
    aws = Aws(task, ami)
    outcome = aws.on_event()
    assert outcome.kind is OutcomeKind.IGNORED
    assert outcome.import_task_id == TASK_ID
    assert outcome.reason
    assert not aws.registered


@pytest.mark.parametrize("status", ["active", "converting", "completed", None])
@pytest.mark.parametrize("image_id", [AMI.id, None])
def test_an_available_ami_is_registered_whatever_the_task_says(status: str | None, image_id: str | None) -> None:
    """Image Builder takes an import before its task is completed; the task may not name its AMI yet."""
    task = replace(TASK, status=status, image_id=image_id)
    assert Aws(task, AMI).on_event().kind is OutcomeKind.REGISTERED
    assert Aws(task, AMI).by_hand().kind is OutcomeKind.REGISTERED


@pytest.mark.parametrize(
    ("task", "ami", "kind", "reason"),
    [
        (None, None, OutcomeKind.NOT_FOUND, "7 days"),
        (RUNNING, None, OutcomeKind.IN_PROGRESS, "converting, 39 %"),
        (ImportTask(TASK_ID), None, OutcomeKind.IN_PROGRESS, "still running"),
        (TASK, replace(AMI, state="pending"), OutcomeKind.IN_PROGRESS, "still running"),
        (TASK, replace(AMI, state="failed"), OutcomeKind.REJECTED, "is failed"),
        (TASK, None, OutcomeKind.IGNORED, "gone, or ask again"),
        (replace(TASK, image_id=None), None, OutcomeKind.IGNORED, "gone, or ask again"),
        (FAILED, None, OutcomeKind.IMPORT_FAILED, "ClientError: Unsupported kernel version X"),
        (replace(FAILED, status_message=None), None, OutcomeKind.IMPORT_FAILED, "no reason"),
        (replace(CANCELLED, status="deleting", status_message=None), None, OutcomeKind.IN_PROGRESS, "being deleted"),
        (CANCELLED, None, OutcomeKind.IMPORT_CANCELLED, "Cancelled by user"),
    ],
    ids=[
        "unknown",
        "active",
        "bare",
        "AMI pending",
        "AMI failed",
        "AMI gone",
        "AMI never named",
        "failed",
        "no message",
        "deleting",
        "cancelled",
    ],
)
def test_a_task_without_an_available_ami_is_told_about(
    task: ImportTask | None, ami: Ami | None, kind: OutcomeKind, reason: str
) -> None:
    """A person who asks for an import learns how it stands, in EC2's own words."""
    aws = Aws(task, ami)
    outcome = aws.by_hand()
    assert outcome.kind is kind
    assert outcome.import_task_id == TASK_ID
    assert reason in (outcome.reason or "")
    assert not aws.registered


def test_a_dry_run_shows_the_request_and_changes_nothing() -> None:
    """What it answers is exactly what the real run then sends."""
    aws = Aws(TASK, AMI)
    outcome = aws.by_hand(Overrides(name="post office"), dry_run=True)
    assert outcome.kind is OutcomeKind.DRY_RUN
    assert "import_vm_image" not in aws.calls
    assert not aws.ledger
    assert aws.by_hand(Overrides(name="post office")).request == outcome.request
    assert aws.registered[0].name == "post office"


def test_what_was_stated_and_cannot_be_used_is_rejected() -> None:
    """Nothing is registered under a version that nobody asked for."""
    aws = Aws(replace(TASK, tags={"Version": "latest"}), AMI)
    outcome = aws.on_event()
    assert outcome.kind is OutcomeKind.REJECTED
    assert "'latest'" in (outcome.reason or "")
    assert "import_vm_image" not in aws.calls


def test_a_refusal_is_an_outcome() -> None:
    """What Image Builder will refuse again is told with the request and its own words, and not tried again."""
    outcome = Aws(TASK, AMI, fails=PermanentError("not authorized")).on_event()
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REJECTED, "not authorized")
    assert outcome.request


def test_a_token_that_was_used_means_registered_already() -> None:
    """The same import with other values, say after a tag was changed, is not registered a second time.

    An earlier run was ended before it could record or tell it, so nobody knows yet.
    """
    aws = Aws(TASK, AMI, fails=TokenUsedError("mismatch"))
    outcome = aws.on_event()
    assert outcome.kind is OutcomeKind.ALREADY_REGISTERED
    assert outcome.request
    assert '"force": true' in (outcome.reason or "")
    assert aws.by_sweep().kind is OutcomeKind.ALREADY_REGISTERED
    (notice,) = aws.told
    assert (notice.outcome, notice.subject) == ("REGISTERED", f"Image registered: {TASK_ID}")
    assert "look for the image in Image Builder" in notice.message


def test_images_that_nobody_knows_are_told_apart() -> None:
    """Two runs that were ended half way, one of them forced, made two images: one notice twice would hide the second.

    It is the same notice whether the topic takes it at once or later.
    """
    aws = Aws(TASK, AMI, fails=TokenUsedError("mismatch"))
    requests = [aws.on_event().request]
    aws.mute = PermanentError("SNS")
    requests.append(aws.by_hand(force=True).request)
    aws.mute = None
    aws.by_hand(force=True)
    assert len(aws.told) == 2
    for notice, request in zip(aws.told, requests, strict=True):
        assert request
        assert str(request["clientToken"]) in notice.message


def test_force_makes_another_build_once() -> None:
    """A forced run has a token of its own, which repeats of that run have, too, even if they were ended half way."""
    aws = Aws(TASK, AMI)
    aws.by_hand()
    aws.fails = TransientError("the run was ended")
    with pytest.raises(TransientError):
        aws.by_hand(force=True)
    aws.fails = None
    outcomes = [aws.by_hand(run=run, force=True).kind for run in ("run-2", "run-2", "run-3")]
    assert outcomes == [OutcomeKind.REGISTERED, OutcomeKind.ALREADY_REGISTERED, OutcomeKind.REGISTERED]
    tokens = [request.client_token for request in aws.registered]
    assert len(set(tokens)) == 3
    assert {len(token) for token in tokens} == {36}


FILTER = Settings(only_tasks_tagged={"Images": "yes", "Stage": "prod"})


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"Images": "yes", "Stage": "prod", "Team": "web"}, OutcomeKind.REGISTERED),
        ({"Images": "yes"}, OutcomeKind.IGNORED),
        ({"Images": "yes", "Stage": "test"}, OutcomeKind.IGNORED),
        ({}, OutcomeKind.IGNORED),
    ],
    ids=["all", "one missing", "another value", "none"],
)
def test_tasks_without_the_configured_tags_are_left_alone(tags: dict[str, str], kind: OutcomeKind) -> None:
    """What somebody else registers is not registered twice; what a person names is, whatever its tags."""
    aws = Aws(replace(TASK, tags=tags), AMI, settings=FILTER)
    outcome = aws.on_event()
    assert outcome.kind is kind
    assert outcome.import_task_id == TASK_ID
    assert aws.by_sweep().kind is (OutcomeKind.ALREADY_REGISTERED if kind is OutcomeKind.REGISTERED else kind)
    assert aws.by_hand(force=True).kind is OutcomeKind.REGISTERED


def test_increment_asks_for_the_versions_of_the_name() -> None:
    """The image's ARN has the name as Image Builder writes it; the filter has it as it was stated."""
    arn = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/x.x.x"
    aws = Aws(
        replace(TASK, tags={"Name": "Web_Server"}, disks=()),
        AMI,
        existing=("1.4.9", "1.10.2", "1.4.2"),
        settings=Settings(version_scheme="increment"),
    )
    aws.on_event()
    assert aws.registered[0].semantic_version == "1.10.3"
    aws.existing, aws.ledger = (
        ("1.10.3",),
        {fact: value for fact, value in aws.ledger.items() if fact.kind == "version"},
    )
    aws.on_event()
    assert aws.registered[1] == aws.registered[0], "a repeat whose success was not recorded asks for the same again"
    assert f"versions {arn} Web_Server" in aws.calls


def test_increment_asks_for_nothing_when_the_version_is_stated() -> None:
    """Only an import that states no version costs more calls."""
    aws = Aws(TASK, AMI, settings=Settings(version_scheme="increment"))
    aws.on_event()
    assert aws.calls == ["find_ami", "find_task", "import_vm_image"]


def test_what_may_pass_is_raised() -> None:
    """Lambda tries again only what the function raises."""
    with pytest.raises(TransientError):
        Aws(TASK, AMI, fails=TransientError("throttled")).on_event()


def test_an_answer_leaves_out_what_does_not_apply() -> None:
    """Tools read the keys of the contract and meet no null."""
    assert Outcome(OutcomeKind.IGNORED, reason="r").as_answer() == {"outcome": "IGNORED", "reason": "r"}
    assert Outcome(OutcomeKind.REGISTERED, "t", "a", {"name": "n"}).as_answer() == {
        "outcome": "REGISTERED",
        "importTaskId": "t",
        "imageArn": "a",
        "request": {"name": "n"},
    }
