"""The lifecycle policy of Image Builder that deletes what the function has tagged for it, and the policy's role."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Names, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_imagebuilder as imagebuilder
from constructs import Construct

from .acknowledgements import acknowledge_wildcards
from .arns import image_arns
from .configuration import Configuration

_DELETE: Final = {"vm-image-import:delete": "yes"}
_KEEP: Final = {"vm-image-import:keep": "yes"}
_LAUNCHED_DAYS: Final = 30
"""An AMI from which an instance was launched within so many days stays."""


class Retention(Construct):
    """Deletes images with their AMIs and snapshots. It is the only resource of the stack that may delete any."""

    def __init__(self, scope: Construct, id_: str, *, configuration: Configuration) -> None:
        super().__init__(scope, id_)
        self.role = _policy_role(self, configuration.allowed_names)
        self.policy = imagebuilder.CfnLifecyclePolicy(
            self,
            "Policy",
            # Names are unique in an account and Region.
            name=Names.unique_resource_name(self, max_length=128, separator="-"),
            description="Deletes the images that vm-image-import has tagged with vm-image-import:delete = yes",
            # While nothing is marked, no mark is taken away from an image that is needed again.
            status="DISABLED" if configuration.observe else "ENABLED",
            execution_role=self.role.role_arn,
            resource_type="AMI_IMAGE",
            resource_selection=imagebuilder.CfnLifecyclePolicy.ResourceSelectionProperty(tag_map=_DELETE),
            policy_details=[
                imagebuilder.CfnLifecyclePolicy.PolicyDetailProperty(
                    action=imagebuilder.CfnLifecyclePolicy.ActionProperty(
                        type="DELETE",
                        include_resources=imagebuilder.CfnLifecyclePolicy.IncludeResourcesProperty(
                            amis=True, snapshots=True
                        ),
                    ),
                    # The function has waited already. The age is that of the image, and a day is the least.
                    filter=imagebuilder.CfnLifecyclePolicy.FilterProperty(type="AGE", value=1, unit="DAYS"),
                    exclusion_rules=imagebuilder.CfnLifecyclePolicy.ExclusionRulesProperty(
                        tag_map=_KEEP,
                        amis=imagebuilder.CfnLifecyclePolicy.AmiExclusionRulesProperty(
                            tag_map=_KEEP,
                            last_launched=imagebuilder.CfnLifecyclePolicy.LastLaunchedProperty(
                                value=_LAUNCHED_DAYS, unit="DAYS"
                            ),
                        ),
                    ),
                )
            ],
        )


def _policy_role(scope: Construct, names: Sequence[str]) -> iam.Role:
    """Return the role: of the managed policy EC2ImageBuilderLifecycleExecutionPolicy what a deletion of AMIs needs.

    The managed policy deletes only what has the tag `CreatedBy`, which imported AMIs do not have.
    """
    stack = Stack.of(scope)
    images = image_arns(stack, names)
    amis = stack.format_arn(service="ec2", account="", resource="image", resource_name="*")
    snapshots = stack.format_arn(service="ec2", account="", resource="snapshot", resource_name="*")
    made = {"aws:ResourceTag/vm-image-import:task-id": "import-ami-*"}
    not_kept = {"aws:ResourceTag/vm-image-import:keep": "true"}
    imported = {"StringEquals": {"ec2:Owner": stack.account}, "StringLike": made, "Null": not_kept}
    tagged = {f"aws:ResourceTag/{key}": value for key, value in _DELETE.items()}
    in_region = {"StringEquals": {"aws:RequestedRegion": stack.region}}
    statements = [
        iam.PolicyStatement(
            sid="FindResources",
            actions=["ec2:DescribeImages", "tag:GetResources"],
            resources=["*"],
            conditions=in_region,
        ),
        iam.PolicyStatement(
            sid="DeleteImages",
            actions=["imagebuilder:DeleteImage"],
            resources=images,
            conditions={"StringEquals": tagged, "StringLike": made, "Null": not_kept},
        ),
        iam.PolicyStatement(
            sid="ReadLaunches",
            actions=["ec2:DescribeImageAttribute"],
            resources=[amis],
            conditions={"StringEquals": {"ec2:Owner": stack.account}, "StringLike": made},
        ),
        iam.PolicyStatement(sid="DeleteAmis", actions=["ec2:DeregisterImage"], resources=[amis], conditions=imported),
        iam.PolicyStatement(
            sid="DeleteSnapshots", actions=["ec2:DeleteSnapshot"], resources=[snapshots], conditions=imported
        ),
    ]
    role = iam.Role(
        scope,
        "Role",
        # As the user guide has it ("Lifecycle management prerequisites"), without a condition: which source Image
        # Builder states is documented for other accounts only.
        assumed_by=iam.ServicePrincipal("imagebuilder.amazonaws.com"),
        inline_policies={"Permissions": iam.PolicyDocument(statements=statements)},
    )
    acknowledge_wildcards(role, ["*"], "The actions that find images have no resource types.")
    reason = "The images are the imports'. The conditions name the tags that only this system's have."
    acknowledge_wildcards(role, [*images, amis, snapshots], reason)
    return role
