"""The parameter that has the newest AMI of a name."""

import re
import shlex
from datetime import timedelta

import pytest

from tests.unit.fakes import AMI, AVAILABLE, TASK, TASK_ID, InMemoryAws, version_arn
from vm_image_import.domain.models import Ami, Build, Image
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.report.log import metrics
from vm_image_import.settings import Settings

SETTINGS = Settings(parameter_prefix="/imagebuilder/base")
NAME = "/imagebuilder/base/web-server"
LATER = timedelta(minutes=15)


def build(version: str, ami_id: str | None, status: str = "AVAILABLE") -> Build:
    """Return a build of the image's name."""
    return Build(version_arn(version), status, is_import=False, ami_ids=(ami_id,) if ami_id else ())


OURS = f"The AMI of {version_arn('x.x.x').removesuffix('/1')}"
ITSELF, HIGHER, LOWER = build("1.4.2", AMI.id), build("1.10.0", "ami-higher"), build("1.3.9", "ami-lower")


def registered(**changes: object) -> InMemoryAws:
    """Return AWS with a registered import whose image is available."""
    defaults = {"task": TASK, "ami": AMI, "image": AVAILABLE, "settings": SETTINGS}
    aws = InMemoryAws(**{**defaults, **changes})  # type: ignore[arg-type]
    aws.put_registration()
    return aws


def test_an_available_image_writes_its_parameter() -> None:
    """The parameter is written before the notification, which names it; a later sweep reads it back, once."""
    aws = registered()
    outcome = aws.on_image_event()
    assert (outcome.kind, outcome.parameter) == (OutcomeKind.IMAGE_AVAILABLE, NAME)
    assert f"Parameter: {NAME}" in aws.published[0].message
    assert aws.parameters == {NAME: AMI.id}
    assert metrics.metric_set["ParametersWritten"]["Value"] == [1.0]
    assert aws.items[TASK_ID].is_open
    aws.calls.clear()
    assert aws.sweep().outcomes == []
    assert "put_parameter" not in "".join(aws.calls)
    assert aws.registration().results["parameter"] == NAME
    assert not aws.items[TASK_ID].is_open


@pytest.mark.parametrize("settings", [Settings(), SETTINGS._replace(observe=True)], ids=["none", "observe"])
def test_nothing_is_written_unless_configured(settings: Settings) -> None:
    """Without `parameterPrefix`, and with `observe`, no parameter is read or written."""
    aws = registered(settings=settings)
    assert aws.on_image_event().parameter is None
    assert [call for call in aws.calls if "parameter" in call] == []


@pytest.mark.parametrize(
    ("builds", "image", "ami_id"),
    [
        ([ITSELF], AVAILABLE, AMI.id),
        ([HIGHER, ITSELF, LOWER], AVAILABLE, "ami-higher"),
        ([LOWER], AVAILABLE, AMI.id),
        ([], AVAILABLE, AMI.id),
        ([build("9.0.0", "ami-x", "FAILED"), build("8.0.0", "ami-y", "DEPRECATED")], AVAILABLE, AMI.id),
        ([LOWER], AVAILABLE._replace(status="DEPRECATED"), "ami-lower"),
        ([LOWER, ITSELF], AVAILABLE._replace(status="DISABLED"), "ami-lower"),
        ([], AVAILABLE._replace(status="DEPRECATED"), None),
        ([build("1.10.0", None)], AVAILABLE, None),
        ([], AVAILABLE._replace(ami_id=None), None),
        ([Build(version_arn("9.0.0", "web"), "AVAILABLE", is_import=False)], AVAILABLE, AMI.id),
    ],
    ids=[
        *("itself", "a higher one", "not listed yet", "none listed yet", "failed ones", "deprecated meanwhile"),
        *("disabled meanwhile", "none left", "higher without an AMI", "itself without an AMI", "another name"),
    ],
)
def test_the_highest_available_version_wins(builds: list[Build], image: Image, ami_id: str | None) -> None:
    """The parameter gets the AMI of the highest version of its name that is available, and nothing unknown."""
    aws = registered(builds=builds, image=image)
    if ami_id:
        aws.other_ami = AMI._replace(id=ami_id)
    for number, each in enumerate(builds, start=1):
        aws.put_registration(f"{TASK_ID} {number}", arn=each.arn, ami_id="".join(each.ami_ids))
    aws.on_image_event()
    assert aws.parameters == ({NAME: ami_id} if ami_id else {})


