"""The parameter of an image's name."""

from dataclasses import replace
from typing import Final

import pytest

from tests.unit.fakes import AMI, ARN, REGISTERED, TASK, TASK_ID, InMemoryAws
from vm_image_import.errors import PermanentError, TransientError
from vm_image_import.idempotency.records import IdempotencyKey, Registration
from vm_image_import.models import Image, OutcomeKind
from vm_image_import.parameter import parameter_key
from vm_image_import.settings import Settings

NAME: Final = "/imagebuilder/base/web-server"
ALL_VERSIONS: Final = ARN.replace("1.4.2/1", "x.x.x")
IMAGE = Image(ARN, "AVAILABLE", ami_id=AMI.id, tagged_task_id=TASK_ID)
HIGHER = Image(ARN.replace("1.4.2/1", "1.10.0/1"), "AVAILABLE", ami_id="ami-higher")
LOWER = Image(ARN.replace("1.4.2/1", "1.4.1/7"), "AVAILABLE", ami_id="ami-lower")
SETTINGS = Settings(parameter_prefix="/imagebuilder/base")
KEY = parameter_key(ARN, NAME)
TERMINAL = IdempotencyKey("terminal", ARN)


def aws_with(**changes: object) -> InMemoryAws:
    """Return AWS with a registered import whose image is available, and parameters switched on."""
    defaults = {"task": TASK, "ami": AMI, "image": IMAGE, "newest": IMAGE, "settings": SETTINGS}
    aws = InMemoryAws(**{**defaults, **changes})  # type: ignore[arg-type]
    aws.records[REGISTERED] = Registration(ARN, AMI.id).to_json()
    return aws


def reported(**changes: object) -> InMemoryAws:
    """Return the same, with the image reported as available, and no parameter."""
    aws = aws_with(**changes)
    aws.records[TERMINAL] = "IMAGE_AVAILABLE"
    return aws


def test_an_available_image_writes_its_parameter() -> None:
    """The parameter is written before the notification, which names it; the next sweep reads it back, once."""
    aws = aws_with()
    outcome = aws.on_image_event()
    assert (outcome.kind, outcome.parameter) == (OutcomeKind.IMAGE_AVAILABLE, NAME)
    assert f"Parameter: {NAME}" in aws.published[0].message
    assert aws.parameters == {NAME: AMI.id}
    assert KEY not in aws.records
    aws.calls.clear()
    assert aws.sweep().outcomes == []
    assert aws.calls == [f"find_image {ALL_VERSIONS}", f"find_parameter {NAME}"]
    assert KEY in aws.records
    aws.calls.clear()
    aws.sweep()
    assert aws.calls == []


@pytest.mark.parametrize("settings", [Settings(), replace(SETTINGS, observe=True)], ids=["none", "observe"])
def test_nothing_is_written_unless_configured(settings: Settings) -> None:
    """Without `parameterPrefix`, and with `observe`, no parameter is read or written."""
    aws = aws_with(settings=settings)
    assert aws.on_image_event().parameter is None
    aws.sweep()
    assert [call for call in aws.calls if "parameter" in call] == []


@pytest.mark.parametrize(
    ("newest", "image", "ami_id"),
    [
        (IMAGE, IMAGE, AMI.id),
        (HIGHER, IMAGE, "ami-higher"),
        (LOWER, IMAGE, AMI.id),
        (None, IMAGE, AMI.id),
        (LOWER, replace(IMAGE, status="DEPRECATED"), "ami-lower"),
        (LOWER, replace(IMAGE, status="DISABLED"), "ami-lower"),
        (None, replace(IMAGE, status="DEPRECATED"), None),
        (replace(HIGHER, ami_id=None), IMAGE, None),
        (replace(IMAGE, arn=ALL_VERSIONS), IMAGE, AMI.id),
    ],
    ids=[
        *("itself", "a higher one", "not shown yet", "none shown yet", "deprecated meanwhile", "disabled meanwhile"),
        *("none left", "without an AMI", "without a version"),
    ],
)
def test_the_highest_available_version_wins(newest: Image | None, image: Image, ami_id: str | None) -> None:
    """By event and by sweep, the parameter gets the AMI of the highest version that is available."""
    for aws, act in (
        (aws_with(newest=newest, image=image), InMemoryAws.on_image_event),
        (reported(newest=newest, image=image), InMemoryAws.sweep),
    ):
        if ami_id:
            aws.ami = replace(AMI, id=ami_id)
        act(aws)
        assert aws.parameters == ({NAME: ami_id} if ami_id else {})


