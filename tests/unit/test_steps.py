"""The steps that follow a registration: what each one does once, what it waits for, and how it ends."""

from datetime import timedelta

import pytest

from tests.unit.conftest import Log
from tests.unit.fakes import AMI, ARN, AVAILABLE, NOW, PENDING, TASK, TASK_ID, InMemoryAws, version_arn
from vm_image_import.domain.errors import PermanentError, TransientError
from vm_image_import.domain.models import Ami, Image
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.imports import steps
from vm_image_import.imports.image_event import on_image_event
from vm_image_import.records.registration import Registration, RegistrationId
from vm_image_import.settings import Settings

HOUR = timedelta(hours=1)
DAYS_6 = timedelta(days=6, seconds=1)
ALL = Settings(tag_amis=True, parameter_prefix="/imagebuilder/base")
PARAMETER = "/imagebuilder/base/web-server"


def registered(**changes: object) -> InMemoryAws:
    """Return AWS with an import that is registered, and whose image is available."""
    defaults = {"task": TASK, "ami": AMI, "image": AVAILABLE}
    aws = InMemoryAws(**{**defaults, **changes})  # type: ignore[arg-type]
    aws.put_registration()
    return aws


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        ("AVAILABLE", OutcomeKind.IMAGE_AVAILABLE, "parentImage: "),
        ("DEPRECATED", OutcomeKind.IMAGE_AVAILABLE, "deprecated"),
        ("DISABLED", OutcomeKind.IMAGE_AVAILABLE, "disabled"),
        ("FAILED", OutcomeKind.IMAGE_FAILED, "force"),
        ("CANCELLED", OutcomeKind.IMAGE_FAILED, "cancelled"),
    ],
)
def test_the_last_state_is_reported_once(status: str, kind: OutcomeKind, text: str) -> None:
    """The last state of an image is one notification, whoever looks, and its steps have ended."""
    aws = registered(image=AVAILABLE._replace(status=status))
    outcomes = [aws.on_image_event() for _ in range(2)]
    assert [(outcome.kind, outcome.is_new) for outcome in outcomes] == [(kind, True), (kind, False)]
    assert aws.sweep().outcomes == []
    assert not aws.items[TASK_ID].is_open
    (notification,) = aws.published
    assert text in notification.message
    assert ("parentImage" in notification.message) is (status == "AVAILABLE")


def test_the_words_of_image_builder_are_labelled() -> None:
    """The reason that Image Builder gives for a failure is introduced as its own."""
    aws = registered(image=AVAILABLE._replace(status="FAILED", reason="Fix it at evil.example"))
    aws.by_sweep()
    assert "Image Builder says: Fix it at evil.example" in aws.published[0].message.splitlines()


@pytest.mark.parametrize("status", ["PENDING", "INTEGRATING", "importing", ""])
def test_any_other_state_is_in_progress(status: str) -> None:
    """A state that is not the last one, known or not, writes nothing and leaves the registration open."""
    aws = registered(image=PENDING._replace(status=status))
    before = dict(aws.items)
    for outcome in (aws.on_image_event(), aws.by_sweep()):
        assert (outcome.kind, outcome.reason) == (OutcomeKind.IN_PROGRESS, f"The image is {status}.")
        assert (outcome.import_task_id, outcome.image_arn) == (TASK_ID, ARN)
    assert (aws.items, aws.published) == (before, [])


def test_a_deleted_image_is_not_reported() -> None:
    """A deleted image ends the steps without a notification, also where Image Builder does not show it for an hour."""
    aws = registered(image=AVAILABLE._replace(status="DELETED"))
    outcome = aws.by_sweep()
    assert (outcome.kind, outcome.reason) == (OutcomeKind.IGNORED, "The image was deleted.")
    gone = registered(image=None)
    assert gone.by_sweep().kind is OutcomeKind.IN_PROGRESS
    gone.age = timedelta(hours=1)
    assert gone.by_sweep().kind is OutcomeKind.IGNORED
    for each in (aws, gone):
        assert each.sweep().outcomes == []
        assert not each.published