def test_a_parameter_that_is_written_after_the_notification_is_an_outcome() -> None:
    """The parameter of an image that was notified before the option was turned on is written, logged and answered."""
    aws = registered(settings=Settings())
    aws.sweep()
    aws.settings = SETTINGS
    (outcome,) = aws.sweep().outcomes
    assert (outcome.kind, outcome.parameter) == (OutcomeKind.IN_PROGRESS, NAME)
    assert outcome.reason == f"{NAME} was written: {AMI.id}. The next sweep reads it back."


def test_a_parameter_that_has_the_value_already_is_reported() -> None:
    """Where the parameter has the AMI of the image already, it is not written, and the notification names it."""
    aws = registered(parameters={NAME: AMI.id})
    assert aws.on_image_event().parameter == NAME
    assert f"put_parameter {NAME}" not in aws.calls


def test_only_the_image_that_the_parameter_has_is_reported_with_it() -> None:
    """The notification of a lower version that is imported late does not name the parameter."""
    aws = registered(builds=[HIGHER], parameters={NAME: "ami-higher"})
    outcome = aws.on_image_event()
    assert (outcome.kind, outcome.parameter) == (OutcomeKind.IMAGE_AVAILABLE, None)
    assert aws.parameters == {NAME: "ami-higher"}


def test_an_ami_that_is_not_shown_is_not_recorded_as_written() -> None:
    """An image that shows no AMI is not done, names no parameter, and is written when the AMI is shown."""
    aws = registered(image=AVAILABLE._replace(ami_id=None))
    assert aws.on_image_event().parameter is None
    assert aws.sweep().outcomes == []
    assert "parameter" not in aws.registration().results
    aws.image = AVAILABLE
    aws.sweep()
    assert aws.parameters == {NAME: AMI.id}


def test_a_value_is_checked_for_ten_minutes_from_its_write() -> None:
    """A value that a sweep writes after 200 seconds is not called dropped until ten minutes after the write."""
    aws = registered(keeps_parameters=False, elapsed=timedelta(seconds=200))
    aws.sweep()
    aws.elapsed = timedelta(0)
    problems = []
    for seconds in (799, 800):
        aws.age = timedelta(seconds=seconds)
        aws.sweep()
        problems.append(dict(aws.registration().problems))
    assert problems == [{}, {"parameter": "ValueDropped"}]


def test_a_value_that_is_dropped_is_reported_once() -> None:
    """A value that Systems Manager drops is written by each sweep and reported once, until it is kept."""
    aws = registered(keeps_parameters=False)
    aws.on_image_event()
    assert aws.sweep().outcomes == []
    for _ in range(5):
        aws.age += LATER
        aws.sweep()
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE", "FOLLOW_UP_FAILED"]
    assert f"dropped the value {AMI.id} of {NAME}. It accepts only an AMI that exists" in aws.published[1].message
    assert "that the role of the function may describe." in aws.published[1].message
    assert aws.registration().problems == {"parameter": "ValueDropped"}
    assert aws.calls.count(f"put_parameter {NAME}") == 6
    aws.keeps_parameters = True
    aws.age += LATER
    aws.sweep()
    aws.sweep()
    assert aws.registration().results["parameter"] == NAME


@pytest.mark.parametrize("parameters", [{NAME: "ami-higher"}, {}], ids=["written", "not written yet"])
def test_a_late_list_of_builds_does_not_bring_a_lower_version_back(parameters: dict[str, str]) -> None:
    """While the list lacks the highest version, which `x.x.x` names, nothing is written, and the step waits."""
    aws = registered(builds=[ITSELF], current_builds=[HIGHER, ITSELF], parameters={**parameters})
    aws.on_image_event()
    assert aws.parameters == parameters
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    assert aws.items[TASK_ID].is_open
    aws.builds, aws.parameters = [HIGHER, ITSELF], {NAME: "ami-higher"}
    aws.sweep()
    assert aws.parameters == {NAME: "ami-higher"}
    assert not aws.items[TASK_ID].is_open


def test_an_image_that_is_deprecated_but_still_listed_is_not_written() -> None:
    """While the list shows a version as available that `x.x.x` does not name any more, the step waits."""
    aws = registered(builds=[HIGHER, ITSELF], current_builds=[ITSELF], other_ami=AMI._replace(id="ami-higher"))
    aws.put_registration(f"{TASK_ID} 1", arn=HIGHER.arn, ami_id="ami-higher")
    aws.on_image_event()
    assert aws.parameters == {}
    aws.builds = [ITSELF]
    aws.sweep()
    assert aws.parameters == {NAME: AMI.id}


