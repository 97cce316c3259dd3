"""The imports of a history."""

from typing import Final

from tests.simulation.features import Feature
from tests.simulation.state import Import, State, client

BUCKET: Final = "exports"
STATUS_MESSAGE: Final = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
"""Of an import that fails."""
_METADATA: Final = {
    "failed": {"status-message": STATUS_MESSAGE},
    "image fails": {"image-reason": "Image Builder cannot make the image."},
}
KINDS: Final = (
    *("valid", "valid", "unversioned", "failed", "cancelled", "invalid tag", "invalid tag fixed late", "retagged"),
    *("raises always", "deregistered", "image fails"),
)
FIXED_LAST: Final = "invalid tag fixed last"
FIXED_LATE: Final = ("invalid tag fixed late", FIXED_LAST)
WITH_INVALID_TAG: Final = ("invalid tag", *FIXED_LATE)


_SHARED_NAMES: Final = ("web-x", "Web-x", "web_x", "Web x")
"""Image Builder takes them for one name."""
FILTER_TAG: Final = {"Import": "yes"}


def start_imports(state: State) -> None:
    """Start up to six imports, some of them in a combination that has found defects."""
    kinds = state.random.choices(KINDS, k=state.random.randint(1, 3))
    if state.random.random() < 0.4:
        # A task that always raises, beside one that the last sweep must register.
        kinds += ["raises always", "invalid tag fixed late"]
    if state.has(Feature.REGISTERED_LATE) and state.random.random() < 0.2:
        kinds.append(FIXED_LAST)
    for kind in kinds:
        _start_import(state, kind, f"vm-{len(state.imports)}-x")
    if state.has(Feature.SHARED_NAMES) and state.random.random() < 0.25:
        for _ in range(state.random.randint(2, 3)):
            _start_import(state, "unversioned", state.random.choice(_SHARED_NAMES))
        state.refused[state.imports[-1].task] = "denied"


def _start_import(state: State, kind: str, name: str) -> None:
    number = len(state.imports)
    state.counts[f"imports: {kind}"] += 1
    suffix, version = ("", None) if kind == "unversioned" else (f"-1.{number}", f"1.{number}.0")
    key = f"{number}/{name}{suffix}.ova"
    metadata = {"platform": "Linux", **_METADATA.get(kind, {})}
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"disk", Metadata=metadata)
    invalid = kind in WITH_INVALID_TAG
    excluded = state.filtered and state.random.random() < 0.4
    tags = ({"Version": "latest"} if invalid else {}) | (FILTER_TAG if state.filtered and not excluded else {})
    specification = {
        "ResourceType": "import-image-task",
        "Tags": [{"Key": tag, "Value": value} for tag, value in tags.items()],
    }
    task = client("ec2").import_image(
        DiskContainers=[{"UserBucket": {"S3Bucket": BUCKET, "S3Key": key}}],
        TagSpecifications=[specification] if tags else [],
    )["ImportTaskId"]
    state.imports.append(Import(task, kind, key, name, "7.0.0" if invalid else version, excluded))
