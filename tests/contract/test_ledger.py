"""The ledger on the local DynamoDB, as Powertools and the sweep's batches read and write it."""

import json
import time
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from tests.conftest import client
from vm_image_import.errors import InProgressError, PermanentError, TransientError
from vm_image_import.ledger import Ledger
from vm_image_import.ports import Fact

TABLE = "ledger"
FACT = Fact("registered", "import-ami-fg4d51t0")
DAY = 24 * 60 * 60


@pytest.fixture
def ledger(mode: str) -> Ledger:
    """Give an empty ledger."""
    assert mode
    client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return another()


def another() -> Ledger:
    """Return the same ledger as another run of the function has it."""
    ledger = Ledger(boto3.client("dynamodb"), TABLE)
    ledger.start_run(context(60_000))
    return ledger


def context(remaining_ms: int) -> LambdaContext:
    """Return the context of a run that ends so soon."""
    return cast("LambdaContext", SimpleNamespace(get_remaining_time_in_millis=lambda: remaining_ms))


def fail() -> str:
    """Fail as an act may."""
    message = "refused"
    raise PermanentError(message)


def test_a_fact_is_acted_on_once(ledger: Ledger) -> None:
    """Everybody after the first gets what the first one got."""
    assert ledger.once(FACT, lambda: "arn") == ("arn", True)
    assert ledger.once(FACT, fail) == ("arn", False)
    assert another().once(FACT, fail) == ("arn", False)


def test_facts_do_not_mix(ledger: Ledger) -> None:
    """Another kind or another id is another fact."""
    ledger.once(FACT, lambda: "arn")
    for other in (Fact("ended", FACT.about), Fact("registered", f"{FACT.about} run-1")):
        assert ledger.once(other, lambda: "other") == ("other", True)


def test_a_fact_may_need_another(ledger: Ledger) -> None:
    """Each is recorded under its own key, although one is acted on within the other."""
    version = Fact("version", FACT.about)
    assert ledger.once(FACT, lambda: f"image {ledger.once(version, lambda: '1.0.0').value}").value == "image 1.0.0"
    assert ledger.known([FACT, version]) == {FACT: "image 1.0.0", version: "1.0.0"}


def test_a_failure_leaves_nothing_behind(ledger: Ledger) -> None:
    """Only success is recorded, so the next try acts again."""
    with pytest.raises(PermanentError):
        ledger.once(FACT, fail)
    assert client("dynamodb").scan(TableName=TABLE)["Items"] == []
    assert ledger.once(FACT, lambda: "arn") == ("arn", True)


def test_a_failure_takes_back_only_what_it_began(ledger: Ledger) -> None:
    """Its deletion is asked for again where its answer is lost, and another run may have acted meanwhile."""
    boto = client("dynamodb")

    def fail_slowly() -> str:
        (mine,) = boto.scan(TableName=TABLE)["Items"]
        boto.delete_item(TableName=TABLE, Key={"id": mine["id"]})
        other = Ledger(boto3.client("dynamodb"), TABLE)
        other.start_run(context(61_000))
        other.once(FACT, lambda: "arn")
        return fail()

    with pytest.raises(PermanentError):
        ledger.once(FACT, fail_slowly)
    assert ledger.known([FACT]) == {FACT: "arn"}


def test_an_empty_value_is_a_record(ledger: Ledger) -> None:
    """That only the client token is known of an image is something to remember, too."""
    ledger.once(FACT, lambda: "")
    assert ledger.once(FACT, fail) == ("", False)
    assert ledger.known([FACT]) == {FACT: ""}


def test_two_runs_at_once_are_one(ledger: Ledger) -> None:
    """While one acts, the other one learns that it does, and that nothing is known yet."""

    def act() -> str:
        with pytest.raises(InProgressError, match=FACT.about):
            another().once(FACT, fail)
        assert another().known([FACT]) == {}
        return "arn"

    assert ledger.once(FACT, act) == ("arn", True)


def test_what_a_killed_run_began_is_free_after_its_end(ledger: Ledger) -> None:
    """A run that ends in the middle holds nobody up for longer than it could have run."""

    def killed() -> str:
        raise KeyboardInterrupt

    for remaining_ms, free in ((60_000, False), (-1, True)):
        ledger.start_run(context(remaining_ms))
        fact = Fact("registered", str(remaining_ms))
        with pytest.raises(KeyboardInterrupt):
            ledger.once(fact, killed)
        if free:
            assert another().once(fact, lambda: "arn") == ("arn", True)
        else:
            with pytest.raises(InProgressError):
                another().once(fact, lambda: "arn")


def test_records_outlive_ec2s_memory(ledger: Ledger) -> None:
    """EC2 lists a task for 7 days; its record stays for at least 30."""
    ledger.once(FACT, lambda: "arn")
    (item,) = client("dynamodb").scan(TableName=TABLE)["Items"]
    assert int(item["expiration"]["N"]) > time.time() + 30 * DAY


def test_many_facts_cost_a_call_per_hundred(ledger: Ledger) -> None:
    """A sweep over a thousand tasks reads what is known of them in batches."""
    facts = [Fact("registered", f"import-ami-{number:08}") for number in range(250)]
    for fact in facts[::10]:
        ledger.once(fact, partial(str, fact.about))
    dynamodb, calls = boto3.client("dynamodb"), []
    dynamodb.meta.events.register("before-call.dynamodb.BatchGetItem", lambda **_: calls.append(1))
    assert Ledger(dynamodb, TABLE).known(facts) == {fact: fact.about for fact in facts[::10]}
    assert len(calls) == 3
    assert Ledger(dynamodb, TABLE).known([]) == {}
    assert len(calls) == 3


@pytest.mark.usefixtures("ledger")
def test_a_table_that_reads_nothing_is_raised() -> None:
    """A sweep does not ask for ever: what is left over each time makes progress, or is tried again later."""
    dynamodb = boto3.client("dynamodb")
    facts = [Fact("registered", f"import-ami-{number:08}") for number in range(3)]
    asked = []

    def unprocessed(params: dict[str, Any], **_: object) -> Any:  # noqa: ANN401 - botocore's hook
        asked.append(json.loads(params["body"])["RequestItems"])
        return SimpleNamespace(status_code=200), {"Responses": {TABLE: []}, "UnprocessedKeys": asked[-1]}

    dynamodb.meta.events.register("before-call.dynamodb.BatchGetItem", unprocessed)
    with pytest.raises(TransientError, match="none of 3 records"):
        Ledger(dynamodb, TABLE).known(facts)
    assert len(asked) == 1


def test_a_table_that_does_not_answer_is_raised(mode: str) -> None:
    """Without its record an import must not be registered."""
    assert mode
    with pytest.raises(TransientError):
        another().once(FACT, lambda: "arn")
    with pytest.raises(PermanentError, match="ResourceNotFoundException"):
        another().known([FACT])