@pytest.mark.parametrize("result", ["DELETED", "given up"])
def test_the_event_of_an_image_that_is_not_followed_any_more_is_ignored(result: str) -> None:
    """An image whose steps ended without a notification is not in progress."""
    aws = registered()
    aws.put_registration(results={"follow": result, "notify": result})
    assert aws.on_image_event().kind is OutcomeKind.IGNORED


def test_a_registration_runs_its_steps_at_once() -> None:
    """A registration looks at its image in the same invocation, which may be available already."""
    aws = InMemoryAws(TASK, AMI, image=AVAILABLE)
    aws.on_event()
    assert [outcome.kind for outcome in aws.outcomes] == [OutcomeKind.REGISTERED, OutcomeKind.IMAGE_AVAILABLE]
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]


def test_a_notification_that_sns_refuses_is_sent_later() -> None:
    """Where SNS refuses the notification, each sweep has a problem, and the first one that can sends it, once."""
    for refusal in (TransientError("SNS"), PermanentError("SNS")):
        aws = registered(publish_error=refusal)
        assert [aws.sweep().problems for _ in range(2)] == [[f"{TASK_ID}: SNS"]] * 2
        with pytest.raises(TransientError):
            aws.on_image_event()
        aws.publish_error = None
        assert aws.by_sweep().kind is OutcomeKind.IMAGE_AVAILABLE
        assert aws.sweep().outcomes == []
        assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]


@pytest.mark.parametrize(
    "image",
    [
        None,
        AVAILABLE._replace(tagged_task_id=None, is_import=False),
        AVAILABLE._replace(tagged_task_id="import-ami-00000000"),
        AVAILABLE._replace(tagged_task_id=f"{TASK_ID}\n", ami_id=None),
        AVAILABLE._replace(tagged_task_id="*", ami_id=None),
        AVAILABLE._replace(tagged_task_id=None, ami_id="ami-0fedcba9876543210"),
        AVAILABLE._replace(tagged_task_id=None, ami_id=None),
    ],
    ids=["not visible", "of a pipeline", "another task", "line break", "no id", "another AMI", "no AMI"],
)
def test_the_event_of_another_image_changes_nothing(image: Image | None) -> None:
    """An image that is in no record of its import task is ignored, whatever tags it has."""
    aws = registered(image=image)
    before = dict(aws.items)
    outcome = aws.on_image_event()
    assert (outcome.kind, outcome.image_arn) == (OutcomeKind.IGNORED, ARN)
    assert outcome.reason
    assert (aws.items, aws.published) == (before, [])


def test_what_an_image_event_has_done_is_counted_although_a_step_fails() -> None:
    """The outcome of each step is logged and counted before the error of another one leaves the function."""
    aws = registered(ami=AMI._replace(snapshot_ids=("snap-1",)), settings=ALL)
    aws.errors = {f"{AMI.id} snap-1": PermanentError("no", "Denied"), PARAMETER: TransientError("later")}
    found = on_image_event(ARN, aws.invocation())
    assert [next(found).kind for _ in aws.errors] == [OutcomeKind.FOLLOW_UP_FAILED, OutcomeKind.IMAGE_AVAILABLE]
    with pytest.raises(TransientError):
        next(found)


def test_the_event_of_an_image_with_the_tag_of_a_registered_import_is_ignored() -> None:
    """The tag of an import on another image leads to no record."""
    assert registered().on_image_event(version_arn("9.9.9")).kind is OutcomeKind.IGNORED


def test_the_event_of_an_adopted_image_leads_to_its_record_by_the_ami() -> None:
    """An image that another user has registered has no tag; its AMI is named like the task."""
    aws = registered(image=AVAILABLE._replace(tagged_task_id=None))
    aws.put_registration(adopted=True)
    outcome = aws.on_image_event()
    assert outcome.kind is OutcomeKind.IMAGE_AVAILABLE
    assert "another user registered the import" in aws.published[0].message
    assert "parentImage" in aws.published[0].message


