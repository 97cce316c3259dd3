"""`make verify`: proves a deployment in the caller's account, with one import, and removes what it made."""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import boto3
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Column, Table

from local.verify import doctor
from local.verify.account import ERRORS, Account, VerifyError, explain, redacted
from local.verify.cleanup import Cleanup, interruptible, uninterrupted
from local.verify.deployment import Deployment, find
from local.verify.imports import Wait
from local.verify.report import Report, Row, assumption_rows
from local.verify.run import Verification

_PLAN: Final = """\
This imports {disk} ({megabytes:.0f} MB) in {region}, account {account}, to verify the stack {stack}.

- It takes 40 to 90 minutes, most of it EC2's import, and 16 minutes to see what AWS still remembers.
- It costs less than 0.10 USD for a disk of 10 GB: the upload, an hour of one snapshot, some requests.
- It makes three import tasks, an AMI with its snapshots, two or three images, a queue, a rule and a subscription, and
  sets one alarm. Their names begin with {name}. It removes them at the end, also after Ctrl-C.
- The subscribers of the topic get two notifications, and one alarm that is over at once.
- A record of the import stays in the table for 60 days: without it, the import would be registered again.
"""
_WIDTH: Final = 200
_RIGHTS: Final = (
    *("cloudwatch:SetAlarmState", "dynamodb:BatchGetItem", "ec2:CancelImportTask", "ec2:CreateTags"),
    *("ec2:DeleteSnapshot", "ec2:DeregisterImage", "ec2:DescribeImages", "ec2:DescribeImportImageTasks"),
    *("ec2:DescribeTags", "ec2:ImportImage", "events:DeleteRule", "events:PutRule", "events:PutTargets"),
    *("events:RemoveTargets", "imagebuilder:DeleteImage", "imagebuilder:GetImage", "imagebuilder:ImportVmImage"),
    *("imagebuilder:ListImageBuildVersions", "imagebuilder:TagResource", "logs:FilterLogEvents", "s3:DeleteObject"),
    *("s3:PutObject", "sns:ListSubscriptionsByTopic", "sns:Subscribe", "sns:Unsubscribe", "sqs:CreateQueue"),
    *("sqs:DeleteMessage", "sqs:DeleteQueue", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "ssm:DeleteParameter"),
)


def main(
    arguments: Sequence[str] | None = None,
    *,
    session: boto3.Session | None = None,
    wait: Wait = time.sleep,
    ask: Callable[[str], str] = input,
) -> int:
    """Run it and return the exit status: 1 where something is wrong with the deployment, or is left in the account."""
    parser = argparse.ArgumentParser(prog="make verify", description=__doc__)
    parser.add_argument("--check", default="", choices=["", "deployment"], help="`deployment` imports nothing")
    parser.add_argument("--stack", default="", help="the name of the stack")
    parser.add_argument("--disk", default="", help="the file of a small VM that EC2 can import")
    parser.add_argument("--bucket", default="", help="a bucket in the Region that the role vmimport may read")
    parser.add_argument("--yes", default="", help="do not ask")
    given = parser.parse_args(arguments)
    # What is kept in a file can be wide.
    width = None if sys.stdout.isatty() else _WIDTH
    console = Console(highlight=False, markup=False, soft_wrap=True, width=width)
    try:
        with interruptible():
            account = Account(session or boto3.Session())
            deployment = find(account, given.stack)
            if given.check:
                return _examine(account, deployment, console)
            disk = _check(account, deployment, given.disk, given.bucket, console)
            run, cleanup = secrets.token_hex(3), Cleanup()
            verification = Verification(account, deployment, disk, given.bucket, run, wait, console, cleanup)
            plan = _PLAN.format(
                disk=disk.name,
                megabytes=disk.stat().st_size / 1e6,
                region=account.region,
                account=account.id,
                stack=deployment.stack,
                name=verification.name,
            )
            console.print(plan)
            if not given.yes and ask("Continue? [y/N] ").strip().lower() not in {"y", "yes"}:
                console.print("Nothing was done.")
                return 1
            return _verify(verification, console)
    except ERRORS as error:
        console.print(explain(error), style="red")
    except KeyboardInterrupt:
        console.print("Interrupted.")
    return 1


