"""The CDK app: `npx --no -- cdk deploy` runs it."""

import json
import sys
from pathlib import Path

import infra.jsii  # noqa: F401 - before the CDK is imported

# isort: split
from aws_cdk import App, Environment

from infra.bundle import InstallationError
from infra.checks import add_checks
from infra.configuration import (
    CONTEXT_KEY,
    PERMISSIONS_BOUNDARY,
    Configuration,
    ConfigurationError,
    boundary_problems,
    folder_contexts,
    misplaced,
)
from infra.stack import VmImageImportStack

ROOT = Path(__file__).parent
# The CDK command line passes this context. Without the command line the template must be the same.
context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]

app = App(context=context)
problems = [
    *misplaced(app.node.get_all_context(), (path.name for path in ROOT.glob("*.json"))),
    *boundary_problems(app.node.try_get_context(PERMISSIONS_BOUNDARY)),
]
try:
    configuration = Configuration.from_context(
        *folder_contexts(ROOT),
        # Text where the command line states it; else the object of cdk.json.
        stated if isinstance(stated := app.node.try_get_context(CONTEXT_KEY), str) else None,
    )
except ConfigurationError as error:
    sys.exit("\n".join((str(error), *problems)))
if problems:
    sys.exit("\n".join(problems))
try:
    for region in configuration.regions:
        VmImageImportStack(app, f"VmImageImport-{region}", env=Environment(region=region), configuration=configuration)
    if not configuration.regions:
        VmImageImportStack(app, "VmImageImport", configuration=configuration)
except (ConfigurationError, InstallationError) as error:
    sys.exit(str(error))
add_checks(app)
app.synth()