@pytest.mark.parametrize("ami", [None, AMI._replace(state="disabled")])
def test_an_image_whose_ami_is_gone_is_not_called_available(ami: object) -> None:
    """Where the AMI of an available image is gone or cannot be used, the notification says so, once."""
    aws = registered(ami=ami, age=HOUR)
    outcomes = [aws.on_image_event(), aws.on_image_event()]
    assert [(outcome.kind, outcome.is_new) for outcome in outcomes] == [
        (OutcomeKind.IMAGE_FAILED, True),
        (OutcomeKind.IMAGE_FAILED, False),
    ]
    assert f"The image is AVAILABLE, but its AMI {AMI.id} " in aws.published[0].message


@pytest.mark.parametrize(
    ("ami", "action"),
    [
        (None, "Delete the image, and import the VM again."),
        (AMI._replace(state="disabled"), f"aws ec2 enable-image --image-id {AMI.id}"),
        (AMI._replace(state="failed"), "delete the image, and import the VM again."),
        (AMI._replace(state="pending"), "If it does not become available, delete the image, and import the VM again."),
    ],
    ids=["gone", "disabled", "failed", "pending"],
)
def test_an_image_whose_ami_cannot_be_used_has_one_order(ami: Ami | None, action: str) -> None:
    """Where the AMI cannot be used, the notification does not order another build, which would have the same AMI."""
    aws = registered(ami=ami, age=HOUR)
    aws.sweep()
    (message,) = (each.message for each in aws.published)
    assert (action in message, '"force": true' in message) == (True, False)


def test_an_ami_that_is_not_shown_for_a_moment_is_not_gone() -> None:
    """EC2's reads are eventually consistent: within an hour, the steps wait for an AMI that it does not show."""
    aws = registered(ami=None, settings=ALL, age=HOUR - timedelta(seconds=1))
    aws.sweep()
    assert (aws.published, aws.parameters) == ([], {})
    aws.ami = AMI
    aws.sweep()
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    assert aws.registration().results["tag"] == AMI.id
    assert aws.parameters == {PARAMETER: AMI.id}


def test_a_step_that_fails_stops_no_other_one() -> None:
    """Where the AMI cannot be tagged and the parameter cannot be written, the image is reported as available."""
    for error in (PermanentError("no", "Denied"), TransientError("slow down"), KeyError("unforeseen")):
        aws = registered(ami=AMI._replace(snapshot_ids=("snap-1",)), settings=ALL)
        aws.errors = {f"{AMI.id} snap-1": error, PARAMETER: error}
        aws.sweep()
        assert "IMAGE_AVAILABLE" in aws.outcomes_published()
        assert aws.items[TASK_ID].is_open
        aws.errors = {}
        aws.sweep()
        assert aws.parameters == {PARAMETER: AMI.id}
        assert aws.tags[AMI.id]["Name"] == "web-server 1.4.2"


def test_a_problem_is_reported_once_for_each_kind() -> None:
    """A problem of a step is one notification, another one is another, and what is fixed is done by the next sweep."""
    aws = registered(settings=ALL)
    for code in ("Denied", "Denied", "Quota", "Quota"):
        aws.errors = {PARAMETER: PermanentError(f"refused {code}", code)}
        aws.sweep()
    assert aws.outcomes_published() == ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE", "FOLLOW_UP_FAILED"]
    assert "repeats the step: parameter" in aws.published[0].message
    aws.errors = {}
    aws.sweep()
    aws.sweep()
    assert aws.parameters == {PARAMETER: AMI.id}
    assert not aws.items[TASK_ID].is_open


def test_observing_follows_and_notifies_only() -> None:
    """With `observe`, an image that was registered manually is followed and reported, and nothing is tagged."""
    aws = registered(settings=ALL._replace(observe=True))
    assert aws.by_sweep().kind is OutcomeKind.IMAGE_AVAILABLE
    assert (aws.tags, aws.parameters) == ({}, {})
    assert not aws.items[TASK_ID].is_open


