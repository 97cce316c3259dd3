"""Keep the newest AMI of the image's name in a parameter of Parameter Store, for launch templates and other tools."""

import re
import shlex
from datetime import timedelta
from typing import Final, NamedTuple

from vm_image_import.aws.ssm import AMI, Parameter
from vm_image_import.derive import names
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import PermanentError
from vm_image_import.domain.models import Ami
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.imports.steps.follow import USABLE
from vm_image_import.imports.steps.step import GIVEN_UP, Done, Due, Run, Step, Waiting
from vm_image_import.records.registration import MAX_REGISTRATIONS, RegistrationId, Unverified
from vm_image_import.records.store import EXPIRES_AFTER
from vm_image_import.report.log import count

_NAME: Final = re.compile(r"/[a-zA-Z0-9_.\-/]+")
_MAX_ARN: Final = 1011
"""Characters of a parameter's ARN, and of its name with them (API reference, `PutParameter`)."""
_CALLS: Final = 2
"""To see whether the parameter exists, and to write it."""
_CHECKED_AFTER: Final = timedelta(minutes=10)
"""Systems Manager checks a value after it has answered (API reference, `PutParameter`). Where a parameter does not have
the value after this time, it is taken for dropped, and written again."""
_AVAILABLE: Final = "AVAILABLE"
_NOT_RECORDED: Final = (
    "is of an image that this system has no record of: another user made it, or its record has expired after {} days"
)


class _Newest(NamedTuple):
    """The highest version of a name that is AVAILABLE."""

    arn: str
    ami_id: str


def _look(run: Run) -> Done | Waiting | Due:
    if not run.status:
        return Waiting("The image is not available yet.")
    if run.status not in USABLE:
        return Done(GIVEN_UP if run.status == GIVEN_UP else "")
    name = _parameter_name(run)
    newest = _find_newest(run)
    if isinstance(newest, Waiting):
        return newest
    if newest is None:
        return Done("")
    present = run.invocation.clients.parameter_store.find(name)
    if present == Parameter(newest.ami_id, AMI):
        return Done(name if newest.ami_id == run.registration.ami_id else "")
    if waiting := _wait(run, name, newest):
        return waiting
    ami = run.ami if _is_own(run, newest) else run.invocation.clients.ec2.find_ami(newest.ami_id)
    if ami is None and run.may_be_hidden:
        return Waiting(f"EC2 does not show {newest.ami_id}.")
    _check_ami(run, name, newest, ami)
    if present:
        _check_parameter(run, name, present)
    return Due(_CALLS)


def _act(run: Run) -> Done | Waiting:
    name, newest = _parameter_name(run), _find_newest(run)
    if newest is None or isinstance(newest, Waiting):
        return newest or Done("")
    store = run.invocation.clients.parameter_store
    present = store.find(name)
    store.put_ami(name, newest.ami_id, _description(run), overwrite=present is not None)
    count("ParametersWritten")
    writing = Unverified(newest.ami_id, run.invocation.now(), present.value if present else "")
    written = run.registration.unverified.get("parameter")
    if written and written._replace(time=writing.time) == writing:
        # It is written again by each sweep, and reported once.
        message = (
            f"Systems Manager dropped the value {newest.ami_id} of {name}. It accepts only an AMI that exists and that"
            " the role of the function may describe."
        )
        raise PermanentError(message, "ValueDropped")
    # Something else may replace the value again and again: the step ends in time, as others do.
    is_repeated = written is not None and written.value == newest.ami_id
    reason = (
        f"{name} was written again: something else changed {newest.ami_id} to {writing.previous or 'nothing'}."
        if is_repeated
        else f"{name} was written: {newest.ami_id}. The next sweep reads it back."
    )
    outcome = run.outcome(OutcomeKind.IN_PROGRESS, reason)._replace(parameter=name) if run.is_notified else None
    return Waiting(reason, unverified=writing, continues=not is_repeated, outcome=outcome)


def _wait(run: Run, name: str, newest: _Newest) -> Waiting | None:
    """Return what the step waits for before it writes the parameter; None where it does not wait."""
    written = run.registration.unverified.get("parameter")
    if written and written.value == newest.ami_id and run.invocation.time - written.time < _CHECKED_AFTER:
        return Waiting(f"Systems Manager checks the value of {name}.", continues=True)
    all_versions = run.registration.build.all_versions
    image = run.invocation.clients.image_builder.find_image(all_versions)
    if image and image.arn == newest.arn:
        return None
    # The list of builds may be late: a lower version would take the place of a higher one.
    named = image.arn if image else "no version"
    return Waiting(f"{all_versions} names {named}, and the list of builds {newest.arn} as the highest one.")


