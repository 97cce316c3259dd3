"""Fixtures of all tests: made-up credentials, the local AWS, and the synthesized app."""

import atexit
import functools
import gc
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# Read when moto is imported: without its list of public AMIs it starts a second sooner.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
# Read when the function's module is imported: without it, every run that emits a metric fails.
os.environ["POWERTOOLS_METRICS_NAMESPACE"] = "VmImageImport"
# Read when the CDK synthesizes: its own check of a template takes 7 s. tests/infra/test_checks.py switches it on.
os.environ["CDK_VALIDATION"] = "false"

import infra.jsii  # noqa: F401 - before the CDK is imported

# isort: split
import boto3
import botocore.session
import pytest
from botocore.loaders import JSONFileLoader, Loader
from moto import mock_aws
from moto.core.base_backend import BackendDict

from local.assembly import synthesize
from local.aws import image_builder, local_aws, supplements
from local.aws.local_aws import LocalAws
from local.aws.switches import Switches, use

SESSION = botocore.session.Session()
"""boto3's default session. A new one for each test would read the models of the services again."""
boto3.setup_default_session(botocore_session=SESSION)

# Each session reads the models of its services anew, which takes a third of a test's time.
MODELS = JSONFileLoader()
MODELS.load_file = functools.cache(MODELS.load_file)  # type: ignore[method-assign]
Loader.FILE_LOADER_CLASS = staticmethod(lambda: MODELS)  # type: ignore[assignment]

# Without the last garbage collection over a million objects, a worker ends seconds sooner.
atexit.register(gc.freeze)

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT = local_aws.ACCOUNT
REGION = "us-east-1"
Switch = Callable[..., None]
"""The function of the fixture `switch`."""
PARAMETERS = "/imagebuilder/base"
"""The parameterPrefix of the configured assembly."""
EMAIL = "ops@example.com"
"""The notificationEmail of the configured assembly."""
SLOW = (
    *(
        "properties",
        "verify",
        "switches",
        "command_line",
        "document_commands",
        "demo",
        "simulation",
        "races",
        "permissions",
    ),
    *("local_image_builder", "local_vm_import", "local_updates", "local_functions", "configuration", "sweep", "pruned"),
)
"""The test files that take longest."""
PARTITIONS = {REGION: "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov"}
"""The partitions, each by one of its Regions."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give `make acceptance` more time for each test, and run slow files first; the order of the others stays random.

    So the workers end at about the same time.
    """
    order = {f"test_{name}": place for place, name in enumerate(SLOW)}
    for item in items:
        if item.get_closest_marker("acceptance"):
            item.add_marker(pytest.mark.timeout(1200))
    items.sort(key=lambda item: order.get(item.path.stem, len(SLOW)))


def client(service: str, region: str = REGION) -> Any:  # noqa: ANN401 tests make requests that a typed client refuses
    """Return a boto3 client for the local AWS of the running test."""
    variables = os.environ
    return local_aws.cached_client(service, region, variables.get("AWS_ENDPOINT_URL"), variables["AWS_ACCESS_KEY_ID"])


@pytest.fixture(autouse=True)
def _made_up_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test made-up credentials and a Region, and no AWS setting of the machine."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    SESSION.set_credentials("testing", "testing")


@pytest.fixture(scope="session")
def _local_aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture
def empty_aws(_local_aws: LocalAws) -> Iterator[LocalAws]:
    """Give an empty local AWS."""
    yield _local_aws
    BackendDict.reset()


@pytest.fixture
def endpoint_url(_local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the URL of an empty local AWS, which boto3 and the AWS command line use by default in the test."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", _local_aws.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _local_aws.access_key)
    SESSION.set_credentials(_local_aws.access_key, "testing")
    yield _local_aws.endpoint_url
    BackendDict.reset()


@pytest.fixture
def switch() -> Iterator[Switch]:
    """Give a function that turns on the named switches of the local AWS, and no others, until the test ends."""
    with ExitStack() as stack:
        yield lambda **names: stack.enter_context(use(Switches(**names)))


@pytest.fixture(params=["mock_aws", "server"])
def local_aws_mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test with an empty local AWS in this process (`mock_aws`), and with one behind a URL (`server`)."""
    supplements.install()
    image_builder.install()
    if request.param == "server":
        request.getfixturevalue("endpoint_url")
        yield "server"
    else:
        with mock_aws():
            # moto has removed boto3's session, and changes the one that is used in here.
            session = botocore.session.Session()
            session.register_component("data_loader", SESSION.get_component("data_loader"))
            boto3.setup_default_session(botocore_session=session)
            yield "mock_aws"


@pytest.fixture(scope="session")
def assembly() -> Path:
    """Give the cloud assembly of the app with its default configuration, bundled and checked."""
    return synthesize({})


@pytest.fixture(scope="session")
def configured_assembly() -> Path:
    """Give the cloud assembly with every statement that the role can have and an e-mail address, in two Regions."""
    follow_up = {"tagAmis": True, "amiTagKeys": ["Team"], "parameterPrefix": PARAMETERS}
    follow_up |= {"keepVersions": 2, "deleteAfterDays": 30}
    others = {"tracing": True, "regions": [REGION, "eu-west-1"], "notificationEmail": EMAIL}
    return synthesize({"versionScheme": "increment", **others, **follow_up})


@pytest.fixture(scope="session")
def controlled_assembly() -> Path:
    """Give the cloud assembly of the app with every control of names, versions and tags, and with retention."""
    names = {"allowedNames": ["team-a-*"], "namesFrom": "tags", "immutableVersions": True}
    tags = {"tags": {"Team": "a"}, "imageTagKeys": ["Cost"], "onlyTasksTagged": {"Owner": "a"}}
    follow_up = {"tagAmis": True, "amiTagKeys": ["Cost", "Team"], "parameterPrefix": PARAMETERS}
    retention = {"keepVersions": 2, "deleteAfterDays": 30}
    return synthesize({**names, **tags, **follow_up, **retention})


@pytest.fixture(scope="session")
def template(assembly: Path) -> dict[str, Any]:
    """Give the synthesized template."""
    text = (assembly / "VmImageImport.template.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