@pytest.mark.parametrize(
    ("image", "errors", "published"),
    [
        (PENDING, {}, ["FOLLOW_UP_FAILED"]),
        (AVAILABLE, {PARAMETER: PermanentError("no", "Denied")}, ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]),
        (AVAILABLE, {PARAMETER: TransientError("slow down")}, ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]),
        (AVAILABLE, {PARAMETER: KeyError("unforeseen")}, ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]),
        (AVAILABLE._replace(ami_id=None), {}, ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]),
    ],
    ids=["never available", "refused", "never answered", "unforeseen", "no AMI shown"],
)
def test_every_step_ends(image: Image, errors: dict[str, Exception], published: list[str]) -> None:
    """A step that is not done after 6 days, and a day of tries, is given up and reported once; nothing stays open."""
    aws = registered(settings=ALL, image=image, errors=errors, age=DAYS_6, pages=[[]])
    for _ in range(3):
        aws.sweep()
    assert aws.items[TASK_ID].is_open
    aws.age += timedelta(days=1)
    aws.sweep()
    assert sorted(aws.outcomes_published()) == published
    (failure,) = (each.message for each in aws.published if each.outcome == "FOLLOW_UP_FAILED")
    is_refused = any(isinstance(error, PermanentError) for error in errors.values())
    assert ("is not repeated" in failure, "next sweep" in failure) == (not is_refused, is_refused)
    assert not aws.items[TASK_ID].is_open
    assert aws.sweep().outcomes == []


@pytest.mark.parametrize(
    ("settings", "left"),
    [(ALL, "tag, parameter, notify"), (Settings(), "notify")],
    ids=["with the options", "without them"],
)
def test_an_image_that_is_not_followed_any_more_is_left_to_the_user(settings: Settings, left: str) -> None:
    """Where an image has no final state after 6 days, no step is called done, and the notification names each one."""
    aws = registered(settings=settings, age=DAYS_6, image=PENDING)
    aws.sweep()
    aws.age += timedelta(days=1)
    aws.sweep()
    (message,) = (each.message for each in aws.published)
    assert f"Look at the image in Image Builder. These steps are not done: {left}. No IMAGE_AVAILABLE or " in message
    assert "manually" not in message
    assert {*aws.registration().results.values()} == {"given up"}
    aws.sweep()
    assert (len(aws.published), aws.items[TASK_ID].is_open) == (1, False)


def test_a_step_that_was_given_up_is_not_called_done() -> None:
    """A notification names no tag and no parameter of a step that was given up."""
    aws = registered(settings=ALL)
    aws.put_registration(results={"follow": "AVAILABLE", "tag": "given up", "parameter": "given up"})
    outcome = aws.by_sweep()
    assert (outcome.kind, outcome.tagged, outcome.parameter) == (OutcomeKind.IMAGE_AVAILABLE, [], None)


def test_an_option_that_is_turned_on_on_the_last_day_is_no_failure() -> None:
    """Steps that begin more than 6 days after the registration are done, although the parameter is read back later."""
    aws = registered(age=DAYS_6)
    aws.sweep()
    aws.settings = ALL
    for _ in range(3):
        aws.sweep()
        aws.age += timedelta(minutes=5)
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    assert aws.registration().results["parameter"] == PARAMETER
    assert not aws.items[TASK_ID].is_open


def test_a_parameter_that_is_dropped_after_6_days_is_given_up() -> None:
    """A value that Systems Manager drops again and again is reported once, and the registration is closed."""
    aws = registered(age=DAYS_6, settings=ALL, keeps_parameters=False)
    for minutes in (10, 10, 24 * 60, 10):
        aws.sweep()
        aws.age += timedelta(minutes=minutes)
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE", "FOLLOW_UP_FAILED"]
    assert not aws.items[TASK_ID].is_open


