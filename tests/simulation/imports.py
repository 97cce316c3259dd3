"""The imports of a history."""

from typing import Final

from tests.simulation.state import Import, State, client

BUCKET: Final = "exports"
STATUS_MESSAGE: Final = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
"""Of an import that fails."""
KINDS: Final = (
    *("valid", "valid", "unversioned", "failed", "cancelled", "invalid tag", "invalid tag fixed late", "retagged"),
    *("raises always", "deregistered", "image fails"),
)
WITH_INVALID_TAG: Final = ("invalid tag", "invalid tag fixed late")


def start_imports(state: State) -> None:
    """Start one to three imports, and often a task that always raises beside one that the last sweep must register."""
    kinds = state.random.choices(KINDS, k=state.random.randint(1, 3))
    if state.random.random() < 0.4:
        kinds += ["raises always", "invalid tag fixed late"]
    for kind in kinds:
        _start_import(state, kind)


def _start_import(state: State, kind: str) -> None:
    number = len(state.imports)
    state.counts[f"imports: {kind}"] += 1
    name = f"vm-{number}-x"
    key, version = (f"{name}.ova", "1.0.0") if kind == "unversioned" else (f"{name}-1.{number}.ova", f"1.{number}.0")
    metadata = {"platform": "Linux"} | ({"status-message": STATUS_MESSAGE} if kind == "failed" else {})
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"disk", Metadata=metadata)
    invalid = kind in WITH_INVALID_TAG
    tags = [{"Key": "Version", "Value": "latest"}] if invalid else []
    task = client("ec2").import_image(
        DiskContainers=[{"UserBucket": {"S3Bucket": BUCKET, "S3Key": key}}],
        TagSpecifications=[{"ResourceType": "import-image-task", "Tags": tags}] if tags else [],
    )["ImportTaskId"]
    state.imports.append(Import(task, kind, key, name, "7.0.0" if invalid else version))
