"""What must hold at the end of each history."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from local.aws.image_builder import Image
from tests.simulation.features import ON, Feature
from tests.simulation.follow_up import NOT_DONE, check_follow_up, names_of_others
from tests.simulation.history import History
from tests.simulation.imports import FILTER_TAG, FIXED_LATE, STATUS_MESSAGE, WITH_INVALID_TAG
from tests.simulation.others import UNUSABLE
from tests.simulation.stale_reads import RECORDS
from tests.simulation.state import Import, Notification, State
from tests.simulation.versions import check_uniqueness

CATEGORIES: Final = ("lost", "doubled", "wrong")
"""What a problem begins with."""
_WITHOUT_IMAGE: Final = ("failed", "cancelled", "raises always")
_TERMINAL: Final = {
    "AVAILABLE": "IMAGE_AVAILABLE",
    "DEPRECATED": "IMAGE_AVAILABLE",
    "FAILED": "IMAGE_FAILED",
    "CANCELLED": "IMAGE_FAILED",
}
"""The notification that must be sent of an image, by its status in the end."""
_LOOKS_FOR_WORK: Final = {"claim", "DescribeImportImageTasks", "Query", "DeleteItem"}
_REJECTIONS: Final = ("AccessDenied", "ServiceQuotaExceeded", "is no version", "was deregistered")
"""What tells the kinds of rejections apart, whatever else their texts are."""


def run_history(seed: int, features: frozenset[Feature] = ON) -> tuple[int, Counter[str], list[str]]:
    """Run one history and return its seed, how often each thing happened, and the problems."""
    history = History(seed, features).run()
    problems = list(check(history))
    history.state.counts.update(
        imports=len(history.state.imports),
        images=len(history.images),
        notifications=len(history.state.notifications),
        **{"notifications repeated because SNS's answer was lost": _repeated(history.state)},
    )
    return seed, history.state.counts, problems


def check(history: History) -> Iterator[str]:
    """Yield each problem: a word of CATEGORIES, a colon, and what is lost, doubled or wrong."""
    state = history.state
    for each in state.imports:
        yield from _check_images(history, each)
        yield from _check_registrations(history, each)
        yield from _check_notifications(history, each)
    yield from _check_ends(history)
    arns = {image.arn for image in history.images}
    for _, arn in state.registrations:
        if arn not in arns:
            yield f"wrong: {arn} was registered, and is no image of this system"
    tasks = {each.task for each in state.imports}
    for image in history.images:
        if image.params["vmImportTaskId"] not in tasks:
            yield f"wrong: {image.arn} is of no import"
    incremented = {each.task for each in state.imports if each.version is None}
    versioned = [image for image in history.images if image.params["vmImportTaskId"] in incremented]
    # The claims of a lost table are lost, too: then a version must only be higher than the visible ones.
    yield from check_uniqueness([image for image in versioned if image.arn in state.images_before_loss])
    yield from check_uniqueness([image for image in versioned if image.arn not in state.images_before_loss])
    for sent, times in Counter(state.notifications).items():
        if not any(task in sent.text for task in tasks):
            yield f"wrong: {sent.outcome} is about no import: {sent.text}"
        # What could not be done is reported again where another problem was reported meanwhile.
        if sent.outcome not in NOT_DONE and times > 1 + state.repeatable[sent.text]:
            yield f"doubled: {sent.outcome} was sent {times} times: {sent.text}"
    yield from _check_rejections(state)
    yield from check_follow_up(history, [*_known_images(history)])
    yield from state.violations


def _check_ends(history: History) -> Iterator[str]:
    """Check that each step has ended, and that a sweep with nothing to do calls nothing but what tells it so."""
    state = history.state
    before, after = history.left_open
    # What AWS does not show is waited for.
    gone = state.deregistered | {
        image.params["vmImportTaskId"] for image in _all(history) if image.arn in state.deleted
    }
    blocked = names_of_others(history, [*_known_images(history)])
    gone |= {image.params["vmImportTaskId"] for image in _all(history) if image.arn.split("/")[1] in blocked}
    if left := {id_ for id_ in before if id_.partition(" ")[0] not in gone} | after:
        yield f"lost: steps are left of {sorted(left)}"
    listed, unlisted = (calls.keys() - _LOOKS_FOR_WORK for calls in history.idle_calls)
    # Looking at an AMI may always fail, or the AMI is gone. A forced registration stays open for later options.
    if unexpected := unlisted - {RECORDS} | (set() if gone else listed - {RECORDS, "DescribeImages"}):
        yield f"wrong: a sweep that has nothing to do called {sorted(unexpected)}"


def _known_images(history: History) -> Iterator[Image]:
    """Yield the images that are recorded until the end."""
    state = history.state
    for each in state.imports:
        for image in _images_of_all(history, each):
            if (state.deployment, image.arn) in state.recorded and not _is_excused(state, each, image):
                yield image


def _check_images(history: History, each: Import) -> Iterator[str]:
    state, images = history.state, _images(history, each)
    replaced = sum(_is_replaced(state, image) for image in images)
    if len(images) > 1 + state.forced[each.task] + replaced:
        yield f"doubled: {each} has {len(images)} images and was forced {state.forced[each.task]} times"
    tokens = {image.params["clientToken"] for image in images}
    # A forced registration has the token of an earlier one whose record was lost.
    if len(tokens) + replaced < len(images) and not state.tokens_forgotten:
        yield f"doubled: {each} has two images of one client token"
    if _must_have_image(history, each) and each.task not in state.deregistered | state.recorded_tasks:
        yield f"lost: {each} is not recorded"
    if images and not _may_have_image(history, each):
        yield f"wrong: {each} has an image"
    for image in images:
        yield from _check_image(history, each, image)


def _check_image(history: History, each: Import, image: Image) -> Iterator[str]:
    parameters, source = dict(image.params), f"s3://exports/{each.key}"
    version = parameters.pop("semanticVersion")
    if version != each.version and not (each.version is None and version.startswith("1.")):
        yield f"wrong: {image.arn} should be {each.version}"
    if parameters.pop("description") not in {"Manual", f"Imported from {source} by {each.task}"}:
        yield f"wrong: {image.arn} is described as {image.params['description']}"
    expected = {
        "vm-image-import:task-id": each.task,
        "vm-image-import:source": source,
        "vm-image-import:architecture": "x86_64",
        "vm-image-import:license-type": "BYOL",
    }
    if history.state.filtered and not each.excluded:
        expected |= FILTER_TAG
    tags = {key: value for key, value in parameters.pop("tags").items() if (key, each.kind) != ("Team", "retagged")}
    ami = tags.pop("vm-image-import:ami-id")
    if tags != expected:
        yield f"wrong: {image.arn} has the tags {image.tags}"
    if each.kind != "cancelled" and ami != history.amis[each.task]:
        yield f"wrong: {image.arn} is of {ami}, but the import made {history.amis[each.task]}"
    del parameters["clientToken"]
    if parameters != {"name": each.name, "platform": "Linux", "vmImportTaskId": each.task}:
        yield f"wrong: {image.arn} was requested as {parameters}"


def _check_registrations(history: History, each: Import) -> Iterator[str]:
    """Check that each image is recorded, and answered as registered in each deployment at most once."""
    state = history.state
    for image in _images(history, each):
        times = [state.registrations.get((deployment, image.arn), 0) for deployment in range(state.deployment + 1)]
        if max(times) > 1:
            yield f"doubled: {image.arn} was registered {times} times"
        recorded = any(arn == image.arn for _, arn in state.recorded)
        if not recorded and not _is_excused(state, each, image):
            yield f"lost: {image.arn} is not recorded"
    if each.kind == "deregistered" and not each.excluded:
        said = [of for of in state.notifications if each.task in of.text and "was deregistered" in of.text]
        recorded = each.task in state.recorded_tasks
        if each.task in state.deregistered and not recorded and all(of.deployment < state.deployment for of in said):
            yield f"lost: no notification that the AMI of {each} is gone"


def _check_notifications(history: History, each: Import) -> Iterator[str]:
    state = history.state
    sent = {notification for notification in state.notifications if each.task in notification.text}
    if sent and _is_untouched(state, each):
        yield f"wrong: {each} is excluded, but has notifications: {sent}"
    yield from _check_failures(each, [of for of in sent if of.outcome == "IMPORT_FAILED"])
    images = _images_of_all(history, each)
    arns = {image.arn for image in images}
    for notification in sent:
        about = {*notification.text.replace("Image: ", "").splitlines()}
        if notification.outcome in {"IMAGE_AVAILABLE", "IMAGE_FAILED"} and not arns & about:
            yield f"wrong: {notification} is about an image that does not exist"
        if notification.outcome == "IMAGE_NOT_FOUND" and not arns & state.hidden:
            yield f"wrong: {each} has an image: {notification}"
    recorded = {arn for _, arn in state.recorded}
    for image in (each for each in images if each.arn in recorded or each.arn not in state.others_images):
        of_image = {of for of in sent if f"Image: {image.arn}" in of.text.splitlines() and of.outcome not in NOT_DONE}
        yield from _check_notifications_of_image(state, each, image, of_image)


def _check_failures(each: Import, failures: Sequence[Notification]) -> Iterator[str]:
    by_deployment = Counter(notification.deployment for notification in failures)
    if (each.kind != "failed" and failures) or any(times > 1 for times in by_deployment.values()):
        yield f"doubled: {len(failures)} notifications that {each} failed"
    # No sweep repeats the manual invocation of an excluded import, which may come before the failure or end by a fault.
    if each.kind == "failed" and not failures and not each.excluded:
        yield f"lost: no notification that {each} failed"
    if any(STATUS_MESSAGE not in notification.text for notification in failures):
        yield f"wrong: a notification that {each} failed has no status message: {failures}"


def _check_notifications_of_image(
    state: State, each: Import, image: Image, sent: Collection[Notification]
) -> Iterator[str]:
    """Check that the notification of an image's end is sent, in each deployment at most once."""
    # An image may be deleted before or after its notification, which says so where the AMI is gone.
    may_differ = image.arn in state.deleted or each.task in state.deregistered
    expected = {_TERMINAL[image.state["status"]]} if image.arn not in state.deleted else set()
    allowed = Counter({"IMAGE_AVAILABLE", "IMAGE_FAILED"} if may_differ else expected)
    for deployment in range(state.deployment + 1):
        counts = _count_distinct(state, [of for of in sent if of.deployment == deployment])
        distinct = {of for of in sent if of.deployment == deployment}
        # What was sent and not recorded may differ from what is true later.
        times = len(distinct) - sum(state.repeatable[of.text] for of in distinct)
        if not counts <= allowed or times > 1:
            yield f"doubled: the notifications of {image.arn} are {dict(counts)}"
    missing = expected and not allowed.keys() & {notification.outcome for notification in sent}
    if missing and not _is_excused(state, each, image):
        yield f"lost: {image.arn} has no notification {', '.join(sorted(allowed))}"


