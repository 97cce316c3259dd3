"""Imports whose every text is hostile, made from a seed. `HOSTILE=20000` tries more of them."""

import io
import json
import os
import random
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.unit.fakes import AMI, AVAILABLE, TASK_ID, InMemoryAws
from vm_image_import.aws.ec2 import parse_import_task
from vm_image_import.derive import names
from vm_image_import.domain.text import visible
from vm_image_import.report import log
from vm_image_import.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

HOW_MANY: Final = int(os.environ.get("HOSTILE") or 500)
BATCH: Final = 250
SECRET: Final = "s3cr3t"  # noqa: S105 - it is looked for
TEXTS: Final = (
    *(
        "web",
        "Web Server",
        "w\u0435b",
        "\uff57eb",
        "web@server",
        "\u202ebew",
        "a\u200bb",
        "\x1b]0;x\x07",
        "\n\nImage: x",
    ),
    *(
        "<!channel>",
        "[Approve](https://evil.example)",
        "`x`",
        "\U000e0041",
        "\u0663.\u0664.\u0665",
        "%s{}{0}",
        "é" * 99,
    ),
    *("1.4.2", "1073741823.0.0", "99999999999.0", "2026-02-30", "latest", "", " ", "?", "../..", "\\", '"', "ﷺ" * 40),
)
KEYS: Final = ("Name", "Version", "OsVersion", "name", "VERSION", "Team", "CreatedBy", "a\u202eb", "k" * 128)
ADDRESSES: Final = (
    f"https://user:{SECRET}@h.example/web-1.4.2.ova",
    f"https://h.example/web-1.4.2.ova?X-Amz-Signature={SECRET}",
    f"https://h.example/web-1.4.2.ova#{SECRET}",
    f"https://user:{SECRET}/{SECRET}@h.example/web.ova?a={SECRET}",
    "https://h.example/web.ova",
)
SETTINGS: Final = (
    Settings(),
    Settings(version_scheme="timestamp", tags={"Team": "a"}, image_tag_keys=["Cost"]),
    Settings(allowed_names=["web*"], immutable_versions=True, tag_amis=True, parameter_prefix="/p"),
    Settings(names_from="tags"),
    Settings(observe=True),
)


def text(chance: random.Random) -> str:
    """Return up to three hostile texts one behind the other."""
    return "".join(chance.choice(TEXTS) for _ in range(chance.randint(1, 3)))


def task(chance: random.Random) -> Any:  # noqa: ANN401 - an answer of EC2
    """Return an import task as EC2 describes it."""
    address = chance.choice(ADDRESSES)
    disk = chance.choice(
        (
            {"Url": address},
            {"UserBucket": {"S3Bucket": "b", "S3Key": f"exports/{text(chance)}.ova"}},
            {"UserBucket": {"S3Bucket": "b", "S3Key": f"web.ova?X-Amz-Signature={SECRET}"}},
        )
    )
    failed = chance.random() < 0.3
    return {
        "ImportTaskId": TASK_ID,
        "Status": "deleted" if failed else "completed",
        "StatusMessage": f"ClientError: {text(chance)} {address} {text(chance)}",
        "ImageId": "" if failed else AMI.id,
        "Description": text(chance),
        "SnapshotDetails": [disk],
        "Tags": [{"Key": key, "Value": text(chance)} for key in chance.sample(KEYS, chance.randint(0, 5))],
    }


def keys_of(value: object) -> Iterator[str]:
    """Yield the keys of all objects in a value."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from keys_of(each)
    if isinstance(value, list):
        for each in value:
            yield from keys_of(each)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.acceptance) for seed in range(1, HOW_MANY // BATCH))]
)
def test_nothing_of_others_is_where_it_must_not_be(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an import states, names and subjects are plain, all text shows what it is, and no secret is in any."""
    chance, lines = random.Random(seed), io.StringIO()  # noqa: S311 - repeatable, not secret
    monkeypatch.setattr(log.logger.registered_handler, "stream", lines)
    for _ in range(BATCH):
        status = chance.choice(("AVAILABLE", "FAILED"))
        aws = InMemoryAws(parse_import_task(task(chance)), AMI, chance.choice(SETTINGS))
        aws.image = AVAILABLE._replace(status=status, reason=text(chance))
        aws.on_event()
        aws.sweep()
        log.metrics.clear_metrics()
        for request in aws.requests:
            assert re.fullmatch(r"[-_A-Za-z0-9 ]{3,128}", request.name)
            assert re.fullmatch(r"[-a-z0-9]{3,128}", names.arn_name(request.name))
            assert re.fullmatch(r"\d+\.\d+\.\d+", request.semantic_version, re.ASCII)
            assert SECRET not in repr(request)
        for sent in aws.published:
            assert re.fullmatch(r"[ -~]{1,99}", sent.subject)
            forms = json.loads(sent.raw)
            chat = json.loads(forms["https"])["content"]
            for shown in (*forms["email"].splitlines(), chat["title"], *chat["description"].splitlines()):
                assert visible(shown) == shown
            assert SECRET not in sent.raw
    written = lines.getvalue()
    assert SECRET not in written
    for line in written.splitlines():
        assert visible(line) == line
        assert all(re.fullmatch(r"[A-Za-z_.]+", key) for key in keys_of(json.loads(line))), line
