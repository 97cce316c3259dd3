"""Whose name, whose version, whose tags: what a deployment allows, whatever an import states."""

from dataclasses import replace

import pytest

from tests.unit.derivation import derive
from tests.unit.fakes import AMI, TASK, InMemoryAws
from vm_image_import.derive import names
from vm_image_import.domain.errors import RejectedError
from vm_image_import.domain.models import Overrides
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.settings import Settings

TEAM_A = Settings(allowed_names=["team-a-*", "shared"])
FROM_TAGS = Settings(names_from="tags", only_tasks_tagged={"Owner": "a"})
STATED = {"Name": "web", "Version": "1.0", "Owner": "a"}


@pytest.mark.parametrize(
    ("name", "patterns", "allowed"),
    [
        ("web", [], True),
        ("team-a-web", ["team-a-*"], True),
        ("team-a-", ["team-a-*"], True),
        ("team-a", ["team-a-*"], False),
        ("my-team-a-web", ["team-a-*"], False),
        ("team-b-web", ["team-a-*", "team-b-*"], True),
        ("web", ["*"], True),
        ("a-b-c", ["a-*-c"], True),
    ],
)
def test_a_pattern_matches_the_whole_name(name: str, patterns: list[str], *, allowed: bool) -> None:
    """A name is allowed where a pattern matches the whole of it; without patterns every name is."""
    assert names.is_allowed(name, patterns) is allowed


@pytest.mark.parametrize("stated", ["Team_A Web", "team-a-web", "TEAM-A-web", "Shared"])
def test_an_allowed_name_is_compared_as_its_arn_has_it(stated: str) -> None:
    """A name is compared in lower case and with hyphens, as its ARN has it."""
    aws = InMemoryAws(replace(TASK, tags={"Name": stated}), AMI, TEAM_A)
    assert aws.on_event().kind is OutcomeKind.REGISTERED


@pytest.mark.parametrize("stated", ["web-server", "Team-A", "team-b-web", "t\u0435am-b-web", "shared-2"])
def test_another_name_is_rejected_with_the_patterns(stated: str) -> None:
    """A name that no pattern allows is rejected, whether a tag, a payload or the file states it, with the patterns."""
    by_tag = InMemoryAws(replace(TASK, tags={"Name": stated}), AMI, TEAM_A)
    by_payload, by_file = InMemoryAws(TASK, AMI, TEAM_A), InMemoryAws(TASK, AMI, TEAM_A)
    for outcome in (by_tag.on_event(), by_payload.manually(Overrides(name=stated)), by_file.by_sweep()):
        assert outcome.kind is OutcomeKind.REJECTED
        assert "allowedNames, team-a-*, shared" in (outcome.reason or "")
    assert not [*by_tag.requests, *by_payload.requests, *by_file.requests]


def test_a_name_that_is_not_allowed_costs_sweeps_nothing() -> None:
    """A name that is not allowed is reported once, and is registered when it is corrected."""
    aws = InMemoryAws(TASK, AMI, TEAM_A)
    aws.sweep()
    aws.calls.clear()
    assert aws.sweep().outcomes == []
    assert (aws.calls, aws.outcomes_published()) == ([], ["REJECTED"])
    aws.task = replace(TASK, tags={"Name": "team-a-web"})
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED


@pytest.mark.parametrize(
    ("tags", "overrides", "problems"),
    [
        (STATED, Overrides(), None),
        ({**STATED, "Team": "x", "OsVersion": "y"}, Overrides(description="Web", os_version="z"), None),
        ({}, Overrides(), "tag Name, tag Version"),
        ({"Version": "1.0"}, Overrides(), "tag Name"),
        ({"Name": "web"}, Overrides(), "tag Version"),
        (STATED, Overrides(name="web"), "name"),
        (STATED, Overrides(semantic_version="1.0"), "semanticVersion"),
        ({**STATED, "name": "other"}, Overrides(), "tags in another case"),
        ({**STATED, "VERSION": "9.0"}, Overrides(), "tags in another case"),
        ({**STATED, "osversion": "x"}, Overrides(), "tags in another case"),
        ({**STATED, "owner": "b"}, Overrides(), "tags in another case"),
        ({"name": "other", "Version": "1.0"}, Overrides(), "tags in another case, tag Name"),
        ({**STATED, "Name": "?"}, Overrides(), "tag Name"),
    ],
)
def test_only_tags_state_name_and_version(tags: dict[str, str], overrides: Overrides, problems: str | None) -> None:
    """With `namesFrom` `tags`, exact tags of the task state name and version, and nothing else does."""
    task = replace(TASK, tags=tags, description="described")
    if problems is None:
        request = derive(task, AMI, overrides, FROM_TAGS, token="t").request
        assert (request.name, request.semantic_version) == ("web", "1.0.0")
        return
    with pytest.raises(RejectedError) as caught:
        derive(task, AMI, overrides, FROM_TAGS, token="t")
    assert caught.value.problem == problems


def test_by_default_everything_may_state_name_and_version() -> None:
    """By default, tags in another case state nothing and harm nothing, and the file states name and version."""
    task = replace(TASK, tags={"name": "other", "VERSION": "9.0"})
    request = derive(task, AMI, Overrides(), Settings(), token="t").request
    assert (request.name, request.semantic_version) == ("web-server", "1.4.2")


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (Settings(), {"Team": "shop", "Cost": "7", "team": "x"}),
        (Settings(tags={"Team": "ops"}), {"Team": "ops", "Cost": "7"}),
        (Settings(image_tag_keys=["Cost"]), {"Cost": "7"}),
        (Settings(image_tag_keys=[]), {}),
        (Settings(image_tag_keys=["Team"], tags={"Team": "ops"}), {"Team": "ops"}),
        (Settings(image_tag_keys=["CreatedBy", "createdby"]), {}),
        (Settings(tags={"CreatedBy": "us"}, image_tag_keys=[]), {"CreatedBy": "us"}),
    ],
    ids=["all", "configured wins", "listed", "none", "both", "CreatedBy", "CreatedBy of the configuration"],
)
def test_the_tasks_tags_on_an_image(settings: Settings, given: dict[str, str]) -> None:
    """An image gets the listed tags of its task, unless they are configured in any case, and never `CreatedBy`."""
    tags = {"Team": "shop", "team": "x", "Cost": "7", "CreatedBy": "EC2 Image Builder", "createdby": "x"}
    made = derive(replace(TASK, tags=tags), AMI, Overrides(tags={"CREATEDBY": "x"}), settings, token="t").request.tags
    assert {key: value for key, value in made.items() if not key.startswith("vm-image-import:")} == given
