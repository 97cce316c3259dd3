"""Makes botocore's models small: EC2's alone takes longer to read than everything else that a run does."""

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_UNUSED: Final = frozenset({"examples-1.json", "waiters-2.json"})


class UnknownOperationError(Exception):
    """botocore knows no such service or operation."""


def prune(data: Path, operations: Mapping[str, frozenset[str]]) -> None:
    """Leave in botocore's folder `data` what some operations, named by service, need: in their newest API version.

    Kept are the operations, the services' errors, every shape that these reach, the operations' paginators, the
    services' endpoints in all Regions, and whatever is of no one service. Requests, answers and errors stay as they
    were; documentation goes, and what was compressed comes out plain. Raises UnknownOperationError, with every problem
    at once, before anything is changed.
    """
    newest = {service: _newest(data / service) for service in operations if (data / service).is_dir()}
    known = {service: _read(next(folder.glob("service-2.json*"))) for service, folder in newest.items()}
    unknown = [
        f"{service}:{name}"
        for service, names in operations.items()
        for name in sorted(names - known.get(service, {"operations": {}})["operations"].keys())
    ]
    if unknown:
        message = f"botocore does not know {', '.join(unknown)}."
        raise UnknownOperationError(message)
    for folder in [path for path in data.iterdir() if path.is_dir()]:
        if folder.name not in newest:
            shutil.rmtree(folder)
    for service, folder in newest.items():
        for older in [path for path in folder.parent.iterdir() if path != folder]:
            shutil.rmtree(older)
        for path in [*folder.iterdir()]:
            _rewrite(path, operations[service])
    endpoints = _read(data / "endpoints.json")
    for partition in endpoints["partitions"]:
        partition["services"] = _only(partition["services"], newest)
    _write(data / "endpoints.json", endpoints)


def _rewrite(path: Path, operations: frozenset[str]) -> None:
    """Replace one file of a service."""
    content, name = _read(path), path.name.removesuffix(".gz")
    path.unlink()
    match name:
        case "service-2.json":
            content = _without_documentation(_pruned(content, operations))
        case "paginators-1.json":
            content["pagination"] = _only(content["pagination"], operations)
        case "paginators-1.sdk-extras.json":
            content["merge"]["pagination"] = _only(content["merge"]["pagination"], operations)
    if name not in _UNUSED:
        _write(path.with_name(name), content)


def _pruned(model: Mapping[str, Any], operations: frozenset[str]) -> dict[str, Any]:
    kept = _only(model["operations"], operations)
    reached: set[str] = set()
    # botocore reads every error that its service declares, also where the operation does not.
    waiting = {*_shapes_in(kept), *(name for name, shape in model["shapes"].items() if shape.get("exception"))}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= set(_shapes_in(model["shapes"][name])) - reached
    return {**model, "operations": kept, "shapes": _only(model["shapes"], reached)}


def _shapes_in(part: object) -> Iterator[str]:
    """Yield the names of the shapes that a part of a model refers to."""
    if isinstance(part, dict):
        # A member can be called `shape`, too: it is a map then.
        if isinstance(name := part.get("shape"), str):
            yield name
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _shapes_in(each)


def _without_documentation(part: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(part, list):
        return [_without_documentation(each) for each in part]
    if isinstance(part, dict):
        # A member can be called `documentation`, too: it is a map then.
        return {
            key: _without_documentation(value)
            for key, value in part.items()
            if key != "documentation" or not isinstance(value, str)
        }
    return part


def _only(entries: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the entries of some names in their old order: the same input has to give the same file."""
    wanted = frozenset(names)
    return {name: entry for name, entry in entries.items() if name in wanted}


def _newest(service: Path) -> Path:
    """Return the folder of the API version that botocore takes when none is asked for."""
    return max(path.parent for path in service.glob("*/service-2.json*"))


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