def test_an_image_that_x_x_x_does_not_name_for_6_days_is_reported_once() -> None:
    """Where the list and `x.x.x` disagree for 6 days, the parameter is not written, and one notification says why."""
    aws = registered(current_builds=[])
    aws.sweep()
    for aws.age in (timedelta(days=6, seconds=1), timedelta(days=7, seconds=1)):
        aws.sweep()
        aws.sweep()
    assert aws.parameters == {}
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE", "FOLLOW_UP_FAILED"]
    assert f"names no version, and the list of builds {version_arn('1.4.2')}" in aws.published[1].message


def test_only_a_write_asks_for_the_highest_version() -> None:
    """`x.x.x` is asked for once for each write: a parameter that has the value, or is read back, costs no such call."""
    aws = registered()
    aws.on_image_event()
    aws.sweep()
    assert aws.registration().results["parameter"] == NAME
    assert [call for call in aws.calls if call.endswith("/x.x.x")] == [f"find_image {OURS.removeprefix('The AMI of ')}"]


def test_a_value_that_another_one_has_replaced_is_not_called_dropped() -> None:
    """Where something else has written the parameter after this system, the value is written again without a report."""
    aws = registered(parameters={NAME: "ami-lower"})
    aws.on_image_event()
    aws.parameters[NAME] = "ami-other"
    aws.age = LATER
    aws.sweep()
    assert aws.parameters == {NAME: AMI.id}
    aws.sweep()
    assert aws.registration().results["parameter"] == NAME
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]


def test_a_value_that_is_replaced_again_and_again_is_reported_once() -> None:
    """Where something else writes another value before each sweep, the step ends after 7 days with a notification."""
    aws = registered()
    aws.on_image_event()
    for day in range(1, 10):
        aws.parameters[NAME] = f"ami-other-{day}"
        aws.age = timedelta(days=day)
        aws.sweep()
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE", "FOLLOW_UP_FAILED"]
    assert f"{NAME} was written again: something else changed {AMI.id} to ami-other-8." in aws.published[1].message
    assert aws.parameters == {NAME: "ami-other-9"}
    assert not aws.items[TASK_ID].is_open


def test_a_value_that_gave_way_to_the_one_before_was_dropped() -> None:
    """Where the parameter has the value that it had before it was written, the value was dropped."""
    aws = registered(parameters={NAME: "ami-lower"}, keeps_parameters=False)
    aws.on_image_event()
    aws.age = LATER
    aws.sweep()
    assert aws.registration().problems == {"parameter": "ValueDropped"}


@pytest.mark.parametrize("ami", [None, AMI._replace(id="ami-higher", state="disabled")], ids=["gone", "disabled"])
def test_an_ami_that_is_not_available_is_one_notification(ami: object) -> None:
    """Where the newest version's AMI cannot be used, nothing is written, and it is reported once."""
    aws = registered(builds=[HIGHER], other_ami=ami, age=timedelta(hours=1))
    aws.sweep()
    aws.sweep()
    assert aws.outcomes_published() == ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]
    assert "ami-higher" in aws.published[0].message
    assert NAME in aws.published[0].message
    assert aws.parameters == {}
    assert aws.registration().problems == {"parameter": "AmiNotAvailable"}


def test_a_name_that_no_parameter_can_have_is_one_notification() -> None:
    """A name that is too long for a parameter is reported once, and Systems Manager is not asked."""
    arn = version_arn("1.4.2", "x" * 1000)
    aws = registered()
    aws.put_registration(arn=arn)
    aws.sweep()
    aws.sweep()
    assert aws.outcomes_published() == ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]
    assert [call for call in aws.calls if "parameter" in call] == []
    assert aws.registration().problems == {"parameter": "ParameterName"}


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "DELETED"])
def test_an_image_that_is_not_available_has_no_parameter(status: str) -> None:
    """The parameter is written only for images that have become available."""
    aws = registered(image=AVAILABLE._replace(status=status))
    aws.on_image_event()
    assert [call for call in aws.calls if "parameter" in call] == []
    assert not aws.items[TASK_ID].is_open


@pytest.mark.parametrize("name", ["golden-image", "base-image"])
def test_a_name_that_ends_in_a_word_of_the_arn_is_kept(name: str) -> None:
    """The name of the parameter is the whole name of the image."""
    arn = version_arn("1.4.2", name)
    aws = registered()
    aws.put_registration(arn=arn)
    outcome = aws.on_image_event(arn)
    assert outcome.parameter == f"/imagebuilder/base/{name}"
    assert aws.published[0].subject == f"Image available: {name}/1.4.2/1"


