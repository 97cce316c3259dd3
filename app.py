"""The CDK app: `npx cdk deploy` runs it."""

import json
from pathlib import Path

from aws_cdk import App, Environment

from infra.checks import check
from infra.configuration import CONTEXT_KEY, Configuration
from infra.stack import VmImageImportStack

# The command line passes this context on; without it the same template has to come out.
context = json.loads(Path(__file__).with_name("cdk.json").read_text(encoding="utf-8"))["context"]

app = App(context=context)
if regions := Configuration.from_context(app.node.try_get_context(CONTEXT_KEY)).regions:
    for region in regions:
        VmImageImportStack(app, f"VmImageImport-{region}", env=Environment(region=region))
else:
    VmImageImportStack(app, "VmImageImport")
check(app)
app.synth()
