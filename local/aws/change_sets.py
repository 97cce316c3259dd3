"""CloudFormation's deployments: change sets, and rollback.

moto has change sets, but finds them by name in all stacks, leaves a stack behind where it refuses a template, forgets
parameters, and answers no failure. `install` completes this.
"""

from typing import Any, Final

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Event, Stack, StackSet
from moto.cloudformation.parsing import OutputMap
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult, EmptyResult

from local.aws import updates
from local.aws.common import ServiceError

_EXISTS: Final = "AlreadyExistsException"
_NOT_EXECUTABLE: Final = "InvalidChangeSetStatus"
_NOT_FOUND: Final = "ChangeSetNotFound"
_CREATABLE: Final = "REVIEW_IN_PROGRESS"
# A stack in these states cannot be updated (user guide, "Stack status codes").
_NOT_UPDATABLE: Final = {_CREATABLE, "ROLLBACK_COMPLETE"}
_create_change_set: Final = CloudFormationBackend.create_change_set
_diff: Final = ChangeSet.diff


def install() -> None:
    """Complete moto's change sets. A second call changes nothing."""
    for operation in (create_change_set, describe_change_set, delete_change_set, execute_change_set):
        setattr(CloudFormationResponse, operation.__name__, operation)
    for method in (create_resources, update):
        setattr(Stack, method.__name__, method)
    ChangeSet.diff = diff  # type: ignore[method-assign]
    CloudFormationBackend._resolve_update_parameters = _previous_values  # type: ignore[assignment,method-assign]  # noqa: SLF001 - there is no other hook


