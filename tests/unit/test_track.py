"""Tracking an image: every state in which Image Builder may show it."""

import pytest

from tests.unit.fakes import ARN, REGISTERED, TASK_ID, InMemoryAws
from vm_image_import.idempotency.records import IdempotencyKey, Registration
from vm_image_import.models import Image, OutcomeKind

TERMINAL = IdempotencyKey("terminal", ARN)


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
def test_a_terminal_state_is_reported_once(status: str, kind: OutcomeKind, text: str) -> None:
    """A terminal state is recorded, sent as one notification, and new only the first time."""
    aws = InMemoryAws(image=Image(ARN, status=status, tagged_task_id=TASK_ID))
    outcomes = [aws.check() for _ in range(2)]
    assert [(outcome.kind, outcome.is_new) for outcome in outcomes] == [(kind, True), (kind, False)]
    assert TERMINAL in aws.records
    (notification,) = aws.published
    assert text in notification.message
    assert ("parentImage" in notification.message) is (status == "AVAILABLE")


@pytest.mark.parametrize(
    ("status", "kind", "recorded"),
    [
        ("PENDING", OutcomeKind.IN_PROGRESS, False),
        ("INTEGRATING", OutcomeKind.IN_PROGRESS, False),
        ("importing", OutcomeKind.IN_PROGRESS, False),
        ("DELETED", OutcomeKind.IGNORED, True),
    ],
)
def test_other_states_send_no_notification(status: str, kind: OutcomeKind, recorded: bool) -> None:  # noqa: FBT001 - a case of the table
    """A deleted image is recorded as terminal without a notification; any other state is in progress."""
    aws = InMemoryAws(image=Image(ARN, status=status, tagged_task_id=TASK_ID))
    assert [aws.check().kind for _ in range(2)] == [kind] * 2
    assert (TERMINAL in aws.records) is recorded
    assert not aws.published


def test_the_event_of_a_registered_image_is_handled() -> None:
    """The event of an image that a record of its import task names is reported."""
    aws = InMemoryAws(image=Image(ARN, status="AVAILABLE", tagged_task_id=TASK_ID))
    aws.records[REGISTERED] = Registration(ARN, "ami").to_json()
    assert aws.on_image_event().kind is OutcomeKind.IMAGE_AVAILABLE
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]


@pytest.mark.parametrize(
    "image",
    [
        None,
        Image(ARN, status="AVAILABLE"),
        Image(ARN, status="AVAILABLE", tagged_task_id=TASK_ID),
        Image(ARN, status="AVAILABLE", tagged_task_id="import-ami-00000000"),
        Image(ARN, status="FAILED", tagged_task_id=f"{TASK_ID}\n"),
        Image(ARN, status="DELETED", tagged_task_id="*"),
    ],
    ids=["not visible", "no tag", "tag of another image's task", "tag of no task", "line break", "no id"],
)
def test_the_event_of_another_image_changes_nothing(image: Image | None) -> None:
    """An image that is in no record of its import task is ignored, whatever tags it has."""
    aws = InMemoryAws(image=image)
    aws.records[REGISTERED] = Registration(ARN.replace("web-server", "other"), "ami").to_json()
    before = dict(aws.records)
    assert aws.on_image_event().kind is OutcomeKind.IGNORED
    assert not aws.published
    assert aws.records == before


def test_an_image_that_is_not_visible_is_checked_again() -> None:
    """A registered image that Image Builder does not show is ignored, and not recorded as terminal."""
    aws = InMemoryAws()
    assert aws.check().kind is OutcomeKind.IGNORED
    assert not aws.records


def test_a_state_that_another_invocation_reports_is_not_new() -> None:
    """The invocation that has the claim sends the notification; the other one sends none."""
    aws = InMemoryAws(image=Image(ARN, status="FAILED", tagged_task_id=TASK_ID), in_progress={TERMINAL})
    outcome = aws.check()
    assert (outcome.kind, outcome.is_new) == (OutcomeKind.IMAGE_FAILED, False)
    assert not aws.published
