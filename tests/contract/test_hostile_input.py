"""Hostile events and payloads at the function's entry, made from a seed. `HOSTILE=25000` tries more of them."""

import copy
import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.conftest import ROOT
from tests.contract.test_handler import CONTEXT
from tests.unit.fakes import AMI, TASK, InMemoryAws
from vm_image_import.domain import errors
from vm_image_import.handler import invoke
from vm_image_import.report import log

# The function ignores it, too; pytest sets the filters anew for each test.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

HOW_MANY: Final = int(os.environ.get("HOSTILE") or 500)
BATCH: Final = 100
FILES: Final = [path for folder in ("events", "payloads") for path in sorted((ROOT / "tests" / folder).glob("*.json"))]
EXAMPLES: Final = [
    *(json.loads(path.read_text(encoding="utf-8")) for path in FILES),
    {"action": "sweep"},
    {"action": "sweep", "dryRun": True},
    {"importTaskId": TASK.id, "tags": {"Team": "web"}, "semanticVersion": "1.4.2", "platform": "Linux", "force": True},
]
TEXTS: Final = (
    *("", " ", "\n", "\x00", "\u202e", "\ud800", "\ud83d\ude00", "a" * 70_000, "é" * 300, "import-ami-*", "ami-*"),
    *(TASK.id, f"{TASK.id}\n", AMI.id, "x.x.x", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "NaN"),
    *("arn:aws:imagebuilder:us-east-1:123456789012:image/web/x.x.x", "%s{}{0}$HOME", "../../etc/passwd", "1" * 5_000),
    *(
        "1.4.2",
        "2026-02-30",
        "99999999999.0.0",
        "\u0663.\u0664.\u0665",
        "aws:tag",
        "vm-image-import:task-id",
        "null",
        "[]",
        "{}",
    ),
)
KEYS: Final = (
    *("detail-type", "source", "detail", "resources", "time", "ImageId", "importTaskId", "action", "dryRun", "force"),
    *("name", "semanticVersion", "tags", "platform", "osVersion", "description", "account", "region", "__proto__"),
)


def value(chance: random.Random, depth: int = 0) -> object:
    """Return a JSON value of any kind."""
    kinds = ("text", "number", "constant") if depth > 3 else ("text", "number", "constant", "list", "object", "object")
    kind = chance.choice(kinds)
    if kind == "text":
        return chance.choice(TEXTS)
    if kind == "number":
        return chance.choice((0, -1, 1.5, 1e308, 2**63, 10**400, float("inf"), float("nan")))
    if kind == "constant":
        return chance.choice((None, True, False))
    if kind == "list":
        return [value(chance, depth + 1) for _ in range(chance.choice((0, 1, 2, 50)))]
    return {chance.choice((*KEYS, *TEXTS)): value(chance, depth + 1) for _ in range(chance.choice((0, 1, 3, 60)))}


def changed(chance: random.Random, example: Any) -> object:  # noqa: ANN401 - any JSON
    """Return an example with some of its parts replaced, added or removed."""
    event = copy.deepcopy(example)
    for _ in range(chance.randint(1, 4)):
        place = event
        while isinstance(place, dict) and place and chance.random() < 0.5:
            deeper = place[chance.choice([*place])]
            if not isinstance(deeper, dict):
                break
            place = deeper
        if chance.random() < 0.2 and place:
            place.pop(chance.choice([*place]))
        else:
            key = chance.choice([*place, *KEYS]) if chance.random() < 0.8 else chance.choice(TEXTS)
            place[key] = value(chance)
    return event


def inputs(seed: int) -> Iterator[object]:
    """Yield one batch of hostile inputs."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    for _ in range(BATCH):
        yield value(chance) if chance.random() < 0.3 else changed(chance, chance.choice(EXAMPLES))


def handle(event: object) -> str:
    """Return the answer, or the text of an error of the contract; raise any other error."""
    try:
        return json.dumps(invoke(event, CONTEXT, InMemoryAws(TASK, AMI).clients()))
    except (errors.InvalidTriggerError, errors.TransientError) as error:
        return str(error)
    finally:
        log.metrics.clear_metrics()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.acceptance) for seed in range(1, HOW_MANY // BATCH))]
)
def test_hostile_input_is_refused_or_answered(seed: int) -> None:
    """Any input is answered in JSON or refused with an error of the contract, in less than a second of CPU time."""
    for event in inputs(seed):
        began = time.thread_time()
        text = handle(event)
        assert time.thread_time() - began < 1, str(event)[:200]
        assert text.encode()
        assert len(text) < 200_000
