"""The checks that every synthesis of the app has to pass."""

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks, ServerlessChecks


def add_checks(app: App) -> None:
    """Add the checks to the synthesis of `app`: it fails for every finding that is not acknowledged."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app, verbose=True), ServerlessChecks(app, verbose=True))
