"""The ARN of an image build version, in its parts."""

import re
from typing import Final, NamedTuple, Self

_BUILD: Final = re.compile(
    r"(?P<image>arn:[a-z-]+:imagebuilder:[a-z0-9-]+:(?P<account>\d{12}):image/(?P<name>[a-z0-9-_]+))"
    r"/(?P<version>\d+\.\d+\.\d+)/(?P<build>\d+)",
    re.ASCII,
)
"""No part is a wildcard (API reference, `ImageBuildVersionArn`)."""


class BuildArn(NamedTuple):
    """The ARN of an image build version, like `arn:aws:imagebuilder:us-east-1:123456789012:image/web/1.4.2/1`."""

    text: str
    account: str
    all_versions: str
    """The ARN that a recipe uses for the highest version that is AVAILABLE: `…:image/NAME/x.x.x`."""
    name: str
    """As the ARN has it: lower case, with hyphens."""
    version: str
    build: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of an ARN. Raises ValueError for anything but the ARN of an image build version."""
        match = _BUILD.fullmatch(text)
        if match is None:
            message = f"{text!r} is not the ARN of an image build version."
            raise ValueError(message)
        all_versions = f"{match['image']}/x.x.x"
        return cls(text, match["account"], all_versions, match["name"], match["version"], int(match["build"]))

    @property
    def label(self) -> str:
        """The name, version and build, like `web/1.4.2/1`."""
        return f"{self.name}/{self.version}/{self.build}"

    @property
    def order(self) -> tuple[int, ...]:
        """The version and the build as numbers, by which the builds of one name are compared."""
        return (*map(int, self.version.split(".")), self.build)
