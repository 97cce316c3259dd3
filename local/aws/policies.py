"""Policies: whether their statements allow a request, by action, resource and condition. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

Statement = Mapping[str, Any]

_OPERATORS: Final = ("StringEquals", "StringLike", "ArnEquals", "ArnLike", "Bool", "Null")


@dataclass(frozen=True)
class AuthorizationRequest:
    """An action on a resource, with the values of condition keys as context."""

    action: str
    resource: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """A key has one value, or a list of them."""


def allows(statements: Iterable[Statement], request: AuthorizationRequest, service: str | None = None) -> bool:
    """Return whether policy statements allow a request; an explicit Deny wins.

    `service` is the calling service principal, for a resource's policy; a role's policy has no principals. Raises
    NotImplementedError for an element or a condition operator that is not implemented.
    """
    effects = {statement["Effect"] for statement in statements if _matches(statement, request, service)}
    return effects == {"Allow"}


def statements_of(document: str) -> list[Statement]:
    """Return the statements of a policy document."""
    return _list(json.loads(document)["Statement"])


def _matches(statement: Statement, request: AuthorizationRequest, service: str | None) -> bool:
    if unknown := statement.keys() - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition", "FunctionName"}:
        message = f"These policy elements are not implemented: {sorted(unknown)}"
        raise NotImplementedError(message)
    principal = statement.get("Principal")
    services = (
        [name for names in principal.values() for name in _list(names)] if isinstance(principal, dict) else [principal]
    )
    return (
        (service is None or bool({service, "*"} & {*services}))
        # Actions are not case-sensitive.
        and any(_like(request.action.lower(), action.lower()) for action in _list(statement["Action"]))
        and any(_like(request.resource, resource) for resource in _list(statement["Resource"]))
        and _conditions_hold(statement.get("Condition", {}), request.context)
    )


def _conditions_hold(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str | Sequence[str]]) -> bool:
    """Return whether every condition holds for the values of its key."""
    # Condition keys are not case-sensitive.
    values = {key.lower(): _list(value) for key, value in context.items()}
    return all(
        _holds(operator, _list(allowed), values.get(key.lower()))
        for operator, keys in conditions.items()
        for key, allowed in keys.items()
    )


def _holds(operator: str, allowed: Sequence[str], values: Sequence[str] | None) -> bool:
    """Return whether a condition holds for the values of its key; None for a key that the request does not have.

    Without a value it fails, except with `Null`, and with `ForAllValues`, which then has nothing to compare.
    """
    for_all, _, comparison = operator.rpartition(":")
    if for_all not in {"", "ForAllValues"} or comparison not in _OPERATORS:
        message = f"The condition operator {operator} is not implemented."
        raise NotImplementedError(message)
    if comparison == "Null":
        return str(values is None).lower() in allowed
    if not for_all and len(values or ()) != 1:
        return False
    equal = str.__eq__ if comparison in {"StringEquals", "Bool"} else _like
    return all(any(equal(value, each) for each in allowed) for value in values or ())


def _like(value: str, pattern: str) -> bool:
    """Return whether a value matches: `*` is any text, also with `/` and `:`, and `?` any character."""
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - policies have one string or several
    return value if isinstance(value, list) else [value]
