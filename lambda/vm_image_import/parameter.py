"""Keeps the newest AMI of each image name in a parameter of Parameter Store, for launch templates and other tools."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from vm_image_import.clients import Clients
from vm_image_import.derive import versions
from vm_image_import.errors import InProgressError, PermanentError
from vm_image_import.idempotency.records import IdempotencyKey
from vm_image_import.models import Image, ImportTask, Invocation, Outcome, OutcomeKind
from vm_image_import.notifications import notify_once
from vm_image_import.observability import count, logger
from vm_image_import.settings import Settings
from vm_image_import.text import quote

_NAME: Final = re.compile(r"/[a-zA-Z0-9_.\-/]+")
_MAX_ARN: Final = 1011
"""Characters of a parameter's ARN, and of its name with them (API reference, `PutParameter`)."""
_MARGIN_MS: Final = 160_000
"""The parameter is not begun later than this before the timeout: where AWS hardly answers, its calls take four times
30 seconds, and the notification has to be sent and recorded after them."""


class _Parameter(NamedTuple):
    """A parameter, and the newest AMI of its name, if there is one."""

    name: str
    ami_id: str | None = None
    written: bool = False
    """Whether it had another value."""


@dataclass(frozen=True, slots=True)
class NewestAmiParameter:
    """Writes the parameter of an image's name: the AMI of the highest version that is AVAILABLE."""

    clients: Clients
    invocation: Invocation

    def try_write(self, image: Image) -> str | None:
        """Write the parameter of an image that has become available, if parameters are configured.

        Return its name where it holds the image's own AMI. What fails is done by the next sweep, which also reads the
        parameter back.
        """
        settings = self.clients.settings
        if not settings.parameter_prefix or settings.observe or self.invocation.remaining_ms() < _MARGIN_MS:
            return None
        try:
            parameter = self._write(image.arn, image)
        except Exception:  # noqa: BLE001 - whatever it is, the image is available; the next sweep reports it
            logger.exception("Available, but the parameter could not be written")
            return None
        return parameter.name if parameter.ami_id == image.ami_id else None

    def check(self, task: ImportTask, arn: str) -> Outcome | None:
        """Read the parameter of an available image back, and write it where it does not hold the newest AMI.

        `arn` is that of the build version. Return None where there was nothing to do. Raises TransientError, or
        PermanentError where the notification that the parameter cannot be written fails.
        """
        name = name_parameter(arn, self.clients.settings)
        try:
            with self.clients.idempotency_store.claim(parameter_key(arn, name), self.invocation) as claim:
                if claim.completed is not None:
                    return None
                parameter = self._write(arn)
                # Systems Manager checks a value after it has answered, so what is written now is done only when the
                # next sweep has read it.
                if not parameter.written:
                    claim.complete(parameter.ami_id or "")
                    return None
        except InProgressError:
            return None
        except PermanentError as error:
            outcome = Outcome(
                OutcomeKind.PARAMETER_NOT_WRITTEN,
                task.id,
                image_arn=arn,
                reason=str(error),
                task=task,
                problem=error.code or type(error).__name__,
            )
            key = IdempotencyKey("parameter-not-written", f"{name} {arn}")
            return notify_once(key, outcome, self.clients, self.invocation)
        reason = f"{name} was written: {parameter.ami_id}. The next sweep reads it back."
        return Outcome(OutcomeKind.IN_PROGRESS, task.id, image_arn=arn, reason=reason, parameter=name)

    def _write(self, arn: str, image: Image | None = None) -> _Parameter:
        """Write the parameter of an image's name where it does not hold the newest AMI.

        Raises TransientError, or PermanentError with the code of what is wrong.
        """
        name = name_parameter(arn, self.clients.settings)
        self._check_name(name)
        newest = self._find_newest(arn, image)
        if newest is None or newest.ami_id is None:
            return _Parameter(name)
        if self.clients.parameter_store.find(name) == newest.ami_id:
            return _Parameter(name, newest.ami_id)
        ami = self.clients.ec2.find_ami(newest.ami_id)
        if ami is None or ami.state != "available":
            message = (
                f"{newest.ami_id}, the AMI of {newest.arn}, is not available, so {name} was not written. Deprecate or"
                " delete that image version."
            )
            raise PermanentError(message, "AmiNotAvailable")
        self.clients.parameter_store.put_ami(name, newest.ami_id, f"The AMI of {_all_versions(arn)}")
        count("ParametersWritten")
        return _Parameter(name, newest.ami_id, written=True)

    def _check_name(self, name: str) -> None:
        environment = self.invocation.environment
        parameter_arn = f"arn:{environment.partition}:ssm:{environment.region}:{environment.account}:parameter{name}"
        if not _NAME.fullmatch(name) or len(parameter_arn) > _MAX_ARN:
            message = (
                f"{quote(name)} cannot be the name of a parameter: it has other characters than A-Z a-z 0-9 _ . - / or"
                f" is longer than {_MAX_ARN} characters with its ARN. Register the import with another name."
            )
            raise PermanentError(message, "ParameterName")

    def _find_newest(self, arn: str, image: Image | None) -> Image | None:
        """Return the highest version that is AVAILABLE, or None where there is none."""
        newest = self.clients.image_builder.find_image(_all_versions(arn))
        if newest and versions.of_arn(newest.arn) >= versions.of_arn(arn):
            return newest
        # Image Builder may be late to count the image itself.
        own = image or self.clients.image_builder.find_image(arn)
        return own if own and own.status == "AVAILABLE" else newest


def name_parameter(image_arn: str, settings: Settings) -> str:
    """Return the name of the parameter for an image, by the ARN of a build version; empty where none is configured."""
    name = image_arn.rpartition("image/")[2].partition("/")[0]
    return f"{settings.parameter_prefix}/{name}" if settings.parameter_prefix else ""


def parameter_key(image_arn: str, parameter: str) -> IdempotencyKey:
    """Return the key whose record says that the parameter holds what it should since this image is available."""
    return IdempotencyKey("parameter", f"{parameter} {image_arn}")


def _all_versions(arn: str) -> str:
    return f"{arn.rsplit('/', 2)[0]}/x.x.x"
