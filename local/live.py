"""`make local`: the local AWS for the CDK and AWS command lines; prints what changes in it."""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Final

from rich.console import Console

from local.aws import functions, image_builder, vm_import
from local.aws.functions import Invocation
from local.aws.local_aws import ACCOUNT, LocalAws
from local.aws.switches import NAMES, Switches

_BUILD: Final = Path(__file__).resolve().parent.parent / ".build"
_RULES: Final = """
For example: npx --no -- cdk bootstrap && npx --no -- cdk deploy
What it emulates, and how to provoke trouble: docs/local.md
- A second is a minute: an import takes ten, the sweep runs as often as `sweepMinutes` says.
- Any file is a disk. Its S3 metadata makes an import or its image fail:
  aws s3 cp web-1.4.2.ova s3://my-bucket/ --metadata status-message='ClientError: Unsupported kernel version'
  aws s3 cp web-1.4.2.ova s3://my-bucket/ --metadata image-reason='The image cannot be distributed.'
Changes are printed here:
"""


def main() -> int:
    """Run until Ctrl-C and return the exit status."""
    parser = argparse.ArgumentParser(prog="make local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is any free port")
    parser.add_argument("--pace", type=float, default=1, help="seconds of a step, which is a minute")
    parser.add_argument("--switch", action="append", default=[], choices=NAMES, help="see docs/verify-on-aws.md")
    arguments = parser.parse_args()
    switched = Switches(**dict.fromkeys(arguments.switch, True))
    # No line breaks of its own: the lines can be copied.
    console = Console(soft_wrap=True, highlight=False, markup=False)
    with ExitStack() as stack:
        _BUILD.mkdir(exist_ok=True)
        # Not in a shared folder, in which others can make it again when it was deleted.
        tools = stack.enter_context(tempfile.TemporaryDirectory(prefix="local-", dir=_BUILD))
        try:
            aws = stack.enter_context(LocalAws(port=arguments.port, switched=switched))
        except (OSError, OverflowError) as error:
            console.print(f"Port {arguments.port} cannot be used ({error}). Use another one: make local PORT=4600")
            return 1
        console.print(f"An empty AWS runs here until Ctrl-C, in every Region; the commands use {aws.region}.")
        if arguments.switch:
            console.print(f"Switched: {', '.join(arguments.switch)}.")
        console.print("Paste this into another terminal, in this folder:\n")
        for line in shell_exports(aws, Path(tools)):
            console.print(line, style="bold")
        console.print(_RULES)
        with suppress(KeyboardInterrupt):
            _run(aws, console, arguments.pace)
    console.print("The local AWS has ended. Its resources are deleted.")
    return 0


def shell_exports(aws: LocalAws, tools: Path) -> Iterator[str]:
    """Yield the shell commands after which the CDK and AWS command lines use `aws` only.

    The AWS command line, version 1, that `make setup` installs, gets a script in the folder `tools`: its own script
    does not run in a path with a space, and it takes no notice of AWS_ENDPOINT_URL for SQS.
    """
    script = tools / "aws"
    arguments = [sys.executable, "-P", "-m", "awscli", "--endpoint-url", aws.endpoint_url]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(arguments)} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    # Endpoints of single services come before that of all.
    services = r"$(env | sed -n 's/^\(AWS_ENDPOINT_URL_[A-Z0-9_]*\)=.*/\1/p')"
    yield f"unset AWS_PROFILE AWS_SESSION_TOKEN AWS_IGNORE_CONFIGURED_ENDPOINT_URLS {services}"
    for name, value in {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        # The CDK gives CloudFormation a URL of the template, and moto reads only those of AWS from its own S3.
        "AWS_ENDPOINT_URL_S3_FOR_CLOUDFORMATION": f"https://s3.{aws.region}.amazonaws.com",
        "AWS_ACCESS_KEY_ID": aws.access_key,
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": aws.region,
        "AWS_DEFAULT_REGION": aws.region,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        yield f"export {name}={value}"
    yield f'export PATH="{tools}:$PATH"'


def _run(aws: LocalAws, console: Console, pace: float) -> None:
    """Advance without end, and print every change and every run."""
    states: dict[str, str] = {}
    printed_runs = 0
    # A sweep has the same results until somebody does something about them.
    swept: set[str] = set()
    for step in count(1):
        time.sleep(pace)
        aws.advance()
        aws.fire_schedules(minute=step)
        previous, states = states, dict(_states())
        for name, state in states.items():
            if previous.get(name) != state:
                console.print(f"{name}  {state}")
        runs = functions.invocations()
        for run in runs[printed_runs:]:
            lines = [*_result_lines(run)]
            is_sweep = b"results" in run.result.payload
            for line in [line for line in lines if not (is_sweep and line in swept)]:
                console.print(line, style="red" if run.result.error else "green")
            swept.update(lines)
        printed_runs = len(runs)


def _states() -> Iterator[tuple[str, str]]:
    """Yield the id and the state of every import, and the ARN and the state of every image."""
    for imports in [*vm_import.backends[ACCOUNT].values()]:
        for task in imports.listed_tasks():
            yield task.id, " ".join(filter(None, (task.answer["Status"], task.answer.get("StatusMessage"))))
    for images in [*image_builder.backends[ACCOUNT].values()]:
        for image in images.builds():
            yield image.arn, " ".join(image.state.values())


def _result_lines(run: Invocation) -> Iterator[str]:
    """Yield a line for the error, or for each result of a run; a sweep can have no results."""
    answer = json.loads(run.result.payload)
    if run.result.error:
        yield f"function  {answer.get('errorType')}  {answer.get('errorMessage')}"
        return
    if not isinstance(answer, dict):
        yield f"function  {answer}"
        return
    for result in answer.get("results", [answer]):
        values = (result.get(key) for key in ("outcome", "importTaskId", "imageArn", "reason"))
        yield "  ".join(("function", *filter(None, values)))


if __name__ == "__main__":
    sys.exit(main())
