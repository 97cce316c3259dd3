"""The validation that AWS does: an operation's parameters against botocore's model and the limits that it lacks.

boto3 checks types, required members and minimum lengths before it sends a request; patterns, maxima and enums are
checked by the service only.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

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
_IMAGE_NAME: Final = str(get_service_model("imagebuilder").shape_for("ResourceName").metadata["pattern"])


def check(service: str, operation: str, params: Mapping[str, Any]) -> list[str]:
    """Return what is invalid in the parameters of an operation.

    In: names as in botocore ("imagebuilder", "ImportVmImage") and the parameters as boto3 takes them.
    Out: one text for each violated constraint, worded as AWS's services do (observed output).
    """
    shape = get_service_model(service).operation_model(operation).input_shape
    in_model = [] if shape is None else list(_violations(shape, params, ""))
    return in_model or list(_violations_beyond_model(operation, params))


def message(problems: Sequence[str]) -> str:
    """Return the message of the one error that reports all problems, as AWS's services write it (observed output)."""
    return f"{len(problems)} validation error{'s'[: len(problems) > 1]} detected: {'; '.join(problems)}"


def _violations_beyond_model(operation: str, params: Mapping[str, Any]) -> Iterator[str]:
    """Yield the violations of documented limits that botocore's model does not have."""
    if operation != "ImportVmImage":
        return
    # The name is any text in the model, but GetImage returns it as a ResourceName: inferred to hold for both.
    if not _matches(_IMAGE_NAME, name := params["name"]):
        yield _violation(name, "name", f"Member must satisfy regular expression pattern: {_IMAGE_NAME}")
    # API reference, "Semantic version": each node is at most 2^30-1. Leading zeros are allowed: its own example is
    # "2021.01.01".
    version = params["semanticVersion"]
    nodes = [node.lstrip("0") for node in version.split(".")]
    if any(len(node) > len(str(_NODE_MAX)) or int(node or 0) > _NODE_MAX for node in nodes):
        constraint = f"Each node of the version must have value less than or equal to {_NODE_MAX}"
        yield _violation(version, "semanticVersion", constraint)
    # User guide: the service-linked role may write to log groups with this prefix only.
    group = (params.get("loggingConfiguration") or {}).get("logGroupName")
    if group and not group.startswith("/aws/imagebuilder/"):
        yield _violation(group, "loggingConfiguration.logGroupName", "Member must begin with /aws/imagebuilder/")


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - its type is checked here
    wrong_type = not isinstance(value, _TYPES.get(shape.type_name, object))
    if wrong_type or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield _violation(value, path, f"Member must be of type {shape.type_name}")
        return
    yield from (_violation(value, path, constraint) for constraint in _violated_constraints(shape, value))
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
    for part, member, items in (("keys", shape.key, value.keys()), ("value", shape.value, value.values())):
        for problems in filter(None, (list(_violations(member, item, path)) for item in items)):
            inner = ", ".join(problem.partition(" constraint: ")[2] for problem in problems)
            yield _violation(value, path, f"Map {part} must satisfy constraint: [{inner}]")


def _violated_constraints(shape: Shape, value: Any) -> Iterator[str]:  # noqa: ANN401 - as in _violations
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
    # Inferred: the whole text has to match, and \s, \d and \w are ASCII only.
    return re.fullmatch(pattern, value, re.ASCII) is not None


def _violation(value: object, path: str, constraint: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"