def _check_ami(run: Run, name: str, newest: _Newest, ami: Ami | None) -> None:
    """Raise PermanentError unless the AMI can be used, is this account's, and is that of a recorded image."""
    account = run.invocation.environment.account
    if ami is None or ami.state != "available":
        problem, code = "is not available", "AmiNotAvailable"
    elif ami.owner_id not in {None, account}:
        problem, code = f"belongs to the account {ami.owner_id}", "AmiOfOthers"
    elif not _is_own(run, newest) and not _is_recorded(run, newest, ami):
        problem, code = _NOT_RECORDED.format(EXPIRES_AFTER.days), "ImageOfOthers"
    else:
        return
    message = (
        f"{name} was not written: {newest.ami_id}, the AMI of {newest.arn}, which is the highest version, {problem}."
        f" If {newest.arn} is not to be used, deprecate or delete it. To write an AMI that you trust:"
        f" aws ssm put-parameter --name {name} --value AMI_ID --type String --data-type {AMI}"
        f" --description {shlex.quote(_description(run))} --overwrite"
    )
    raise PermanentError(message, code)


def _is_own(run: Run, newest: _Newest) -> bool:
    return newest == (run.registration.arn, run.registration.ami_id)


def _is_recorded(run: Run, newest: _Newest, ami: Ami) -> bool:
    """Return whether this system has registered an image, or found it for its import."""
    if ami.import_task_id is None:
        return False
    records = run.invocation.store.read(RegistrationId(ami.import_task_id, each) for each in range(MAX_REGISTRATIONS))
    registrations = [record.registration for record in records.values() if record.registration]
    return any((each.arn, each.ami_id) == newest for each in registrations)


def _check_parameter(run: Run, name: str, present: Parameter) -> None:
    """Raise PermanentError where somebody else has written the parameter."""
    store, description = run.invocation.clients.parameter_store, _description(run)
    if present.data_type != AMI or store.find_description(name) != description:
        message = (
            f"{name} exists, and this system did not write it: its data type is not {AMI}, or its description is not"
            f" {description!r}. Delete it, or deploy with another parameterPrefix."
        )
        raise PermanentError(message, "ParameterOfOthers")


def _description(run: Run) -> str:
    """Return the description of the parameter."""
    return f"The AMI of {run.registration.build.all_versions}"


def _parameter_name(run: Run) -> str:
    """Return the name of the parameter. Raises PermanentError where it cannot be one, or is not allowed."""
    name = run.parameter_name or ""
    allowed = run.settings.allowed_names
    if not names.is_allowed(run.registration.build.name, allowed):
        # Another user has registered it.
        message = f"{name} was not written: {run.registration.build.name} matches none of {', '.join(allowed)}."
        raise PermanentError(message, "NameNotAllowed")
    environment = run.invocation.environment
    arn = f"arn:{environment.partition}:ssm:{environment.region}:{environment.account}:parameter{name}"
    if not _NAME.fullmatch(name) or len(arn) > _MAX_ARN:
        message = (
            f"{name!r} cannot be the name of a parameter: it has other characters than A-Z a-z 0-9 _ . - / or is longer"
            f" than {_MAX_ARN} characters with its ARN. Register the import with another name."
        )
        raise PermanentError(message, "ParameterName")
    return name


def _find_newest(run: Run) -> _Newest | Waiting | None:
    """Return the highest version that is AVAILABLE; None where no version is."""
    own = run.registration.build
    other = run.invocation.builds.builds().newest(own.name, besides=own.text)
    # The image itself as Image Builder shows it now: the list of builds may be late.
    image = run.image
    if image and image.status == _AVAILABLE and (other is None or own.order > BuildArn.parse(other.arn).order):
        arn, ami_id = own.text, image.ami_id
    elif other is None:
        return None
    else:
        arn, ami_id = other.arn, next(iter(other.ami_ids), None)
    return _Newest(arn, ami_id) if ami_id else Waiting(f"Image Builder shows no AMI of {arn} yet.")


PARAMETER: Final = Step(
    "parameter", lambda settings: bool(settings.parameter_prefix) and not settings.observe, _look, _act
)
