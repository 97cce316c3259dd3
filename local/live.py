"""`make local`: the local AWS, left running for the real command lines, with what happens in it shown as it happens.

A second here stands for a minute: an import takes ten of them, and the schedules fire every fifteen.
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
from local.aws.local_aws import ACCOUNT, Cloud

_SWEEP_EVERY: Final = 15


def main() -> None:
    """Run until Ctrl-C, which ends everything and leaves nothing."""
    parser = argparse.ArgumentParser(prog="make local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="any free one where it is 0")
    parser.add_argument("--pace", type=float, default=1, help="seconds of a step")
    arguments = parser.parse_args()
    # A terminal breaks lines by itself: what is printed is to be copied.
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        with Cloud(port=arguments.port) as cloud:
            console.print("An empty AWS runs here until Ctrl-C. Paste this into another terminal, in this folder:\n")
            for line in exports(cloud):
                console.print(line, style="bold")
            console.print("\nThen, for example: npx cdk bootstrap && npx cdk deploy. What happens is shown here:\n")
            _live(cloud, console, arguments.pace)
    except KeyboardInterrupt:
        console.print("Ended, and everything in it is gone.")


def exports(cloud: Cloud) -> Iterator[str]:
    """Yield the shell's lines after which the CDK and AWS command lines talk to `cloud` and to nothing else."""
    yield "unset AWS_PROFILE AWS_SESSION_TOKEN"
    for name, value in {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        # The CDK hands this URL of a template to CloudFormation, and moto looks into its own S3 only for AWS's.
        "AWS_ENDPOINT_URL_S3_FOR_CLOUDFORMATION": f"https://s3.{cloud.region}.amazonaws.com",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": cloud.region,
        "AWS_DEFAULT_REGION": cloud.region,
        "NO_PROXY": "127.0.0.1",
    }.items():
        yield f"export {name}={value}"
    # Version 1 of the AWS command line, as it is pinned here.
    yield 'export PATH="$PWD/.venv/bin:$PATH"'


def _live(cloud: Cloud, console: Console, pace: float) -> None:
    """Let time pass for ever, and print whatever changes."""
    seen: dict[str, str] = {}
    shown = 0
    for minute in count(1):
        time.sleep(pace)
        cloud.step()
        if minute % _SWEEP_EVERY == 0:
            cloud.sweep()
        now = dict(_states(cloud))
        for name, state in now.items():
            if seen.get(name) != state:
                console.print(f"{name}  {state}")
        seen = now
        runs = functions.invocations()
        for run in runs[shown:]:
            for line in _told(run):
                console.print(line, style="red" if run.result.error else "green")
        shown = len(runs)


def _states(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """Yield where every import and every image is."""
    for task in vm_import.backends[ACCOUNT][cloud.region].listed():
        answer = task.answer
        yield task.id, " ".join(filter(None, (answer["Status"], answer.get("StatusMessage"))))
    for image in image_builder.backends[ACCOUNT][cloud.region].listed():
        yield image.arn, " ".join(image.state.values())


def _told(run: Invocation) -> Iterator[str]:
    """Yield a line for each outcome of a run; a sweep that found nothing to do has none."""
    answer = json.loads(run.result.payload)
    if run.result.error:
        yield f"function  {answer.get('errorType')}  {answer.get('errorMessage')}"
        return
    for outcome in answer.get("results", [answer]):
        parts = (outcome.get(key) for key in ("outcome", "importTaskId", "imageArn", "reason"))
        yield "  ".join(("function", *filter(None, parts)))


if __name__ == "__main__":
    main()