def _is_excused(state: State, each: Import, image: Image) -> bool:
    """Return whether a notification of the image may be missing."""
    # The client token of a request that was ended came with other values later, or they cannot be read any more.
    changed = each.kind in {"retagged", *WITH_INVALID_TAG} or each.task in state.overridden
    unfound = changed and each.task in state.token_mismatches and not state.has(Feature.RECOVERED_IMAGES)
    # With its record, an image is lost that the sweep does not look for: of a forced, a manual or a failed import.
    forgotten = image.arn in state.images_before_loss and (
        bool(state.forced[each.task]) or each.excluded or each.kind == "cancelled"
    )
    # Without its AMI, an import is not registered again.
    gone = each.task in state.deregistered and (state.deployment, image.arn) not in state.recorded
    # One of several images of an import is recorded, where it was not forced. After the table was lost, the available
    # one of another user comes before a deprecated one.
    of_task = {place for place, task in state.recorded.items() if task == each.task}
    of_others = {deployment for deployment, arn in of_task if arn in state.others_images}
    of_image = {deployment for deployment, arn in of_task if arn == image.arn}
    is_deprecated = image.state["status"] == "DEPRECATED"
    passed_over = is_deprecated and state.deployment in of_others and state.deployment not in of_image
    second = passed_over or bool(of_others and not of_image)
    excused = image.arn in state.unrecorded_images | state.deleted or _is_replaced(state, image)
    return unfound or forgotten or gone or second or excused


