"""What every test stands on: no credentials or settings of the person who runs it, and AWS on this machine."""

import atexit
import fcntl
import gc
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

# Read when moto is imported: without its catalogue of public AMIs it starts a second sooner.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
# Read when the function's module is imported: without it every run that counts something fails.
os.environ["POWERTOOLS_METRICS_NAMESPACE"] = "VmImageImport"

import boto3
import pytest
from moto import mock_aws
from moto.core.base_backend import BackendDict
from moto.server import ThreadedMotoServer

from infra.configuration import CONTEXT_KEY, Configuration
from local.aws import image_builder

# A worker ends seconds sooner when nobody looks through its million objects for cycles once more.
atexit.register(gc.freeze)

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT = "123456789012"
REGION = "us-east-1"
LONG = (
    *("simulation", "races", "permissions", "command_line", "local_image_builder", "local_vm_import"),
    *("local_functions", "configuration", "healing", "pruned", "properties"),
)
"""The files of tests that take longest."""
PARTITIONS = {REGION: "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov"}
"""By one of their Regions."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that at the end no worker is alone with it; the rest stays at random."""
    order = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


def client(service: str, region: str = REGION) -> Any:  # noqa: ANN401 tests make requests that a typed client refuses
    """Return a boto3 client for the local AWS of the running test."""
    return _client(service, region, os.environ.get("AWS_ENDPOINT_URL"))


@cache
def _client(service: str, region: str, endpoint: str | None) -> Any:  # noqa: ANN401 as above
    # A client of EC2 takes a tenth of a second to make: more than the test that uses it.
    return boto3.client(service, region_name=region, endpoint_url=endpoint)


@pytest.fixture(autouse=True)
def _made_up_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test made up credentials and a Region, and none of the caller's AWS settings."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def _moto_server() -> Iterator[str]:
    image_builder.install()
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    # stop() leaves the listening socket open, which Python warns about.
    if server._server is not None:  # noqa: SLF001 there is no other way to it
        server._server.server_close()  # noqa: SLF001 as above


@pytest.fixture
def moto_server(_moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give an empty local AWS behind a URL, which boto3 and the AWS command line use by themselves."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", _moto_server)
    yield _moto_server
    BackendDict.reset()


@pytest.fixture(params=["mock_aws", "server"])
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give an empty local AWS, once inside this process and once behind a URL; boto3 uses it by itself."""
    image_builder.install()
    if request.param == "server":
        request.getfixturevalue("moto_server")
        yield "server"
    else:
        with mock_aws():
            yield "mock_aws"


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the cloud assembly: the app as it is deployed, with the real bundle and every check passed."""
    return synthesised(tmp_path_factory, "assembly", {})


@pytest.fixture(scope="session")
def configured_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the cloud assembly with every statement that the role can have, in two Regions."""
    needs = {"versionScheme": "increment", "tracing": True}
    return synthesised(tmp_path_factory, "configured", {**needs, "regions": [REGION, "eu-west-1"]})


def synthesised(factory: pytest.TempPathFactory, name: str, configuration: Mapping[str, Any]) -> Path:
    """Return the folder of a cloud assembly; it takes many seconds, so one worker makes it for all.

    As the CDK's command line makes it on a machine without Docker, credentials and anything in the home folder.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / name / "cdk.out", shared / name / "done"
    (shared / name).mkdir(exist_ok=True)
    with (shared / name / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _synthesise(folder, configuration)
            done.touch()
    return folder


def _synthesise(folder: Path, configuration: Mapping[str, Any]) -> None:
    node = shutil.which("node")
    assert node
    tools, home = folder.with_name("bin"), folder.with_name("home")
    tools.mkdir()
    home.mkdir()
    (tools / "node").symlink_to(node)
    # Every key, so that the result does not depend on the settings in this checkout.
    context = f"{CONTEXT_KEY}={json.dumps({**Configuration().as_context(), **configuration})}"
    run = subprocess.run(
        [str(ROOT / "node_modules/.bin/cdk"), *("synth", "--quiet", "--output", str(folder), "--context", context)],
        cwd=ROOT,
        env={
            "PATH": str(tools),
            "HOME": str(home),
            "TMPDIR": str(folder.parent),
            # Where jsii has the CDK unpacked: without it half of the time goes into unpacking it again.
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache/aws/jsii/package-cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="session")
def template(assembly: Path) -> dict[str, Any]:
    """Give the synthesised template."""
    text = (assembly / "VmImageImport.template.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