def test_each_step_that_one_cause_keeps_from_being_done_is_reported() -> None:
    """Where AWS refuses a read that several steps need, the user learns of each step that is not done."""
    aws = registered(settings=ALL, errors={AMI.id: PermanentError("Not DescribeImages.", "UnauthorizedOperation")})
    for _ in range(2):
        aws.sweep()
    steps_named = [each.message.partition("repeats the step: ")[2].partition(".")[0] for each in aws.published]
    assert steps_named == ["tag", "parameter", "notify"]


@pytest.mark.parametrize("minutes", [15, 24 * 60])
def test_an_overdue_step_is_given_up_a_day_later(minutes: int) -> None:
    """A step is tried for a day after its time is over, however often sweeps run."""
    aws = registered(image=PENDING, age=DAYS_6)
    tries = 0
    while not aws.registration().results:
        aws.sweep()
        aws.age += timedelta(minutes=minutes)
        tries += 1
    assert tries == 24 * 60 // minutes + 1


def test_an_overdue_step_that_was_not_tried_for_long_begins_anew() -> None:
    """An option that is turned off and on again does not give a step up at its first failure."""
    aws = registered(age=DAYS_6, settings=ALL, errors={PARAMETER: TransientError("slow down")})
    aws.sweep()
    aws.age += timedelta(days=10)
    for _ in range(2):
        aws.sweep()
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    aws.errors.clear()
    for _ in range(2):
        aws.sweep()
    assert aws.registration().results["parameter"] == PARAMETER


def test_a_step_that_begins_late_is_tried_again() -> None:
    """A step that is tried for the first time after 6 days, and fails, is tried again by later sweeps."""
    aws = registered(age=DAYS_6, publish_error=TransientError("slow down"))
    for _ in range(2):
        aws.sweep()
    aws.publish_error = None
    aws.sweep()
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    assert not aws.items[TASK_ID].is_open


def test_a_step_for_which_there_was_no_time_is_not_given_up() -> None:
    """A step that no invocation could begin after 6 days is done by the next one that has time."""
    aws = registered(age=DAYS_6, calls_in_time=0)
    for _ in range(2):
        aws.on_image_event()
        aws.age += timedelta(days=1)
    assert aws.items[TASK_ID].is_open
    aws.calls_in_time = 100
    aws.on_image_event()
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]


def test_a_notification_that_cannot_be_sent_is_given_up() -> None:
    """A topic that refuses for 6 days, and for a day after that, keeps no registration open."""
    aws = registered(publish_error=PermanentError("denied"), age=DAYS_6)
    aws.sweep()
    aws.age += timedelta(days=1)
    aws.sweep()
    assert not aws.items[TASK_ID].is_open


def test_a_registration_is_followed_when_ec2_lists_the_task_no_more() -> None:
    """A registration with steps left is followed after EC2's 7 days, with what its record has of the task."""
    aws = registered(pages=[[]])
    outcome = aws.by_sweep()
    assert outcome.kind is OutcomeKind.IMAGE_AVAILABLE
    assert "Source: s3://b/web-server-1.4.2.ova" in aws.published[0].message


def test_an_option_that_is_turned_on_later_applies_to_listed_imports() -> None:
    """After `tagAmis` is turned on, the images of listed tasks are tagged."""
    aws = registered()
    aws.sweep()
    assert (aws.tags, aws.items[TASK_ID].is_open) == ({}, False)
    aws.settings = Settings(tag_amis=True)
    (outcome,) = aws.sweep().outcomes
    assert (outcome.kind, outcome.tagged) == (OutcomeKind.ALREADY_REGISTERED, [AMI.id])
    assert aws.sweep().outcomes == []


