"""What AWS refuses on its side: an operation's input held against botocore's service model and the limits it lacks.

boto3 checks types, required members and minimum lengths before it sends; patterns, maxima and enums are left to the
service.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from botocore.model import ListShape, MapShape, Shape, StructureShape
from moto.core.utils import get_service_model

_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "list": (list, tuple),
    "map": Mapping,
    "structure": Mapping,
}

_NODE_MAX: Final = 2**30 - 1
# The API reference has said 25 where the model says 100: a caller that keeps to 25 is right either way.
_PAGE_MAX: Final = 25


class _Limit(NamedTuple):
    """One rule that the model does not carry: where it applies, when it holds, and the text for when it does not."""

    operation: str
    member: str
    holds: Callable[[Any], bool]
    constraint: str


_IMAGE_NAME: Final = str(get_service_model("imagebuilder").shape_for("ResourceName").metadata["pattern"])
_LIMITS: Final = (
    # The request's name is any text in the model, but GetImage answers it as a ResourceName: inferred to hold for both.
    _Limit(
        "ImportVmImage",
        "name",
        lambda name: _matches(_IMAGE_NAME, name),
        f"Member must satisfy regular expression pattern: {_IMAGE_NAME}",
    ),
    # API reference, "Semantic version": each node is at most 2^30-1. Zeros in front do not count: its own example
    # is "2021.01.01".
    _Limit(
        "ImportVmImage",
        "semanticVersion",
        lambda version: all(len(n) <= len(str(_NODE_MAX)) and int(n or 0) <= _NODE_MAX for n in _nodes(version)),
        f"Each node of the version must have value less than or equal to {_NODE_MAX}",
    ),
    # User guide: the service-linked role may write to log groups below this prefix only.
    _Limit(
        "ImportVmImage",
        "loggingConfiguration.logGroupName",
        lambda group: str(group).startswith("/aws/imagebuilder/"),
        "Member must begin with /aws/imagebuilder/",
    ),
    *(
        _Limit(
            operation,
            "maxResults",
            lambda size: int(size) <= _PAGE_MAX,
            f"Member must have value less than or equal to {_PAGE_MAX}",
        )
        for operation in ("ListImages", "ListImageBuildVersions")
    ),
)


def check(service: str, operation: str, params: Mapping[str, object]) -> list[str]:
    """Return what AWS would say against the parameters of an operation, nothing when they are fine.

    In: names as in botocore ("imagebuilder", "ImportVmImage") and the parameters as boto3 takes them.
    Out: one text per violated constraint, in the words of AWS's services (observed output).
    """
    shape = get_service_model(service).operation_model(operation).input_shape
    problems = [] if shape is None else list(_violations(shape, params, ""))
    if problems:
        return problems
    return [
        _failed(value, limit.member, limit.constraint)
        for limit in _LIMITS
        if limit.operation == operation
        and (value := _member(params, limit.member)) is not None
        and not limit.holds(value)
    ]


def message(problems: Sequence[str]) -> str:
    """Return the text of the one error that reports all problems, as AWS's services write it (observed output)."""
    return f"{len(problems)} validation error{'s'[: len(problems) > 1]} detected: {'; '.join(problems)}"


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 this is where its type is checked
    wrong_type = not isinstance(value, _TYPES.get(shape.type_name, object))
    if wrong_type or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield _failed(value, path, f"Member must be of type {shape.type_name}")
        return
    yield from (_failed(value, path, constraint) for constraint in _broken(shape, value))
    if isinstance(shape, StructureShape):
        yield from _in_structure(shape, value, path)
    elif isinstance(shape, ListShape):
        for number, item in enumerate(value, start=1):
            yield from _violations(shape.member, item, f"{path}.{number}.member")
    elif isinstance(shape, MapShape):
        yield from _in_map(shape, value, path)


def _in_structure(shape: StructureShape, value: Mapping[str, object], path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{prefix}{name}' failed to satisfy constraint: Member must not be null"
    for name, item in value.items():
        if name not in shape.members:
            yield f"Unknown parameter '{prefix}{name}'"
        elif item is not None:
            yield from _violations(shape.members[name], item, f"{prefix}{name}")


def _in_map(shape: MapShape, value: Mapping[str, object], path: str) -> Iterator[str]:
    for what, part, items in (("keys", shape.key, value.keys()), ("value", shape.value, value.values())):
        for broken in filter(None, (list(_violations(part, item, path)) for item in items)):
            inner = ", ".join(problem.partition(" constraint: ")[2] for problem in broken)
            yield _failed(value, path, f"Map {what} must satisfy constraint: [{inner}]")


def _broken(shape: Shape, value: Any) -> Iterator[str]:  # noqa: ANN401 as in _violations
    rules = shape.metadata
    by_length = shape.type_name in {"string", "list", "map"}
    measure, size = ("length", len(value)) if by_length else ("value", value)
    if "min" in rules and size < rules["min"]:
        yield f"Member must have {measure} greater than or equal to {rules['min']}"
    if "max" in rules and size > rules["max"]:
        yield f"Member must have {measure} less than or equal to {rules['max']}"
    if "pattern" in rules and not _matches(rules["pattern"], value):
        yield f"Member must satisfy regular expression pattern: {rules['pattern']}"
    if "enum" in rules and value not in rules["enum"]:
        yield f"Member must satisfy enum value set: [{', '.join(rules['enum'])}]"


def _matches(pattern: str, value: str) -> bool:
    # AWS evaluates patterns in Java: the whole text has to match, and \s, \d and \w are ASCII only.
    return re.fullmatch(pattern, value, re.ASCII) is not None


def _failed(value: object, path: str, constraint: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"


def _nodes(version: str) -> list[str]:
    return [node.lstrip("0") for node in version.split(".")]


def _member(params: Any, path: str) -> Any:  # noqa: ANN401 as in _violations
    for name in path.split("."):
        params = params.get(name) if params is not None else None
    return params