def _count_distinct(state: State, sent: Collection[Notification]) -> Counter[str]:
    """Return how many notifications were sent by outcome, without those that repeat an unrecorded one.

    The text of the repeated one differs where an operator has deprecated the image meanwhile.
    """
    counts = Counter(notification.outcome for notification in sent)
    for notification in sent:
        counts[notification.outcome] = max(1, counts[notification.outcome] - state.repeatable[notification.text])
    return counts


def _check_rejections(state: State) -> Iterator[str]:
    """Check that a rejection is reported when its kind changes, and not when only its text does."""
    doubled: list[Notification] = []
    repeatable = 0
    for each in state.imports:
        attempts = [of for of in state.attempts if of.outcome == "REJECTED" and each.task in of.text]
        kinds = [_rejection(of.text) for of in attempts]
        if "" in kinds or ("is no version" in kinds and each.kind not in WITH_INVALID_TAG):
            yield f"wrong: {each} was rejected: {attempts}"
        adopted = any(arn in state.others_images and task == each.task for (_, arn), task in state.recorded.items())
        if each.kind in FIXED_LATE and "is no version" not in kinds and not each.excluded and not adopted:
            yield f"lost: no notification that {each} is rejected"
        repeatable += sum(state.repeatable[text] for text in {of.text for of in attempts})
        last: tuple[int, str] | None = None
        for notification, kind in zip(attempts, kinds, strict=True):
            if notification.accepted and last == (notification.deployment, kind):
                doubled.append(notification)
            last = (notification.deployment, kind) if notification.accepted else last
    if len(doubled) > repeatable:
        yield f"doubled: {len(doubled)} rejections were sent again, of which {repeatable} may be: {doubled}"