def test_two_invocations_at_once_do_each_step_once() -> None:
    """The invocation that has the claim runs the steps; the other one neither repeats them nor fails."""
    aws = registered(in_progress={TASK_ID})
    assert aws.on_image_event().kind is OutcomeKind.IN_PROGRESS
    assert aws.sweep().problems == []
    assert not aws.published
    deleted = registered(in_progress={TASK_ID}, image=AVAILABLE._replace(status="DELETED"))
    assert deleted.sweep().problems == []


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(tag_amis=True), Settings(parameter_prefix="/imagebuilder/base")],
    ids=["notify", "tag", "parameter"],
)
def test_a_step_that_was_done_meanwhile_is_not_repeated(settings: Settings) -> None:
    """What another invocation has recorded between the read and the claim counts, although AWS shows it no more."""
    aws = registered(settings=settings)
    before = aws.record()
    for _ in range(2):
        aws.sweep()
    assert not aws.items[TASK_ID].is_open
    aws.tags, aws.parameters = {}, {}
    assert [*steps.run(RegistrationId(TASK_ID), before, aws.invocation())] == []
    assert (aws.tags, aws.parameters) == ({}, {})
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]


def test_a_problem_that_was_reported_meanwhile_is_not_new() -> None:
    """A problem of a step that another invocation reports between the read and the claim is one notification."""
    aws = registered(settings=ALL, errors={PARAMETER: PermanentError("no", "Denied")})
    before = aws.record()
    aws.sweep()
    (outcome,) = steps.run(RegistrationId(TASK_ID), before, aws.invocation())
    assert (outcome.kind, outcome.is_new) == (OutcomeKind.FOLLOW_UP_FAILED, False)
    assert aws.outcomes_published() == ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]


@pytest.mark.parametrize("arn", [None, version_arn("9.9.9")], ids=["deleted", "replaced"])
def test_a_record_that_was_changed_meanwhile_is_left_alone(arn: str | None) -> None:
    """Where the record was deleted or replaced between the read and the claim, nothing is written."""
    aws = registered()
    before = aws.record()
    aws.items.clear()
    if arn:
        aws.put_registration(arn=arn)
    items = dict(aws.items)
    with pytest.raises(TransientError, match="deleted or replaced"):
        list(steps.run(RegistrationId(TASK_ID), before, aws.invocation()))
    assert (aws.items, aws.published) == (items, [])


def test_a_run_without_time_leaves_the_steps_to_the_sweep() -> None:
    """A step that may not be recorded in time is not begun."""
    aws = registered(calls_in_time=0)
    assert aws.on_image_event().kind is OutcomeKind.IN_PROGRESS
    assert not aws.published


@pytest.mark.parametrize(
    ("changes", "message", "names"),
    [
        ({"calls_in_time": 0}, "No time is left for the step. The next sweep runs it", ["parameter", "notify"]),
        ({"in_progress": {TASK_ID}}, "Another invocation runs the steps", ["parameter", "notify"]),
        ({"errors": {PARAMETER: KeyError("x")}}, "The step failed", ["parameter"]),
        ({"errors": {PARAMETER: KeyError("x")}, "age": DAYS_6}, "The step is given up", ["parameter"]),
    ],
    ids=["no time", "claimed", "failed", "given up"],
)
def test_the_log_names_each_step_that_was_not_done(
    changes: dict[str, object], message: str, names: list[str], log: Log
) -> None:
    """A step that was not done, for whatever reason, is logged with its name."""
    aws = registered(settings=Settings(parameter_prefix="/imagebuilder/base"), **changes)
    if message == "The step is given up":
        aws.put_registration(overdue={"parameter": NOW + timedelta(days=5)})
    list(steps.follow_up(RegistrationId(TASK_ID), aws.record(), aws.invocation()))
    assert [entry["step"] for entry in log() if entry["message"] == message] == names


def test_a_record_keeps_what_the_steps_need() -> None:
    """The record of a registration has its facts, without the task's status and other disks."""
    aws = InMemoryAws(TASK._replace(tags={"Team": "web"}, status_message="x"), AMI)
    aws.on_event()
    found = aws.registration()
    assert found == Registration(
        arn=ARN,
        ami_id=AMI.id,
        time=found.time,
        task=TASK._replace(tags={"Team": "web"}, status=None, image_id=AMI.id),
        sources={"name": "file name", "semanticVersion": "file name"},
        request_id="event",
    )
