"""The ARNs of what no stack makes."""

from collections.abc import Sequence

from aws_cdk import Stack


def image_arns(stack: Stack, names: Sequence[str] = ()) -> list[str]:
    """Return the ARNs of all versions and builds of the images whose name matches a pattern, or of all images."""
    # `*` does not stop at a slash.
    return [
        stack.format_arn(service="imagebuilder", resource="image", resource_name=f"{name}/*") for name in names or ["*"]
    ]
