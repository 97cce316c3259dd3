"""What holds for everything that is derived."""

import random
from collections.abc import Mapping
from typing import Final

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import example, given
from hypothesis import strategies as st

from local.aws import constraints
from tests.unit.cases import Case, cases, many
from vm_image_import.aws.ec2 import parse_ami, parse_import_task
from vm_image_import.derive import Derivation
from vm_image_import.domain.errors import RejectedError
from vm_image_import.events import ManualImport
from vm_image_import.settings import Settings

_REQUEST: Final = botocore.session.get_session().get_service_model("imagebuilder").shape_for("ImportVmImageRequest")


@many
@example(
    Case(
        parse_import_task({"ImportTaskId": "import-ami-00000000"}),
        parse_ami({"ImageId": "ami-1", "CreationDate": "2000-01-01T00:00:00.000Z", "State": "available"}),
        ManualImport("import-ami-00000000"),
        Settings(version_scheme="increment", tags={}),
        ["0.0.1073741823"],
    ),
    random.Random(0),  # noqa: S311 - no secret
)
@given(cases, st.randoms(use_true_random=False))
def test_what_holds_for_every_import(case: Case, chance: random.Random) -> None:
    """Each property holds for every import that EC2 can describe, whatever was stated about it.

    They share the imports: to generate one takes much longer than to derive its request.
    """
    _check_limits(case)
    _check_name(case)
    _check_order(case, chance)
    _check_other_facts(case)


def _check_limits(case: Case) -> None:
    """Check that a request is within every limit of botocore's model and of the service, or rejected with a reason."""
    derivation = case.derived()
    if isinstance(derivation, RejectedError):
        assert derivation.problems
        assert all(": " in problem for problem in derivation.problems)
        return
    parameters = derivation.request.parameters()
    assert constraints.check("imagebuilder", "ImportVmImage", parameters) == []
    assert not ParamValidator().validate(parameters, _REQUEST).has_errors()
    assert set(derivation.dropped_tags).isdisjoint(parameters["tags"])


def _check_name(case: Case) -> None:
    """Check that a derived name which is copied into a tag or a payload derives itself."""
    derived = case.derived()
    if isinstance(derived, RejectedError):
        return
    name = derived.request.name
    unnamed, named = (case.asked.overrides._replace(name=stated) for stated in (None, name))
    by_tag = case.task._replace(tags=dict(case.task.tags) | {case.settings.name_tag: name})
    for other in (
        case._replace(task=by_tag, asked=case.asked._replace(overrides=unnamed)),
        case._replace(asked=case.asked._replace(overrides=named)),
    ):
        again = other.derived()
        assert isinstance(again, Derivation)
        assert again.request.name == name


def _check_order(case: Case, chance: random.Random) -> None:
    """Check that the same import gives the same request byte for byte, in whatever order things are listed."""
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


def _check_other_facts(case: Case) -> None:
    """Check that how far the import is, and every disk but the boot disk, changes nothing in the request."""
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
