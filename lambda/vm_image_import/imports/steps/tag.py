"""Tag the AMI of an image that has become available, and the AMI's snapshots."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from vm_image_import.derive import tags
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.models import Ami
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.imports.steps.follow import USABLE
from vm_image_import.imports.steps.step import GIVEN_UP, Done, Due, Run, Step, Waiting
from vm_image_import.records.registration import MAX_REGISTRATIONS, RegistrationId
from vm_image_import.report.log import count

_MAX_TAGS: Final = 50
"""The most tags of an AMI or snapshot; those of AWS (`aws:`) do not count (user guide, "Tag your resources")."""
_CALLS: Final = 4
"""To read the tags and the later registrations, and to tag twice: most disks lack the same tags. What an invocation has
no time for, the next sweep tags: to tag once more changes nothing."""


def _look(run: Run) -> Done | Waiting | Due:
    if not run.status:
        return Waiting("The image is not available yet.")
    if run.status not in USABLE:
        return Done(GIVEN_UP if run.status == GIVEN_UP else "")
    if run.ami is None:
        return Waiting(f"EC2 does not show {run.registration.ami_id}.") if run.may_be_hidden else Done("")
    wanted, present = _read_tags(run, run.ami)
    missing = _missing_tags(run, wanted, present)
    return Due(_CALLS) if any(missing.values()) else Done(_tagged(wanted, present, missing))


def _act(run: Run) -> Done | Waiting:
    if run.ami is None:
        return Done("")
    wanted_tags, present = _read_tags(run, run.ami)
    missing = _missing_tags(run, wanted_tags, present)
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for id_, wanted in missing.items():
        groups.setdefault(tuple(wanted.items()), []).append(id_)
    gone = [id_ for wanted, ids in groups.items() if wanted for id_ in _create_tags(run, ids, dict(wanted))]
    tagged = _tagged(wanted_tags, present, {id_: tags for id_, tags in missing.items() if id_ not in gone})
    if tagged:
        count("AmisTagged")
    if not run.is_notified:
        return Done(tagged)
    outcome = run.outcome(OutcomeKind.ALREADY_REGISTERED, "The AMI and its snapshots are tagged now.")
    return Done(tagged, outcome._replace(tagged=tagged.split()))


def _read_tags(run: Run, ami: Ami) -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
    """Return the wanted tags, and those that the AMI and each snapshot have, by their ids."""
    wanted = tags.of_ami(run.registration.task, ami, run.registration.build, run.settings)
    ids = (ami.id, *ami.snapshot_ids)
    present = run.invocation.clients.ec2.find_tags(ids)
    return wanted, {id_: present.get(id_, {}) for id_ in ids}


def _missing_tags(
    run: Run, wanted: Mapping[str, str], present: Mapping[str, Mapping[str, str]]
) -> Mapping[str, Mapping[str, str]]:
    """Return the tags to write, by the id of the AMI and of each snapshot."""
    later = _find_later_images(run, present)
    return {id_: _missing(wanted, found, run.registration.build, later) for id_, found in present.items()}


def _find_later_images(run: Run, present: Mapping[str, Mapping[str, str]]) -> Collection[str]:
    """Return the images of the registrations that were forced after this one, where tags may name one of them."""
    if not {found[tags.IMAGE] for found in present.values() if tags.IMAGE in found} - {run.registration.arn}:
        return ()
    ids = [RegistrationId(run.id.import_task_id, each) for each in range(run.id.number + 1, MAX_REGISTRATIONS)]
    records = run.invocation.store.read(ids)
    return {record.registration.arn for record in records.values() if record.registration}


def _tagged(
    wanted: Mapping[str, str], present: Mapping[str, Mapping[str, str]], added: Mapping[str, Mapping[str, str]]
) -> str:
    """Return the ids of what has all wanted tags, with what was added: a value of others is not said to be ours."""
    return " ".join(id_ for id_, new in added.items() if wanted.items() <= {**present[id_], **new}.items())


def _missing(
    wanted: Mapping[str, str], present: Mapping[str, str], build: BuildArn, later: Collection[str]
) -> Mapping[str, str]:
    """Return the wanted tags that a resource lacks and has room for, and those with another value of this system."""
    try:
        earlier = BuildArn.parse(present.get(tags.IMAGE, ""))
    except ValueError:
        earlier = None
    if earlier and (earlier.order > build.order if earlier.name == build.name else earlier.text in later):
        # A newer build of the same AMI, or the same import under another name, made with "force".
        return {}
    own = tags.of_build(earlier) if earlier else {}
    room = _MAX_TAGS - sum(not key.startswith("aws:") for key in present)
    changed = {key: wanted[key] for key in own if present.get(key) == own[key] != wanted[key]}
    missing = [key for key in wanted if key not in present][: max(0, room)]
    return changed | {key: wanted[key] for key in missing}


def _create_tags(run: Run, ids: Sequence[str], missing: Mapping[str, str]) -> Sequence[str]:
    """Tag what has the same tags missing, and return the ids of what does not exist."""
    ec2 = run.invocation.clients.ec2
    if ec2.create_tags(ids, missing):
        return ()
    return [id_ for id_ in ids if len(ids) == 1 or not ec2.create_tags([id_], missing)]


TAG: Final = Step("tag", lambda settings: settings.tag_amis and not settings.observe, _look, _act)
