"""What the ledger keeps of a registered import."""

from typing import Final, NamedTuple, Self

_UNTOLD: Final = "untold "


class Registration(NamedTuple):
    """An image that was asked for, and whether people were told."""

    arn: str
    """Of its build version; empty where only the client token is known to be used: such an image cannot be followed."""
    told: bool = True
    """Whether the topic took the notice: it may refuse when the image is made already."""

    def as_record(self) -> str:
        """Return the ledger's value: the ARN, marked while the notice is owed."""
        return self.arn if self.told else f"{_UNTOLD}{self.arn}"

    @classmethod
    def of_record(cls, value: str) -> Self:
        """Return what `as_record` made the value of."""
        return cls(value.removeprefix(_UNTOLD), told=not value.startswith(_UNTOLD))
