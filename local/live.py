"""`make local`: the local AWS for the CDK and AWS command lines; prints what changes in it."""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Final

from rich.console import Console

from local.aws import functions, image_builder, vm_import
from local.aws.functions import Invocation
from local.aws.lifecycle import Action
from local.aws.local_aws import ACCOUNT, LocalAws, PublishedMessage
from local.aws.switches import NAMES, Switches
from local.prose import make_console, print_prose

_BUILD: Final = Path(__file__).resolve().parent.parent / ".build"
_RULES: Final = """\
For example: npx --no -- cdk bootstrap && npx --no -- cdk deploy
What it plays, and how to provoke trouble: docs/local.md
A second is a minute: an import takes ten, and the sweep runs as often as `sweepMinutes` says.
Any file is a disk. Its S3 metadata makes an import or its image fail:"""
_COUNTED: Final = (10, 100, 1000, 10_000)
"""How often a line has come when it is printed again, with its number."""
_FAILING: Final = (
    "aws s3 cp web-1.4.2.ova s3://my-bucket/ --metadata status-message='ClientError: Unsupported kernel version'",
    "aws s3 cp web-1.4.2.ova s3://my-bucket/ --metadata image-reason='The image cannot be distributed.'",
)


def main() -> int:
    """Run until Ctrl-C and return the exit status."""
    parser = argparse.ArgumentParser(prog="make local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is any free port")
    parser.add_argument("--pace", type=float, default=1, help="seconds of a step, which is a minute")
    parser.add_argument("--switch", action="append", default=[], choices=NAMES, help="see docs/verify-on-aws.md")
    arguments = parser.parse_args()
    switched = Switches(**dict.fromkeys(arguments.switch, True))
    console = make_console()
    with ExitStack() as stack:
        _BUILD.mkdir(exist_ok=True)
        # Not in a shared folder, in which others can make it again when it was deleted.
        tools = stack.enter_context(tempfile.TemporaryDirectory(prefix="local-", dir=_BUILD))
        try:
            aws = stack.enter_context(LocalAws(port=arguments.port, switched=switched))
        except (OSError, OverflowError) as error:
            print_prose(
                console, f"Port {arguments.port} cannot be used ({error}). Use another one: make local PORT=4600"
            )
            return 1
        print_prose(console, f"An empty AWS runs here until Ctrl-C, in every Region; the commands use {aws.region}.")
        if arguments.switch:
            console.print(f"Switched: {', '.join(arguments.switch)}.")
        console.print("Paste this into another terminal, in this folder:\n")
        # Without line breaks: to be copied.
        for line in shell_exports(aws, Path(tools)):
            console.print(line, style="bold", soft_wrap=True)
        console.print()
        print_prose(console, _RULES)
        for line in _FAILING:
            console.print(line, style="bold", soft_wrap=True)
        console.print("Changes are printed here:\n")
        with suppress(KeyboardInterrupt):
            _run(aws, Printer(console), arguments.pace)
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
        # The CDK command line warns of a Node on which a later version of it will not run.
        "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        yield f"export {name}={value}"
    yield f'export PATH="{tools}:$PATH"'


class Printer:
    """Prints what changes in the local AWS. What comes again and again is counted."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, str] = {}
        self._runs = 0
        self._published = 0
        self._times: Counter[str] = Counter()

    def print_changes(
        self, states: Mapping[str, str], runs: Sequence[Invocation], published: Sequence[PublishedMessage]
    ) -> None:
        """Print the states, runs and notifications that are new."""
        for name, state in states.items():
            if self._states.get(name) != state:
                self._print(f"{name}  {state}")
        self._states = {**states}
        for run in runs[self._runs :]:
            self._print_run(run)
        self._runs = len(runs)
        for message in published[self._published :]:
            self._print(f"notification  {message.subject}", style="cyan")
            print_prose(self._console, message.texts["email"], indent="  ", style="dim")
        self._published = len(published)

    def print_actions(self, actions: Iterable[Action]) -> None:
        """Print what lifecycle policies did."""
        for action in actions:
            self._print("  ".join(("lifecycle policy", *filter(None, action))), style="yellow")

    def _print_run(self, run: Invocation) -> None:
        # A sweep has the same results, and a broken function the same error, until the user does something about it.
        repeats = run.result.error or b'"SWEPT"' in run.result.payload
        for line in _result_lines(run):
            self._times[line] += 1
            times = self._times[line]
            if not repeats or times == 1:
                self._print(line, style=_style(run, line))
            elif times in _COUNTED:
                self._print(f"{line}  (for the {times}th time)", style=_style(run, line))

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(line, style=style, soft_wrap=True)


def _style(run: Invocation, line: str) -> str:
    if run.result.error:
        return "red"
    return "yellow" if "  IGNORED  " in line else "green"


def _run(aws: LocalAws, printer: Printer, pace: float) -> None:
    """Advance without end, and print every change and every run."""
    for step in count(1):
        time.sleep(pace)
        aws.advance()
        aws.fire_schedules(minute=step)
        printer.print_changes(dict(_states()), functions.invocations(), aws.published_messages())
        # So that what is tagged for its deletion goes soon, a day of the policies is a step.
        printer.print_actions(aws.run_lifecycle_policies(day=timedelta(seconds=pace)))


def _states() -> Iterator[tuple[str, str]]:
    """Yield the id and the state of every import, and the ARN and the state of every image."""
    for imports in [*vm_import.backends[ACCOUNT].values()]:
        for task in imports.listed_tasks():
            yield task.id, " ".join(filter(None, (task.answer["Status"], task.answer.get("StatusMessage"))))
    for images in [*image_builder.backends[ACCOUNT].values()]:
        for image in images.builds():
            yield image.arn, " ".join(image.state.values())


def _result_lines(run: Invocation) -> Iterator[str]:
    """Yield a line for the error, or for each result and problem of a run; a sweep can have none."""
    answer = json.loads(run.result.payload)
    if run.result.error:
        yield f"function  {answer.get('errorType')}  {answer.get('errorMessage')}"
        return
    if not isinstance(answer, dict):
        yield f"function  {answer}"
        return
    for result in answer.get("results", [answer]):
        request = result.get("request", {})
        wanted = "/".join(filter(None, (request.get("name"), request.get("semanticVersion"))))
        values = (
            result.get("outcome"),
            result.get("importTaskId"),
            result.get("imageArn") or wanted,
            result.get("reason"),
        )
        yield "  ".join(("function", *filter(None, values)))
    for problem in answer.get("problems", ()):
        yield f"function  {problem}"


if __name__ == "__main__":
    sys.exit(main())