@pytest.mark.parametrize(
    ("data_type", "description", "written"),
    [
        ("aws:ec2:image", OURS, True),
        ("text", OURS, False),
        ("aws:ec2:image", "", False),
        ("aws:ec2:image", "The AMI of another team", False),
        ("aws:ec2:image", OURS.replace("web-server", "web"), False),
    ],
)
@pytest.mark.parametrize("value", ["ami-lower", "a secret"])
def test_a_parameter_of_others_is_not_overwritten(
    value: str, data_type: str, description: str, *, written: bool
) -> None:
    """A parameter is overwritten only where its data type and description are ours; else one notification says so."""
    aws = registered(parameters={NAME: value}, descriptions={NAME: description}, parameter_types={NAME: data_type})
    aws.sweep()
    aws.sweep()
    assert aws.parameters == {NAME: AMI.id if written else value}
    reported = [each.message for each in aws.published if each.outcome == "FOLLOW_UP_FAILED"]
    assert len(reported) == (not written)
    assert aws.registration().problems == ({} if written else {"parameter": "ParameterOfOthers"})
    assert all("this system did not write it" in each and NAME in each for each in reported)


def test_a_text_with_the_right_value_is_not_taken_for_the_parameter() -> None:
    """A parameter of another data type is somebody else's, also where its value is the AMI's id."""
    aws = registered(parameters={NAME: AMI.id}, parameter_types={NAME: "text"})
    aws.sweep()
    assert aws.outcomes_published() == ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]


@pytest.mark.parametrize(
    ("ami", "arn", "problem", "code"),
    [
        (
            *(AMI._replace(id="ami-higher", owner_id="210987654321"), HIGHER.arn),
            *("belongs to the account 210987654321", "AmiOfOthers"),
        ),
        (AMI._replace(id="ami-higher"), version_arn("1.10.0", "db"), "no record of", "ImageOfOthers"),
        (AMI._replace(id="ami-higher"), None, "no record of", "ImageOfOthers"),
        (AMI._replace(id="ami-higher", name="golden"), HIGHER.arn, "no record of", "ImageOfOthers"),
    ],
    ids=["another account's", "another name's", "of no import of ours", "of no import"],
)
def test_an_ami_of_others_is_not_written(ami: Ami, arn: str | None, problem: str, code: str) -> None:
    """Only an AMI of this account, of an image that is recorded, is written; else one notification says so."""
    aws = registered(builds=[HIGHER], other_ami=ami)
    if arn:
        aws.put_registration(f"{TASK_ID} 1", arn=arn, ami_id=ami.id)
    aws.on_image_event()
    assert aws.parameters == {}
    assert aws.outcomes_published() == ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]
    assert problem in aws.published[0].message
    assert aws.registration().problems == {"parameter": code}


def test_an_image_whose_record_may_have_expired_is_not_called_another_users() -> None:
    """Where no record of the newest version is found, the notification says that records expire after 60 days."""
    aws = registered(builds=[HIGHER], other_ami=AMI._replace(id="ami-higher"))
    aws.on_image_event()
    assert "has no record of: another user made it, or its record has expired after 60 days" in aws.published[0].message


@pytest.mark.parametrize(
    "ami",
    [AMI._replace(id="ami-higher"), AMI._replace(id="ami-higher", state="disabled"), None],
    ids=["of no record", "disabled", "gone"],
)
def test_a_parameter_that_a_user_has_written_as_ordered_is_updated_later(ami: Ami | None) -> None:
    """After the command of the notification, the parameter counts as this system's, and the next image updates it."""
    aws = registered(builds=[HIGHER], other_ami=ami, age=timedelta(hours=1))
    aws.on_image_event()
    message = aws.published[0].message
    (command,) = re.findall(r"aws ssm put-parameter .+? --overwrite", message)
    assert f"If {HIGHER.arn} is not to be used, deprecate or delete it." in message
    words = shlex.split(command)
    options = dict(zip(words[3:-1:2], words[4::2], strict=True))
    assert (options["--type"], options["--value"]) == ("String", "AMI_ID")
    assert options["--name"] == NAME
    aws.parameters[NAME], aws.parameter_types[NAME] = "ami-other", options["--data-type"]
    aws.descriptions[NAME] = options["--description"]
    aws.builds = []
    aws.sweep()
    assert aws.parameters == {NAME: AMI.id}


def test_an_image_with_a_name_that_is_not_allowed_has_no_parameter() -> None:
    """An image that another user has registered under a name that is not allowed gets no parameter."""
    aws = registered(settings=SETTINGS._replace(allowed_names=["team-a-*"]))
    aws.on_image_event()
    assert aws.parameters == {}
    assert "matches none of team-a-*" in aws.published[0].message
    assert aws.registration().problems == {"parameter": "NameNotAllowed"}