def _rejection(text: str) -> str:
    return next((kind for kind in _REJECTIONS if kind in text), "")


def _is_replaced(state: State, image: Image) -> bool:
    """Return whether the import is registered again, because its image cannot be used and there is no record of it."""
    return (state.deployment, image.arn) not in state.recorded and image.state["status"] in UNUSABLE


def _images(history: History, each: Import) -> list[Image]:
    return [image for image in history.images if image.params["vmImportTaskId"] == each.task]


def _images_of_all(history: History, each: Import) -> list[Image]:
    """Return the images of an import, also those that another user requested."""
    return [image for image in _all(history) if image.params["vmImportTaskId"] == each.task]


def _all(history: History) -> list[Image]:
    return [*history.images, *history.others_images]


def _must_have_image(history: History, each: Import) -> bool:
    """Return whether there must be an image in the end. An import may complete before it can be cancelled."""
    completed = each.kind == "cancelled" and history.statuses[each.task] == "completed"
    return (each.kind not in _WITHOUT_IMAGE or completed) and not each.excluded


def _may_have_image(history: History, each: Import) -> bool:
    if _is_untouched(history.state, each):
        return False
    return each.kind not in _WITHOUT_IMAGE or (
        each.kind == "cancelled" and (history.ami_comes_first or history.statuses[each.task] == "completed")
    )


def _is_untouched(state: State, each: Import) -> bool:
    """Return whether nothing may happen to the import: it is excluded, and no manual invocation registers it."""
    return each.excluded and each.task not in state.manual


def _repeated(state: State) -> int:
    return sum(times - 1 for times in Counter(state.notifications).values())