def _check(account: Account, deployment: Deployment, disk: str, bucket: str, console: Console) -> Path:
    """Return the disk. Raises VerifyError where something that is needed is missing; nothing was made yet."""
    if not disk or not bucket:
        message = "Write make verify DISK=my-vm-1.0.ova BUCKET=my-bucket, or make verify CHECK=deployment"
        raise VerifyError(message)
    path = Path(disk)
    problems = [*_problems(account, deployment, path, bucket)]
    if problems:
        raise VerifyError("\n".join(problems))
    lacking = _lacking_rights(account)
    if lacking is None:
        console.print("Whether the credentials have all rights cannot be checked beforehand.")
    elif lacking:
        # No error: a policy can allow an action for some resources, and IAM was asked about all.
        console.print(f"The credentials may lack rights: {', '.join(lacking)}", style="yellow")
    return path


def _problems(account: Account, deployment: Deployment, disk: Path, bucket: str) -> Iterator[str]:
    if not disk.is_file():
        yield f"There is no file {disk}."
    if deployment.settings.observe:
        yield "The deployment observes, and registers nothing: deploy it without `observe`."
    allowed = deployment.settings.allowed_names
    if allowed and not any("*" in pattern for pattern in allowed):
        yield "`allowedNames` has no pattern for the image of a test: add vm-image-import-verify-*."
    iam, s3 = account.client("iam"), account.client("s3")
    try:
        iam.get_role(RoleName="vmimport")
    except iam.exceptions.NoSuchEntityException:
        url = "https://docs.aws.amazon.com/vm-import/latest/userguide/required-permissions.html"
        yield f"The role vmimport does not exist, without which EC2 imports nothing: {url}"
    try:
        # A bucket without a location is in us-east-1 (API reference, GetBucketLocation).
        location = s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] or "us-east-1"
    except ClientError as error:
        yield f"The bucket {bucket} cannot be used: {error}"
    else:
        if location != account.region:
            yield f"The bucket {bucket} is in {location}, not in {account.region}."


def _lacking_rights(account: Account) -> list[str] | None:
    """Return the actions that the caller's policies do not allow for every resource, None where IAM does not say."""
    iam = account.client("iam")
    source = account.caller
    try:
        if ":assumed-role/" in source:
            source = iam.get_role(RoleName=source.split("/")[1])["Role"]["Arn"]
        answer = iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=[*_RIGHTS], MaxItems=len(_RIGHTS))
    except ClientError:
        return None
    return [each["EvalActionName"] for each in answer["EvaluationResults"] if each["EvalDecision"] != "allowed"]


def _verify(verification: Verification, console: Console) -> int:
    """Run the verification, remove what it made, and write the report."""
    problem, rows, assumptions = "", [], []
    try:
        verification.run()
        rows = [Row(claim.text, claim.finding) for claim in verification.claims()]
        assumptions = assumption_rows(verification.seen)
    except KeyboardInterrupt:
        problem = "Interrupted."
    except ERRORS as error:
        problem = explain(error)
    finally:
        with uninterrupted():
            if problem:
                console.print(problem, style="red")
            console.print("Removing what was made …")
            verification.cleanup.run()
    left = verification.cleanup.left
    if left:
        console.print("Not removed:", style="red")
        for each in left:
            console.print(each)
    else:
        console.print("Everything is removed.")
    if problem:
        return 1
    report = Report(verification.account.region, datetime.now(UTC), rows, assumptions, left)
    for title, found in (("deployment", rows), ("assumption", assumptions)):
        table = Table(title, "seen", Column("evidence", overflow="fold"))
        for row in found:
            table.add_row(row.claim, row.finding.verdict, redacted(row.finding.evidence))
        console.print(table)
    console.print(f"The report is {report.write(Path.cwd())}, and .json beside it.")
    return 0 if report.is_proved else 1


def _examine(account: Account, deployment: Deployment, console: Console) -> int:
    """Print the checks, the names and the images, and return 1 where there is a problem."""
    now = datetime.now(UTC)
    checks = [*doctor.examine(account, deployment, now)]
    for check in checks:
        mark, text = ("PROBLEM", check.problem) if check.problem else ("ok", check.state.removeprefix("ok"))
        console.print(f"{mark:8} {check.part:14} {text}".rstrip(), style="red" if check.problem else "green")
    console.print()
    for name, value in doctor.names(deployment):
        console.print(f"{name:24} {value}")
    table = Table(*(Column(title, overflow="fold") for title in doctor.COLUMNS))
    for row in doctor.images(account, deployment, now):
        table.add_row(*row)
    console.print(table if table.row_count else "\nNo image yet.")
    return 1 if any(check.problem for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
