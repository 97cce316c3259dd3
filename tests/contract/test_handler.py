"""The function's entry, in this process and with a closed network."""

import gc
import io
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.contract.test_aws import ec2
from vm_image_import.domain.errors import InvalidTriggerError, PermanentError, SweepError, TransientError
from vm_image_import.handler import invoke
from vm_image_import.invocation import Clients
from vm_image_import.report.log import logger
from vm_image_import.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# The function ignores it, too; pytest sets the filters anew for each test.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

CONTEXT = cast(
    "LambdaContext",
    SimpleNamespace(
        function_name="f",
        memory_limit_in_mb=256,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:f",
        aws_request_id="r",
        get_remaining_time_in_millis=lambda: 300_000,
    ),
)


def clients() -> Clients:
    """Return clients whose EC2 cannot be reached."""
    clients = Clients(Settings())
    clients.ec2 = ec2("http://127.0.0.1:9")
    return clients


def test_garbage_is_collected_after_the_imports() -> None:
    """With the handler imported, garbage is collected, and what was imported is not searched for it."""
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize("event", [{}, {"importTaskId": "x", "dryRun": 1}, {"detail-type": "x"}, None, "text"])
def test_an_invalid_trigger_calls_nothing(event: object) -> None:
    """Invalid input is refused before AWS is called: here a call would raise another error."""
    with pytest.raises(InvalidTriggerError):
        invoke(event, CONTEXT, clients())


def test_a_valid_trigger_calls_aws() -> None:
    """With a valid payload the function calls EC2, and raises that it cannot be reached."""
    with pytest.raises(TransientError):
        invoke({"importTaskId": "import-ami-0123456789abcdef0"}, CONTEXT, clients())


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_error_of_a_sweep_is_logged_once(monkeypatch: pytest.MonkeyPatch, *, dry_run: bool) -> None:
    """A sweep that cannot be claimed, or cannot list the tasks, logs the error with which it ends once."""
    log = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    with pytest.raises(SweepError if dry_run else PermanentError):
        invoke({"action": "sweep", "dryRun": dry_run}, CONTEXT, clients())
    entries = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith('{"level"')]
    assert [entry["message"] for entry in entries if entry["level"] == "ERROR"] == ["Failed"]


def test_an_error_is_logged_with_the_id_of_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log line of an error has the import task's id, and the next invocation's log line does not."""
    log = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    with pytest.raises(TransientError):
        invoke({"importTaskId": "import-ami-0123456789abcdef0"}, CONTEXT, clients())
    with pytest.raises(InvalidTriggerError):
        invoke({}, CONTEXT, clients())
    first, second = map(json.loads, log.getvalue().splitlines())
    assert (first["level"], first["importTaskId"]) == ("ERROR", "import-ami-0123456789abcdef0")
    assert second["level"] == "ERROR"
    assert "importTaskId" not in second
