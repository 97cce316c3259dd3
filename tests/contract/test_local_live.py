"""`make local`: what it prints."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from local import live
from local.aws.local_aws import LocalAws

if TYPE_CHECKING:
    from local.aws.functions import Invocation


def test_no_setting_of_the_terminal_leads_elsewhere(empty_aws: LocalAws, tmp_path: Path) -> None:
    """After the printed commands, no profile and no endpoint of a single service is set, and endpoints are used."""
    before = {
        "PATH": "/usr/bin:/bin",
        "AWS_PROFILE": "work",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_ENDPOINT_URL_SQS": "https://elsewhere.example",
        "AWS_ENDPOINT_URL_S3": "https://elsewhere.example",
    }
    script = "\n".join((*live.shell_exports(empty_aws, tmp_path), "env"))
    run = subprocess.run(["/bin/sh", "-euc", script], env=before, capture_output=True, text=True, check=True)
    after = dict(line.partition("=")[::2] for line in run.stdout.splitlines())
    assert {name for name in after if name.startswith("AWS_ENDPOINT_URL")} == {
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3_FOR_CLOUDFORMATION",
    }
    assert not {"AWS_PROFILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"} & after.keys()
    assert after["PATH"].startswith(f"{tmp_path}:")


@pytest.mark.parametrize("answer", [None, 1, "text", [], {"outcome": "IGNORED"}, {"results": []}])
def test_any_answer_of_a_function_is_printed(answer: Any) -> None:  # noqa: ANN401 - any JSON
    """A function of the user's own may answer anything."""
    result = SimpleNamespace(payload=json.dumps(answer).encode(), error=None)
    lines = [*live._result_lines(cast("Invocation", SimpleNamespace(result=result)))]  # noqa: SLF001
    assert all(line.startswith("function  ") for line in lines)
    assert len(lines) == (answer != {"results": []})
