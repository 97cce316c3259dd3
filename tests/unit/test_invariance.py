"""What changes nothing in what is derived."""

import random
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case, cases, many


@many
@given(cases, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(case: Case, chance: random.Random) -> None:
    """The same import gives the same request byte for byte, in whatever order EC2 and people list things."""
    boot = case.task.boot_disk
    shuffled = case.task._replace(
        tags=_shuffled(case.task.tags, chance),
        disks=(boot, *chance.sample(case.task.disks, k=len(case.task.disks))),
    )
    overrides = case.asked.overrides._replace(tags=_shuffled(case.asked.overrides.tags, chance))
    other = case._replace(
        task=shuffled if case.task.disks else shuffled._replace(disks=()),
        asked=case.asked._replace(overrides=overrides),
        settings=case.settings._replace(tags=_shuffled(case.settings.tags, chance)),
        existing=[*case.existing, *reversed(case.existing)],
    )
    assert other.request() == case.request() == case.request()


@many
@given(cases)
def test_what_the_request_does_not_show_changes_nothing(case: Case) -> None:
    """How far the import is, and every disk but the boot disk, has no part in what it is called."""
    other = case._replace(
        task=case.task._replace(
            status="active",
            status_message="converting",
            progress="39",
            image_id=None,
            disks=(case.task.boot_disk,),
        ),
        ami=case.ami._replace(state="pending", source_image_id="ami-0fedcba9876543210"),
    )
    assert other.request() == case.request()


def _shuffled(mapping: Mapping[str, str], chance: random.Random) -> dict[str, str]:
    return dict(chance.sample(list(mapping.items()), k=len(mapping)))
