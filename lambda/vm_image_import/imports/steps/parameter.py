"""Keep the newest AMI of the image's name in a parameter of Parameter Store, for launch templates and other tools."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Final

from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import PermanentError
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.imports.steps.follow import USABLE
from vm_image_import.imports.steps.step import Done, Due, Run, Step, Waiting
from vm_image_import.report.log import count

_NAME: Final = re.compile(r"/[a-zA-Z0-9_.\-/]+")
_MAX_ARN: Final = 1011
"""Characters of a parameter's ARN, and of its name with them (API reference, `PutParameter`)."""
_CALLS: Final = 3
_CHECKED_AFTER: Final = timedelta(minutes=10)
"""Systems Manager checks a value after it has answered (API reference, `PutParameter`). Where a parameter does not have
the value after this time, it was dropped."""
_AVAILABLE: Final = "AVAILABLE"


def _look(run: Run) -> Done | Waiting | Due:
    if not run.status:
        return Waiting("The image is not available yet.")
    if run.status not in USABLE:
        return Done("")
    name = _parameter_name(run)
    newest = _find_newest_ami(run)
    if isinstance(newest, Waiting):
        return newest
    if newest is None:
        return Done("")
    if run.invocation.clients.parameter_store.find(name) == newest:
        return Done(name if newest == run.registration.ami_id else "")
    written = run.registration.unverified.get("parameter")
    if written and written.value == newest and run.invocation.time - written.time < _CHECKED_AFTER:
        return Waiting(f"Systems Manager checks the value of {name}.", continues=True)
    return Due(_CALLS)


def _act(run: Run) -> Done | Waiting:
    name, newest = _parameter_name(run), _find_newest_ami(run)
    if newest is None or isinstance(newest, Waiting):
        return newest or Done("")
    ami = run.invocation.clients.ec2.find_ami(newest)
    if ami is None and run.may_be_hidden:
        return Waiting(f"EC2 does not show {newest}.")
    if ami is None or ami.state != "available":
        message = (
            f"{newest}, the newest AMI of {run.registration.build.name}, is not available, so {name} was not written."
            " Deprecate or delete its image version."
        )
        raise PermanentError(message, "AmiNotAvailable")
    description = f"The AMI of {run.registration.build.all_versions}"
    run.invocation.clients.parameter_store.put_ami(name, newest, description)
    count("ParametersWritten")
    written = run.registration.unverified.get("parameter")
    if written and written.value == newest:
        # It is written again by each sweep, and reported once.
        message = (
            f"Systems Manager dropped the value {newest} of {name}. It accepts only an AMI that exists and that the"
            " role of the function may describe."
        )
        raise PermanentError(message, "ValueDropped")
    reason = f"{name} was written: {newest}. The next sweep reads it back."
    outcome = replace(run.outcome(OutcomeKind.IN_PROGRESS, reason), parameter=name) if run.is_notified else None
    return Waiting(reason, unverified=newest, continues=True, outcome=outcome)


def _parameter_name(run: Run) -> str:
    """Return the name of the parameter. Raises PermanentError where it cannot be one."""
    name = run.parameter_name or ""
    environment = run.invocation.environment
    arn = f"arn:{environment.partition}:ssm:{environment.region}:{environment.account}:parameter{name}"
    if not _NAME.fullmatch(name) or len(arn) > _MAX_ARN:
        message = (
            f"{name!r} cannot be the name of a parameter: it has other characters than A-Z a-z 0-9 _ . - / or is longer"
            f" than {_MAX_ARN} characters with its ARN. Register the import with another name."
        )
        raise PermanentError(message, "ParameterName")
    return name


def _find_newest_ami(run: Run) -> str | Waiting | None:
    """Return the AMI of the highest version that is AVAILABLE; None where no version is."""
    own = run.registration.build
    other = run.invocation.builds.builds().newest(own.name, besides=own.text)
    # The image itself as Image Builder shows it now: the list of builds may be late.
    image = run.image
    if image and image.status == _AVAILABLE and (other is None or own.order > BuildArn.parse(other.arn).order):
        return image.ami_id or Waiting("Image Builder shows no AMI of this image yet.")
    if other is None:
        return None
    return next(iter(other.ami_ids), Waiting(f"Image Builder shows no AMI of {other.arn} yet."))


PARAMETER: Final = Step(
    "parameter", lambda settings: bool(settings.parameter_prefix) and not settings.observe, _look, _act
)
