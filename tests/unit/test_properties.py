"""What holds for everything that is derived."""

from typing import Final

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import example, given, reject

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
    )
)
@given(cases)
def test_a_request_is_within_every_limit_or_rejected_with_a_reason(case: Case) -> None:
    """Neither botocore's model nor the service's own limits refuse what is derived."""
    derivation = case.derived()
    if isinstance(derivation, RejectedError):
        assert derivation.problems
        assert all(": " in problem for problem in derivation.problems)
        return
    parameters = derivation.request.parameters()
    assert constraints.check("imagebuilder", "ImportVmImage", parameters) == []
    assert not ParamValidator().validate(parameters, _REQUEST).has_errors()
    assert set(derivation.dropped_tags).isdisjoint(parameters["tags"])


@many
@given(cases)
def test_a_derived_name_derives_itself(case: Case) -> None:
    """Who copies a derived name into a tag or a payload gets that name."""
    derived = case.derived()
    if isinstance(derived, RejectedError):
        reject()
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
