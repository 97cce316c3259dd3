"""The events and payloads that the function accepts, and the errors for any others."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vm_image_import import events
from vm_image_import.domain.errors import InvalidTriggerError
from vm_image_import.domain.models import Overrides
from vm_image_import.events import AmiAvailable, ImageStateChanged, ManualImport, Sweep

EVENTS = Path(__file__).parent.parent / "events"
TASK_ID = "import-ami-0123456789abcdef0"


def golden(name: str) -> dict[str, object]:
    """Return an event as AWS documents it."""
    event: dict[str, object] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


def test_an_image_event_names_the_image() -> None:
    """An image event is parsed to the ARN of the image."""
    arn = "arn:aws:imagebuilder:us-west-2:111122223333:image/web-server/1.4.2/1"
    assert events.parse(golden("image-available")) == ImageStateChanged(arn)


@pytest.mark.parametrize(
    "resources",
    [
        None,
        [],
        [7],
        ["arn:aws:ec2:us-east-1::image/ami-0abcdef1234567890"],
        ["arn:aws:imagebuilder:us-west-2:111122223333:image/web-server/x.x.x"],
        ["arn:aws:imagebuilder:us-west-2:111122223333:image/web-server/1.4.2"],
        ["arn:aws:imagebuilder:us-west-2:111122223333:image/web-server/1.4.2/*"],
        ["arn:aws:imagebuilder:us-west-2:111122223333:image/web-server/1.4.2/1\n"],
    ],
)
def test_an_image_event_without_an_image_is_refused(resources: object) -> None:
    """An image event without the ARN of an image is refused."""
    with pytest.raises(InvalidTriggerError, match="ARN of an image build version"):
        events.parse(golden("image-available") | {"resources": resources})


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_action_sweep_is_a_sweep(dry_run: bool) -> None:  # noqa: FBT001 - a case of the table
    """The payload of the schedule and of a manual sweep is parsed with its `dryRun`."""
    assert events.parse({"action": "sweep", "dryRun": dry_run}) == Sweep(dry_run=dry_run)
    assert events.parse({"action": "sweep"}) == Sweep()


def test_an_ami_event_names_the_ami() -> None:
    """An AMI event is parsed to the id of the AMI and the time of the event."""
    expected = AmiAvailable("ami-0abcdef1234567890", datetime(2026, 11, 23, 10, 15, tzinfo=UTC))
    assert events.parse(golden("ami-available")) == expected


@pytest.mark.parametrize(
    ("payload", "trigger"),
    [
        ({"importTaskId": TASK_ID}, ManualImport(TASK_ID)),
        ({"importTaskId": "import-ami-fg4d51t0", "dryRun": True}, ManualImport("import-ami-fg4d51t0", dry_run=True)),
        (
            {
                "importTaskId": TASK_ID,
                "name": "web",
                "semanticVersion": "1.4",
                "description": "d",
                "platform": "Windows",
                "osVersion": "2019",
                "tags": {"Team": "web", "k" * 128: "v" * 256},
                "dryRun": False,
            },
            ManualImport(
                TASK_ID, Overrides("web", "1.4", "d", "Windows", "2019", {"Team": "web", "k" * 128: "v" * 256})
            ),
        ),
    ],
    ids=["task", "dry run", "everything"],
)
def test_every_key_of_a_payload_is_parsed(payload: object, trigger: ManualImport) -> None:
    """Every key of the contract is in the parsed trigger."""
    assert events.parse(payload) == trigger


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ({}, "importTaskId"),
        ({"importTaskId": None}, "importTaskId"),
        ({"importTaskId": 7}, "importTaskId"),
        ({"importTaskId": ""}, "importTaskId"),
        ({"importTaskId": "import-snap-0123456789abcdef0"}, "importTaskId"),
        ({"importTaskId": "import-ami-SHOUTED0"}, "importTaskId"),
        ({"importTaskId": f"{TASK_ID}\n"}, "importTaskId"),
        ({"importTaskId": TASK_ID, "name": "ab"}, "name"),
        ({"importTaskId": TASK_ID, "name": "n" * 129}, "name"),
        ({"importTaskId": TASK_ID, "semanticVersion": 1.4}, "semanticVersion"),
        ({"importTaskId": TASK_ID, "semanticVersion": ""}, "semanticVersion"),
        ({"importTaskId": TASK_ID, "description": ""}, "description"),
        ({"importTaskId": TASK_ID, "description": "d" * 1025}, "description"),
        ({"importTaskId": TASK_ID, "platform": "linux"}, "platform"),
        ({"importTaskId": TASK_ID, "osVersion": ""}, "osVersion"),
        ({"importTaskId": TASK_ID, "tags": []}, "tags"),
        ({"importTaskId": TASK_ID, "tags": {"aws:x": "y"}}, "tags"),
        ({"importTaskId": TASK_ID, "tags": {"a&b": "y"}}, "tags"),
        ({"importTaskId": TASK_ID, "tags": {"": "y"}}, "tags"),
        ({"importTaskId": TASK_ID, "tags": {"k" * 129: "y"}}, "tags"),
        ({"importTaskId": TASK_ID, "tags": {"k": 7}}, "tags"),
        ({"importTaskId": TASK_ID, "tags": {"k": "v" * 257}}, "tags"),
        ({"importTaskId": TASK_ID, "tags": {f"k{n}": "" for n in range(45)}}, "tags"),
        ({"importTaskId": TASK_ID, "dryRun": "yes"}, "dryRun"),
        ({"importTaskId": TASK_ID, "tags": {"vm-image-import:ami-id": "forged"}}, "tags"),
        ({"importTaskId": TASK_ID, "tags": {"no\u00a0break": "y"}}, "tags"),
        ({"importTaskId": f"{TASK_ID}{'0' * 1024}"}, "importTaskId"),
        ({"importTaskId": TASK_ID, "semanticVersion": f"1.{'9' * 5000}"}, "semanticVersion"),
        ({"importTaskId": TASK_ID, "osVersion": "x" * 1025}, "osVersion"),
        ({"importTaskId": TASK_ID, "force": 1}, "force"),
        ({"importTaskId": TASK_ID, "import_task_id": TASK_ID}, '"import_task_id"'),
    ],
)
def test_a_malformed_payload_is_refused(payload: object, key: str) -> None:
    """The error for one wrong key names that key, and says what to write."""
    with pytest.raises(InvalidTriggerError) as caught:
        events.parse(payload)
    (problem,) = caught.value.problems
    assert problem.startswith(key)
    assert ": write " in problem


def test_every_problem_is_named_at_once() -> None:
    """The error for a payload with several mistakes names all of them."""
    payload = {"importTaskID": TASK_ID, "name": 7, "dryRun": "yes", "tags": {"aws:x": "y"}, "platform": "BeOS"}
    with pytest.raises(InvalidTriggerError) as caught:
        events.parse(payload)
    message = str(caught.value)
    assert len(caught.value.problems) == 6
    assert (
        caught.value.problems[1]
        == '"importTaskID" is unknown: write some of ' + ", ".join(events.read_schema("payload")["properties"]) + "."
    )
    for key in ("importTaskId", "importTaskID", "name", "dryRun", "tags", "platform"):
        assert key in message


def test_every_problem_of_the_tags_is_named() -> None:
    """The error names every wrong entry of `tags`, and that there are too many."""
    wrong = {"aws:x": "y", "a&b": "z", "c": 7, "d": None, "e": "x" * 257}
    with pytest.raises(InvalidTriggerError) as caught:
        events.parse({"importTaskId": TASK_ID, "tags": wrong | {f"k{n}": "" for n in range(44)}})
    starts = (
        "tags must contain",
        'tags cannot have "aws:x"',
        'tags cannot have "a&b"',
        "tags.c ",
        "tags.d ",
        "tags.e ",
    )
    for start in starts:
        assert [problem for problem in caught.value.problems if problem.startswith(start)], start
    assert len(caught.value.problems) == len(starts)


@pytest.mark.parametrize("key", ["CreatedBy", "createdby"])
def test_a_payload_cannot_state_created_by(key: str) -> None:
    """A payload with the tag `CreatedBy`, by which lifecycle policies delete AMIs, is refused, in any case."""
    with pytest.raises(InvalidTriggerError, match=f'tags cannot have "{key}": .*CreatedBy'):
        events.parse({"importTaskId": TASK_ID, "tags": {key: "EC2 Image Builder"}})
    events.parse({"importTaskId": TASK_ID, "tags": {f"{key}Us": "x"}})


def test_a_thousand_unknown_keys_are_one_problem() -> None:
    """The error lists ten of a thousand unknown keys and counts the others."""
    with pytest.raises(InvalidTriggerError) as caught:
        events.parse({"importTaskId": TASK_ID} | {f"k{n}": n for n in range(1000)})
    (problem,) = caught.value.problems
    assert 'k9" and 990 more are unknown' in problem
    assert len(problem) < 400


@pytest.mark.parametrize(
    "payload",
    [
        {"importTaskId": TASK_ID, "description": "x\ud800y"},
        {"x\ud800": 1},
        {"detail-type": "\ud800"},
        golden("ami-available") | {"detail": {"ImageId": "ami-\ud800"}},
    ],
    ids=["value", "key", "event", "AMI"],
)
def test_an_unpaired_surrogate_is_refused(payload: object) -> None:
    """An unpaired surrogate in a payload is refused, and the error itself can be encoded."""
    with pytest.raises(InvalidTriggerError, match="unpaired surrogate") as caught:
        events.parse(payload)
    assert str(caught.value).encode()


@pytest.mark.parametrize("payload", [None, [], "import-ami-0123456789abcdef0", 7, [{"importTaskId": TASK_ID}]])
def test_a_payload_that_is_no_object_is_refused(payload: object) -> None:
    """The error for a payload that is no JSON object shows what a payload looks like."""
    with pytest.raises(InvalidTriggerError, match=r'write \{"importTaskId"'):
        events.parse(payload)


@pytest.mark.parametrize(
    "event",
    [
        {"detail-type": []},
        {"detail-type": "EC2 AMI State Change", "source": ["aws.ec2"]},
        {"detail-type": {"a": 1}, "source": None},
        {"detail-type": "x" * 1_000_000, "source": "y\n" * 1_000_000},
    ],
    ids=["list", "list as source", "object", "long"],
)
def test_an_event_of_any_form_is_refused_shortly(event: object) -> None:
    """An event with a source or a detail type of another form or length is refused with a short error on one line."""
    with pytest.raises(InvalidTriggerError, match="No rule of this function") as caught:
        events.parse(event)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "payload",
    [
        {"importTaskId": TASK_ID, "x" * 1_000_000: 1},
        {"importTaskId": TASK_ID, "tags": {f"k{number}": 7 for number in range(20_000)}},
        {"importTaskId": TASK_ID, "tags": {"k\n" * 100_000: 7}},
        {"importTaskId": TASK_ID, "name": "n" * 1_000_000},
    ],
    ids=["unknown key", "tags", "key of a tag", "name"],
)
def test_a_large_payload_is_refused_shortly(payload: object) -> None:
    """The error for a large payload is short and has no line break."""
    with pytest.raises(InvalidTriggerError) as caught:
        events.parse(payload)
    assert all(len(problem) < 600 and problem.isprintable() for problem in caught.value.problems)
    assert len(caught.value.problems) < 60


@pytest.mark.parametrize("name", ["instance-state-change", "ami-available-other-source"])
def test_an_event_of_another_kind_is_refused(name: str) -> None:
    """An event that no rule of this stack sends is refused."""
    with pytest.raises(InvalidTriggerError, match="No rule of this function"):
        events.parse(golden(name))


@pytest.mark.parametrize(
    "change",
    [
        {"detail": {}},
        {"detail": None},
        {"detail": {"ImageId": 7}},
        {"detail": {"ImageId": ""}},
        {"detail": {"ImageId": "import-ami-fg4d51t0"}},
        {"time": None},
        {"time": "today"},
        {"time": "2026-11-23T10:15:00"},
        {"time": "0001-01-01T00:00:00+14:00"},
        {"detail": {"ImageId": "ami-0abcdef1234567890\n"}},
        {"detail": {"ImageId": "ami-*"}},
    ],
    ids=json.dumps,
)
def test_a_damaged_event_is_refused(change: dict[str, object]) -> None:
    """The error for an incomplete event says what the event needs."""
    with pytest.raises(InvalidTriggerError, match=r"needs detail\.ImageId"):
        events.parse(golden("ami-available") | change)
