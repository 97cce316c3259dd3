"""Where the function runs."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Home:
    """The account and the Region, with their partition (`aws`, `aws-cn` …)."""

    partition: str
    region: str
    account: str

    @classmethod
    def of_function(cls, arn: str) -> Self:
        """Return the home of the function with this ARN, `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME`."""
        _, partition, _, region, account, *_ = arn.split(":")
        return cls(partition, region, account)

    def image_arn(self, name: str) -> str:
        """Return the ARN of all versions of an image, `name` being written as in ARNs."""
        return f"arn:{self.partition}:imagebuilder:{self.region}:{self.account}:image/{name}/x.x.x"
