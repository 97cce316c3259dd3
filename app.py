"""The CDK app: `npx cdk deploy` runs it."""

import json
from pathlib import Path

from aws_cdk import App

from infra.checks import check
from infra.stack import VmImageImportStack

# The command line passes this context on; without it the same template has to come out.
context = json.loads(Path(__file__).with_name("cdk.json").read_text(encoding="utf-8"))["context"]

app = App(context=context)
VmImageImportStack(app, "VmImageImport")
check(app)
app.synth()
