"""What must hold for the claims of records: one invocation has a record at a time, and only this one saves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from botocore.awsrequest import AWSResponse

from tests.simulation.state import Claim, State, now

_NO_CLAIM = Claim("", datetime.min.replace(tzinfo=UTC))
_ROUNDING = timedelta(milliseconds=2)


@dataclass
class Claims:
    """The claims that DynamoDB has granted."""

    state: State

    def check(self, operation: str, request: Mapping[str, Any], answer: AWSResponse | None) -> None:
        """Note what a claim, a save or a release of a record did, and whether it may."""
        values, id_ = request["ExpressionAttributeValues"], request["Key"]["id"]["S"]
        if answer is None or ":owner" not in values:
            return
        owner, granted = values[":owner"]["S"], answer.status_code == HTTPStatus.OK
        last = self.state.claims.get(id_, _NO_CLAIM)
        if operation == "claim":
            if granted and last.owner != owner and last.until > now():
                self.state.violations.append(f"doubled: {id_} is claimed twice")
            if not granted and (last.owner == owner or last.until < _time(values[":now"]) - _ROUNDING):
                self.state.violations.append(f"lost: a claim of {id_} was refused, and nobody has it")
            if granted:
                self.state.claims[id_] = Claim(owner, _time(values[":until"]))
        elif granted:
            if last.owner != owner:
                self.state.violations.append(f"wrong: {id_} was written by an invocation that has no claim")
            self.state.claims[id_] = Claim(last.owner, _NO_CLAIM.until)


def _time(value: Mapping[str, str]) -> datetime:
    return datetime.fromtimestamp(int(value["N"]) / 1000, UTC)
