"""Following an image: every state in which Image Builder may show it."""

from dataclasses import dataclass

import pytest

from tests.unit.test_register import ARN, TASK_ID, Aws
from vm_image_import.follow import Follower
from vm_image_import.models import Image, OutcomeKind
from vm_image_import.ports import Fact


@dataclass
class Images(Aws):
    """AWS in memory, with one image."""

    image: Image | None = None

    def find_image(self, arn: str) -> Image | None:
        assert arn == ARN
        return self.image


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        ("PENDING", OutcomeKind.IN_PROGRESS, None),
        ("AVAILABLE", OutcomeKind.IMAGE_AVAILABLE, "parentImage: "),
        ("DEPRECATED", OutcomeKind.IMAGE_AVAILABLE, "deprecated the image since then"),
        ("DISABLED", OutcomeKind.IMAGE_AVAILABLE, "disabled the image since then"),
        ("FAILED", OutcomeKind.IMAGE_FAILED, "force"),
        ("CANCELLED", OutcomeKind.IMAGE_FAILED, "was cancelled in Image Builder"),
        ("DELETED", OutcomeKind.IGNORED, None),
    ],
)
def test_every_end_is_told_once_and_settled(status: str, kind: OutcomeKind, told: str | None) -> None:
    """What is at its end is recorded, so that nobody asks again; people hear of what they can use or mend."""
    aws = Images(image=Image(ARN, status=status, import_task_id=TASK_ID))
    follower = Follower(aws, aws, aws)
    outcomes = [follower.follow(ARN) for _ in range(2)]
    assert [outcome.kind for outcome in outcomes] == [kind] * 2
    # What was told before is not counted again.
    assert not told or [outcome.news for outcome in outcomes] == [True, False]
    assert (Fact("ended", ARN) in aws.ledger) is (kind is not OutcomeKind.IN_PROGRESS)
    assert [told in notice.message for notice in aws.told if told] == ([True] if told else [])
    assert len(aws.told) == (1 if told else 0)
    assert status == "AVAILABLE" or not any("parentImage" in notice.message for notice in aws.told)


@pytest.mark.parametrize("image", [None, Image(ARN, status="AVAILABLE")])
def test_an_image_that_is_not_shown_or_not_ours_is_left_alone(image: Image | None) -> None:
    """Only what this system registered is followed, and what is not shown may be yet."""
    aws = Images(image=image)
    assert Follower(aws, aws, aws).follow(ARN).kind is OutcomeKind.IGNORED
    assert not aws.told
    assert not aws.ledger
