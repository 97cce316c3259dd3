"""The function's entry, in this process and with no AWS at all: the network is closed."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.contract.test_aws import ec2
from vm_image_import.errors import InvalidTriggerError, TransientError

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
    ),
)


@pytest.mark.parametrize("event", [{}, {"importTaskId": "x", "dryRun": 1}, {"detail-type": "x"}, None, "text"])
def test_a_trigger_that_is_none_calls_nothing(event: object) -> None:
    """Bad input is refused before AWS is asked for anything: a call would fail in another way here."""
    from vm_image_import.handler import handler  # noqa: PLC0415 - makes clients, which need this test's environment

    with pytest.raises(InvalidTriggerError):
        handler(event, CONTEXT)


def test_a_closed_network_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter-example: with a good payload the same function does call."""
    from vm_image_import import handler  # noqa: PLC0415 - as above

    monkeypatch.setattr(handler, "_ec2", ec2("http://127.0.0.1:9"))
    with pytest.raises(TransientError):
        handler.handler({"importTaskId": "import-ami-0123456789abcdef0"}, CONTEXT)