def create_change_set(self: CloudFormationResponse) -> ActionResult:
    """CreateChangeSet. A refused template leaves no stack behind.

    Raises NotImplementedError for a change set that takes account of drift.
    """
    backend, params = self.cloudformation_backend, self._get_params()
    if mode := params.get("DeploymentMode"):
        message = f"The deployment mode {mode} is not implemented."
        raise NotImplementedError(message)
    name, kind = params["StackName"], params.get("ChangeSetType", "UPDATE")
    stack = next((each for each in backend.stacks.values() if name in {each.name, each.stack_id}), None)
    if kind == "UPDATE":
        stack = backend.get_stack(name)
        if stack.status in _NOT_UPDATABLE:
            raise ValidationError(message=f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")
    elif stack and stack.status != _CREATABLE:
        message = f"Stack [{name}] already exists and cannot be created again with the changeSet"
        raise ValidationError(message=f"{message} [{params['ChangeSetName']}].")
    if stack and _find(backend, params["ChangeSetName"], stack.stack_id):
        raise ServiceError(_EXISTS, f"ChangeSet {params['ChangeSetName']} cannot be created, it already exists")
    previous = set(backend.stacks)
    try:
        identifiers = _create_change_set(
            backend,
            stack_name=name,
            change_set_name=params["ChangeSetName"],
            template=_template(self, stack),
            parameters=_previous_values(backend, stack, params.get("Parameters", [])),
            description=params.get("Description", ""),
            notification_arns=params.get("NotificationARNs", []),
            tags={tag["Key"]: tag["Value"] for tag in params.get("Tags", [])},
            role_arn=params.get("RoleARN"),
            change_set_type=kind,
        )
    except Exception:
        for stack_id in set(backend.stacks) - previous:
            del backend.stacks[stack_id]
        raise
    change_set = backend.change_sets[identifiers[0]]
    if stack and kind != "UPDATE":
        # The new change set is one more of the stack that waits for its review.
        del backend.stacks[change_set.stack_id]
        change_set.stack, change_set.stack_id = stack, stack.stack_id
    return ActionResult({"Id": change_set.change_set_id, "StackId": change_set.stack_id})


def describe_change_set(self: CloudFormationResponse) -> ActionResult:
    """DescribeChangeSet."""
    return ActionResult(_requested(self))


def delete_change_set(self: CloudFormationResponse) -> EmptyResult:
    """DeleteChangeSet. It succeeds, too, where there is no such change set (API reference)."""
    params = self._get_params()
    if change_set := _find(self.cloudformation_backend, params["ChangeSetName"], params.get("StackName")):
        del self.cloudformation_backend.change_sets[change_set.change_set_id]
    return EmptyResult()


def execute_change_set(self: CloudFormationResponse) -> EmptyResult:
    """ExecuteChangeSet. Afterwards the stack has no change sets (API reference)."""
    backend, change_set = self.cloudformation_backend, _requested(self)
    if change_set.execution_status != "AVAILABLE":
        message = f"ChangeSet [{change_set.change_set_id}] cannot be executed in its current status of"
        raise ServiceError(_NOT_EXECUTABLE, f"{message} [{change_set.status}]")
    stack: Stack = change_set.stack
    for each in [each for each in backend.change_sets.values() if each.stack_id == stack.stack_id]:
        del backend.change_sets[each.change_set_id]
    if change_set.change_set_type == "CREATE":
        _add_event(stack, "CREATE_IN_PROGRESS", "User Initiated")
        _set_template(stack, change_set.template, change_set.parameters)
        stack.create_resources()
    else:
        stack.update(change_set.template, change_set.role_arn, change_set.parameters, change_set.tags)
    backend.exports.update({export.name: export for export in stack.exports})
    return EmptyResult()


def diff(self: ChangeSet) -> list[Change]:
    """Return the changes with the properties that change, without which `cdk diff` does not show a resource.

    Raises ValidationError for an update that cannot be made here.
    """
    before, after = self.stack.resource_map._resource_json_map, self.template_dict["Resources"]  # noqa: SLF001 - there is no other access
    changes = _diff(self)
    for change in (each for each in changes if each.action == "Modify"):
        updates.check(change.resource_type)
        name = change.logical_resource_id
        old, new = before[name].get("Properties", {}), after[name].get("Properties", {})
        details = [
            {"Target": {"Attribute": "Properties", "Name": key, "RequiresRecreation": "Never"}}
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
        # Every update here is one in place.
        vars(change).update(replacement="False", details=details)
    return changes


def create_resources(self: Stack) -> None:
    """Create the stack's resources; if one cannot be created, delete the others (ROLLBACK_COMPLETE)."""
    self.status = "CREATE_IN_PROGRESS"
    self.description = self.template_dict.get("Description")
    try:
        self.resource_map.create(self.template_dict)
        list(self.output_map.values())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason in the stack's events
        _fail(self, "CREATE_FAILED", "ROLLBACK_IN_PROGRESS", error)
        self.resource_map.delete()
        _set_template(self, "{Resources: {}}", {})
        self.status = "ROLLBACK_COMPLETE"
        _add_event(self, self.status)
    else:
        self.mark_creation_complete()


def update(
    self: Stack,
    template: str,
    role_arn: str | None = None,
    parameters: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Update the stack's resources; if one cannot be updated, go back to the previous template."""
    _add_event(self, "UPDATE_IN_PROGRESS", "User Initiated")
    previous = self.template, self.parameters
    try:
        _apply(self, template, parameters or {})
    except Exception as error:  # noqa: BLE001 - as above
        _fail(self, "UPDATE_FAILED", "UPDATE_ROLLBACK_IN_PROGRESS", error)
        # moto warns of a resource that is to be deleted and was never created.
        created = self.resource_map._parsed_resources  # noqa: SLF001 - there is no other access
        definitions = self.resource_map._resource_json_map  # noqa: SLF001 - as above
        self.resource_map._resource_json_map = {key: definitions[key] for key in definitions if key in created}  # noqa: SLF001 - as above
        _apply(self, *previous)
        self.status = "UPDATE_ROLLBACK_COMPLETE"
    else:
        self.role_arn, self.tags = role_arn, self.tags if tags is None else tags
        self.status = "UPDATE_COMPLETE"
    _add_event(self, self.status)


def _apply(stack: Stack, template: str | dict[str, Any], parameters: dict[str, Any]) -> None:
    stack.template = template
    stack._parse_template()  # noqa: SLF001 - there is no other access
    resources = stack.resource_map
    removed = resources.resources - stack.template_dict["Resources"].keys()
    definitions = resources._resource_json_map  # noqa: SLF001 - as above
    retained = {key for key in removed if definitions[key].get("DeletionPolicy") == "Retain"}
    # What a failed update has not made needs no removal.
    made = resources._parsed_resources.keys() - retained  # noqa: SLF001 - as above
    resources._resource_json_map = {key: each for key, each in definitions.items() if key in made}  # noqa: SLF001 - as above
    try:
        resources.update(stack.template_dict, parameters)
    finally:
        # moto would take a resource that is added again for the one that was removed.
        for logical_id in removed:
            resources._parsed_resources.pop(logical_id, None)  # noqa: SLF001 - as above
    stack.parameters = parameters
    stack.description = stack.template_dict.get("Description")
    stack.output_map = OutputMap(stack.resource_map, stack.template_dict, stack.stack_id)


def _set_template(stack: Stack, template: str, parameters: dict[str, str]) -> None:
    """Give a stack without resources a template."""
    stack.template, stack.parameters = template, parameters
    stack._parse_template()  # noqa: SLF001 - as above
    stack.resource_map = stack._create_resource_map()  # noqa: SLF001 - as above
    stack.output_map = stack._create_output_map()  # noqa: SLF001 - as above


def _previous_values(
    _: CloudFormationBackend,
    instance: Stack | StackSet | None,
    incoming_params: list[dict[str, Any]],
) -> dict[str, str]:
    """Return parameters by name. A previous value is the one that was given, not what SSM had for it.

    A parameter that was not given keeps its default.
    """
    previous = instance.parameters if instance else {}
    stated = {each["ParameterKey"]: each["ParameterValue"] for each in incoming_params if "ParameterValue" in each}
    kept = [each["ParameterKey"] for each in incoming_params if each.get("UsePreviousValue")]
    return stated | {key: previous[key] for key in kept if key in previous}


def _template(response: CloudFormationResponse, stack: Stack | None) -> str:
    params = response._get_params()  # noqa: SLF001 - as above
    if params.get("UsePreviousTemplate") and stack:
        return str(stack.template)
    if url := params.get("TemplateURL"):
        return response._get_stack_from_s3_url(url)  # noqa: SLF001 - as above
    if "TemplateBody" not in params:
        raise ValidationError(message="Either Template URL or Template Body must be specified.")
    return str(params["TemplateBody"])


def _requested(response: CloudFormationResponse) -> Any:  # noqa: ANN401 - moto declares attributes as None
    params = response._get_params()  # noqa: SLF001 - as above
    name, stack = params["ChangeSetName"], params.get("StackName")
    if found := _find(response.cloudformation_backend, name, stack):
        return found
    if stack:
        response.cloudformation_backend.get_stack(stack)
    raise ServiceError(_NOT_FOUND, f"ChangeSet [{name}] does not exist")


def _find(backend: CloudFormationBackend, name: str, stack: str | None) -> ChangeSet | None:
    """Return the change set with this ARN, or with this name in the stack."""
    for each in backend.change_sets.values():
        if each.change_set_id == name or (each.change_set_name == name and stack in {each.stack_id, each.stack_name}):
            return each
    return None


def _fail(stack: Stack, failed: str, next_status: str, error: Exception) -> None:
    reason = str(getattr(error, "message", None) or f"{type(error).__name__}: {error}")
    _add_event(stack, failed, reason)
    _add_event(stack, next_status, reason)


def _add_event(stack: Stack, status: str, reason: str | None = None) -> None:
    stack.events.append(
        Event(
            stack.stack_id, stack.name, stack.name, stack.stack_id, "AWS::CloudFormation::Stack", status, reason, None
        )
    )
