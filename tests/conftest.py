"""What every test stands on: no credentials or settings of the person who runs it, and AWS on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
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

from local import image_builder

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT = "123456789012"
REGION = "us-east-1"


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
    folder = tmp_path_factory.mktemp("cdk.out")
    # In a process of its own, as the CDK command line runs it.
    subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=os.environ | {"CDK_OUTDIR": str(folder)}, check=True)
    return folder


@pytest.fixture(scope="session")
def template(assembly: Path) -> dict[str, Any]:
    """Give the synthesised template."""
    text = (assembly / "VmImageImport.template.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
