"""`make local`: the local AWS for the CDK and AWS command lines; prints what changes in it.

One second here is one minute: an import takes ten, and the schedules fire every fifteen.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import count
from typing import Final

from rich.console import Console

from local.aws import functions, image_builder, vm_import
from local.aws.functions import Invocation
from local.aws.local_aws import ACCOUNT, LocalAws

_SCHEDULE_STEPS: Final = 15


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is any free port")
    parser.add_argument("--pace", type=float, default=1, help="seconds of a step")
    arguments = parser.parse_args()
    # No line breaks of its own: the lines can be copied.
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        with LocalAws(port=arguments.port) as aws:
            console.print("An empty AWS runs here until Ctrl-C. Paste this into another terminal, in this folder:\n")
            for line in shell_exports(aws):
                console.print(line, style="bold")
            console.print("\nThen, for example: npx cdk bootstrap && npx cdk deploy. Changes are printed here:\n")
            _run(aws, console, arguments.pace)
    except KeyboardInterrupt:
        console.print("The local AWS has ended. Its resources are deleted.")


def shell_exports(aws: LocalAws) -> Iterator[str]:
    """Yield the shell commands after which the CDK and AWS command lines use `aws` only."""
    yield "unset AWS_PROFILE AWS_SESSION_TOKEN"
    for name, value in {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        # The CDK gives CloudFormation a URL of the template, and moto reads only those of AWS from its own S3.
        "AWS_ENDPOINT_URL_S3_FOR_CLOUDFORMATION": f"https://s3.{aws.region}.amazonaws.com",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": aws.region,
        "AWS_DEFAULT_REGION": aws.region,
        "NO_PROXY": "127.0.0.1",
    }.items():
        yield f"export {name}={value}"
    # The AWS command line, version 1, that `make setup` installs.
    yield 'export PATH="$PWD/.venv/bin:$PATH"'


def _run(aws: LocalAws, console: Console, pace: float) -> None:
    """Advance without end, and print every change and every run."""
    states: dict[str, str] = {}
    printed_runs = 0
    for step in count(1):
        time.sleep(pace)
        aws.advance()
        if step % _SCHEDULE_STEPS == 0:
            aws.fire_schedules()
        previous, states = states, dict(_states(aws))
        for name, state in states.items():
            if previous.get(name) != state:
                console.print(f"{name}  {state}")
        runs = functions.invocations()
        for run in runs[printed_runs:]:
            for line in _result_lines(run):
                console.print(line, style="red" if run.result.error else "green")
        printed_runs = len(runs)


def _states(aws: LocalAws) -> Iterator[tuple[str, str]]:
    """Yield the id and the state of every import, and the ARN and the state of every image."""
    for task in vm_import.backends[ACCOUNT][aws.region].listed_tasks():
        yield task.id, " ".join(filter(None, (task.answer["Status"], task.answer.get("StatusMessage"))))
    for image in image_builder.backends[ACCOUNT][aws.region].builds():
        yield image.arn, " ".join(image.state.values())


def _result_lines(run: Invocation) -> Iterator[str]:
    """Yield a line for the error, or for each result of a run; a sweep can have no results."""
    answer = json.loads(run.result.payload)
    if run.result.error:
        yield f"function  {answer.get('errorType')}  {answer.get('errorMessage')}"
        return
    for result in answer.get("results", [answer]):
        values = (result.get(key) for key in ("outcome", "importTaskId", "imageArn", "reason"))
        yield "  ".join(("function", *filter(None, values)))


if __name__ == "__main__":
    main()
