"""The CDK app: `npx cdk deploy` runs it."""

import json
from pathlib import Path

from aws_cdk import App, Environment

from infra.checks import add_checks
from infra.configuration import CONTEXT_KEY, Configuration
from infra.stack import VmImageImportStack

# The CDK command line passes this context. Without the command line the template must be the same.
context = json.loads(Path(__file__).with_name("cdk.json").read_text(encoding="utf-8"))["context"]

app = App(context=context)
if regions := Configuration.from_context(app.node.try_get_context(CONTEXT_KEY)).regions:
    for region in regions:
        VmImageImportStack(app, f"VmImageImport-{region}", env=Environment(region=region))
else:
    VmImageImportStack(app, "VmImageImport")
add_checks(app)
app.synth()
