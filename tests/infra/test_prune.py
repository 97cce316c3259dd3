"""The pruning of a small model. tests/contract/test_pruned.py has that of botocore's own."""

import gzip
import json
from pathlib import Path
from typing import Any, Final

import pytest

from infra.prune import UnknownOperationError, prune

MODEL: Final[dict[str, dict[str, Any]]] = {
    "metadata": {"endpointPrefix": "fruit"},
    "operations": {
        "Pick": {
            "name": "Pick",
            "documentation": "<p>Picks.</p>",
            "input": {"shape": "PickRequest"},
            "output": {"shape": "Basket"},
            "errors": [{"shape": "Rotten"}],
        },
        "Eat": {"name": "Eat", "input": {"shape": "Mouth"}},
    },
    "shapes": {
        "PickRequest": {
            "type": "structure",
            # Members may be called like the model's own words.
            "members": {"shape": {"shape": "Form"}, "documentation": {"shape": "Text"}, "left": {"shape": "Basket"}},
        },
        "Basket": {"type": "list", "member": {"shape": "Basket"}},
        "Form": {"type": "string", "enum": ["round"], "documentation": "<p>Form.</p>"},
        "Text": {"type": "string"},
        "Rotten": {"type": "structure", "members": {}, "exception": True},
        "Wasp": {"type": "structure", "members": {}, "exception": True},
        "Mouth": {"type": "structure", "members": {"text": {"shape": "Text"}}},
    },
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a folder like botocore's, with two services, one of them in two API versions."""
    for service, version in (("fruit", "2020-01-01"), ("fruit", "2024-01-01"), ("stone", "2020-01-01")):
        folder = tmp_path / service / version
        folder.mkdir(parents=True)
        (folder / "service-2.json.gz").write_bytes(gzip.compress(json.dumps(MODEL).encode()))
        (folder / "endpoint-rule-set-1.json.gz").write_bytes(gzip.compress(b'{"rules":[]}'))
        write(folder / "paginators-1.json", {"pagination": {"Pick": {}, "Eat": {}}})
        write(folder / "paginators-1.sdk-extras.json", {"merge": {"pagination": {"Eat": {}}}})
        write(folder / "waiters-2.json", {"waiters": {}})
        write(folder / "examples-1.json", {"examples": {}})
    partition = {"regions": {"fruit-1": {}, "fruit-2": {}}, "services": {"fruit": {"endpoints": {}}, "stone": {}}}
    write(tmp_path / "endpoints.json", {"partitions": [partition]})
    write(tmp_path / "partitions.json", {"partitions": ["all"]})
    return tmp_path


def write(path: Path, content: object) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")


def read(path: Path) -> Any:  # noqa: ANN401 - JSON
    """Read JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def test_an_operation_keeps_all_that_it_reaches(data: Path) -> None:
    """An operation keeps its shapes and errors and those of its service, without documentation."""
    prune(data, {"fruit": frozenset({"Pick"})})
    model = read(data / "fruit/2024-01-01/service-2.json")
    operation = {key: value for key, value in MODEL["operations"]["Pick"].items() if key != "documentation"}
    shapes = {name: shape for name, shape in MODEL["shapes"].items() if name != "Mouth"}
    assert model == {
        "metadata": MODEL["metadata"],
        "operations": {"Pick": operation},
        "shapes": {**shapes, "Form": {"type": "string", "enum": ["round"]}},
    }


def test_files_are_kept_reduced_or_dropped(data: Path) -> None:
    """The newest API version of the used services is kept, and the files of no service are unchanged."""
    prune(data, {"fruit": frozenset({"Pick"})})
    assert {path.relative_to(data).as_posix() for path in data.rglob("*.*") if path.is_file()} == {
        "endpoints.json",
        "partitions.json",
        "fruit/2024-01-01/service-2.json",
        "fruit/2024-01-01/endpoint-rule-set-1.json",
        "fruit/2024-01-01/paginators-1.json",
        "fruit/2024-01-01/paginators-1.sdk-extras.json",
    }
    newest = data / "fruit/2024-01-01"
    assert read(newest / "endpoint-rule-set-1.json") == {"rules": []}
    assert read(newest / "paginators-1.json") == {"pagination": {"Pick": {}}}
    assert read(newest / "paginators-1.sdk-extras.json") == {"merge": {"pagination": {}}}
    (partition,) = read(data / "endpoints.json")["partitions"]
    assert (list(partition["services"]), list(partition["regions"])) == (["fruit"], ["fruit-1", "fruit-2"])
    assert read(data / "partitions.json") == {"partitions": ["all"]}


def test_what_botocore_does_not_know_stops_the_build(data: Path) -> None:
    """Unknown operations and services are named all at once, and nothing is changed."""
    before = sorted(data.rglob("*"))
    with pytest.raises(UnknownOperationError) as caught:
        prune(data, {"fruit": frozenset({"Pick", "Pikc"}), "vegetable": frozenset({"Pull"})})
    assert str(caught.value) == "botocore does not know fruit:Pikc, vegetable:Pull."
    assert sorted(data.rglob("*")) == before