def test_only_the_image_that_the_parameter_holds_is_reported_with_it() -> None:
    """The notification of a lower version that is imported late does not name the parameter."""
    aws = aws_with(newest=HIGHER, parameters={NAME: "ami-higher"})
    outcome = aws.on_image_event()
    assert (outcome.kind, outcome.parameter) == (OutcomeKind.IMAGE_AVAILABLE, None)
    assert aws.parameters == {NAME: "ami-higher"}


@pytest.mark.parametrize(
    "error", [PermanentError("denied", "AccessDeniedException"), TransientError("slow down"), KeyError("unforeseen")]
)
def test_a_failure_does_not_stop_the_notification(error: Exception) -> None:
    """Where the parameter cannot be written, the image is reported as available without it."""
    aws = aws_with(errors={NAME: error})
    outcome = aws.on_image_event()
    assert (outcome.kind, outcome.parameter) == (OutcomeKind.IMAGE_AVAILABLE, None)
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    aws.errors = {}
    aws.sweep()
    assert aws.parameters == {NAME: AMI.id}


def test_a_value_that_is_not_kept_is_written_again() -> None:
    """A value that Systems Manager drops after its check is written by the next sweep, until one reads it back."""
    aws = aws_with()
    aws.on_image_event()
    aws.parameters.clear()
    (outcome,) = aws.sweep().outcomes
    assert (outcome.kind, outcome.parameter) == (OutcomeKind.IN_PROGRESS, NAME)
    assert KEY not in aws.records
    assert aws.sweep().outcomes == []
    assert KEY in aws.records


@pytest.mark.parametrize("ami", [None, replace(AMI, state="disabled")], ids=["gone", "disabled"])
def test_an_ami_that_is_not_available_is_one_notification(ami: object) -> None:
    """Where the newest version's AMI cannot be used, nothing is written, and it is reported once."""
    aws = reported(ami=ami)
    assert [(outcome.kind, outcome.is_new) for outcome in aws.sweep().outcomes] == [
        (OutcomeKind.PARAMETER_NOT_WRITTEN, True)
    ]
    assert [outcome.is_new for outcome in aws.sweep().outcomes] == [False]
    ((_, message, outcome),) = aws.published
    assert outcome == "PARAMETER_NOT_WRITTEN"
    assert AMI.id in message
    assert NAME in message
    assert aws.parameters == {}


@pytest.mark.parametrize(
    "arn",
    [ARN.replace("web-server", "web server"), ARN.replace("web-server", "wäb"), ARN.replace("web-server", "x" * 1000)],
)
def test_a_name_that_no_parameter_can_have_is_one_notification(arn: str) -> None:
    """A name with other characters, or a long one, is reported once, and Systems Manager is not asked."""
    aws = aws_with(image=replace(IMAGE, arn=arn))
    aws.records = {REGISTERED: Registration(arn, AMI.id).to_json(), IdempotencyKey("terminal", arn): "IMAGE_AVAILABLE"}
    aws.sweep()
    aws.sweep()
    assert aws.outcomes_published() == ["PARAMETER_NOT_WRITTEN"]
    assert [call for call in aws.calls if "parameter" in call] == []


def test_a_transient_error_is_a_problem_of_the_sweep() -> None:
    """A transient error is no notification."""
    aws = reported(errors={NAME: TransientError("slow down")})
    assert aws.sweep().problems == [f"{TASK_ID}: slow down"]
    assert aws.published == []


@pytest.mark.parametrize("status", ["IMAGE_FAILED", "DELETED"])
def test_an_image_that_is_not_available_has_no_parameter(status: str) -> None:
    """A sweep checks the parameter only for images that were reported as available."""
    aws = aws_with()
    aws.records[TERMINAL] = status
    aws.sweep()
    assert aws.calls == []


def test_another_invocation_checks_the_parameter() -> None:
    """A sweep leaves the parameter to the invocation that has claimed it."""
    aws = reported(in_progress={KEY})
    assert aws.sweep().outcomes == []
    assert aws.parameters == {}


def test_another_prefix_is_another_parameter() -> None:
    """After the prefix was changed, the parameters of the last imports are written under the new one."""
    aws = reported(parameters={NAME: AMI.id})
    aws.sweep()
    aws.settings = replace(SETTINGS, parameter_prefix="/golden")
    aws.sweep()
    assert aws.parameters == {NAME: AMI.id, "/golden/web-server": AMI.id}


def test_a_run_without_time_leaves_the_parameter_to_the_sweep() -> None:
    """Near the timeout, the image is reported, and the next sweep writes the parameter."""
    aws = aws_with(calls_in_time=1)
    aws.sweep()
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    assert aws.parameters == {}
