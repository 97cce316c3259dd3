"""CloudFormation's change sets, as it answers them (API reference, `CreateChangeSet` and the others).

moto looks for a name in the change sets of all stacks, fails where there is none, makes a second stack of one name, and
leaves a stack as it is where a resource cannot be made.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import CloudFormationError, ValidationError
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Stack, cloudformation_backends
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult, EmptyResult

_NEW: Final = "REVIEW_IN_PROGRESS"
"""The status of a stack of which nothing was created yet."""


class ChangeSetNotFoundError(CloudFormationError):
    """There is no such change set."""

    code = "ChangeSetNotFound"


def install() -> None:
    """Make moto's CloudFormation answer as AWS does."""
    CloudFormationResponse.create_change_set = _created(CloudFormationResponse.create_change_set)  # type: ignore[assignment,method-assign]
    CloudFormationResponse.delete_change_set = _delete  # type: ignore[method-assign]
    CloudFormationResponse.describe_change_set = _describe  # type: ignore[method-assign]
    CloudFormationResponse.execute_change_set = _execute  # type: ignore[method-assign]
    # What was passed, or is the default, and not what a parameter of SSM had as its value: it can be passed again.
    Stack.stack_parameters = property(_parameters)  # type: ignore[assignment,method-assign]
    ChangeSet.diff = _with_details(ChangeSet.diff)  # type: ignore[assignment,method-assign]


def _created(create: Callable[[CloudFormationResponse], ActionResult]) -> Callable[[CloudFormationResponse], Any]:
    @wraps(create)
    def create_change_set(self: CloudFormationResponse) -> ActionResult:
        backend: CloudFormationBackend = self.cloudformation_backend
        name, change_set = self._get_param("StackName"), self._get_param("ChangeSetName")
        stack = _find_stack(backend, name)
        if self._get_param("ChangeSetType", "CREATE") == "UPDATE":
            if stack is None:
                raise ValidationError(message=f"Stack [{name}] does not exist")
            return create(self)
        if stack and stack.status != _NEW:
            message = f"Stack [{name}] already exists and cannot be created again with the changeSet [{change_set}]"
            raise ValidationError(message=message)
        if stack:
            del backend.stacks[stack.stack_id]
        return create(self)

    return create_change_set


def _delete(self: CloudFormationResponse) -> EmptyResult:
    if found := _find(self):
        del self.cloudformation_backend.change_sets[found.change_set_id]
    return EmptyResult()


def _describe(self: CloudFormationResponse) -> ActionResult:
    return ActionResult(_existing(self))


def _execute(self: CloudFormationResponse) -> EmptyResult:
    """Execute a change set. Where a resource cannot be made, the stack is as it was before, and its events say why."""
    change_set = _existing(self)
    stack = change_set.stack
    kind, before = change_set.change_set_type, stack.resource_map._template  # noqa: SLF001 - there is no other access
    stack._add_stack_event(f"{kind}_IN_PROGRESS", resource_status_reason="User Initiated")  # noqa: SLF001 - as above
    try:
        change_set.apply()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason of the event
        stack._add_stack_event(f"{kind}_FAILED", resource_status_reason=str(error))  # noqa: SLF001 - as above
        if kind == "CREATE":
            stack.resource_map.delete()
            stack.status = "ROLLBACK_COMPLETE"
        else:
            stack.resource_map.update(before)
            stack.status = "UPDATE_ROLLBACK_COMPLETE"
        change_set.execution_status = "EXECUTE_FAILED"
    else:
        stack.template, stack.parameters, stack.tags = change_set.template, change_set.parameters, change_set.tags or {}
        stack.output_map = parsing.OutputMap(stack.resource_map, change_set.template_dict, stack.stack_id)
        exports = cloudformation_backends[stack.account_id][stack.region_name].exports
        exports.update({export.name: export for export in stack.exports})
        stack.status = f"{kind}_COMPLETE"
        change_set.execution_status = "EXECUTE_COMPLETE"
    stack._add_stack_event(stack.status)  # noqa: SLF001 - as above
    return EmptyResult()


def _with_details(diff: Callable[[ChangeSet], list[Change]]) -> Callable[[ChangeSet], list[Change]]:
    """Add the properties that change, without which `cdk diff` does not show a resource."""

    @wraps(diff)
    def detailed(self: ChangeSet) -> list[Change]:
        before, after = self.stack.resource_map._resource_json_map, self.template_dict["Resources"]  # noqa: SLF001 - as above
        changes = diff(self)
        for change in changes:
            if change.action == "Modify":
                name = change.logical_resource_id
                old, new = before[name].get("Properties", {}), after[name].get("Properties", {})
                # Every update here is one in place.
                change.replacement = "False"  # type: ignore[attr-defined]
                change.details = [  # type: ignore[attr-defined]
                    {"Target": {"Attribute": "Properties", "Name": key, "RequiresRecreation": "Never"}}
                    for key in sorted(old.keys() | new.keys())
                    if old.get(key) != new.get(key)
                ]
        return changes

    return detailed


def _find_stack(backend: CloudFormationBackend, name: str) -> Stack | None:
    return next((stack for stack in backend.stacks.values() if name in {stack.name, stack.stack_id}), None)


def _find(response: CloudFormationResponse) -> ChangeSet | None:
    """Return the change set that a request names: by its ARN, or by its name and that of its stack."""
    name, stack = response._get_param("ChangeSetName"), response._get_param("StackName")  # noqa: SLF001 - as above
    backend = response.cloudformation_backend
    for each in backend.change_sets.values():
        of_stack = each.change_set_name == name and stack in {each.stack_name, each.stack_id}
        # Those of a deleted stack are deleted with it.
        if (each.change_set_id == name or of_stack) and each.stack_id in backend.stacks:
            return each
    return None


def _existing(response: CloudFormationResponse) -> ChangeSet:
    if found := _find(response):
        return found
    name = response._get_param("ChangeSetName")  # noqa: SLF001 - as above
    message = f"ChangeSet [{name}] does not exist"
    raise ChangeSetNotFoundError(message)


def _parameters(stack: Stack) -> dict[str, Any]:
    slots = stack.resource_map._template.get("Parameters", {})  # noqa: SLF001 - as above
    defaults = {name: slot.get("Default") for name, slot in slots.items()}
    return defaults | {name: value for name, value in stack.parameters.items() if name in slots}
