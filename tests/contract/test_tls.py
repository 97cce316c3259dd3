"""TLS: one context for all clients that trust the same CAs, and the verification of botocore."""

# ruff: noqa: SLF001 - what is wrapped is private, and so is what shows its effect

import inspect
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import botocore.httpsession
import pytest
from botocore.config import Config
from botocore.httpsession import URLLib3Session

from local.bench.stub import AMI, TASK, Stub
from local.bench.tls import Authority
from tests.conftest import REGION
from vm_image_import.aws import session
from vm_image_import.aws.ec2 import Ec2
from vm_image_import.aws.session import CONFIG, create_client
from vm_image_import.domain.errors import TransientError

# botocore tries again after a refused certificate, too.
ONCE: Final = CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
BUNDLES: Final = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Give the authority that a test trusts."""
    return Authority()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an environment that names no bundle of CAs, and one attempt for each call."""
    for variable in BUNDLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setattr(session, "CONFIG", ONCE)


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that trusts only an authority, by a variable of the environment."""

    def trust_only(authority: Authority, variable: str = "AWS_CA_BUNDLE") -> None:
        bundle = tmp_path / f"{id(authority)}.pem"
        bundle.write_text(authority.pem, encoding="utf-8")
        monkeypatch.setenv(variable, str(bundle))

    return trust_only


@contextmanager
def serving(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """Serve AWS over TLS, where all clients of the block look for it."""
    with Stub(context=context) as stub, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", stub.url)
        yield stub


def context_of(client: Any) -> ssl.SSLContext:  # noqa: ANN401 - of any service
    """Return the TLS context of a client's connections."""
    found: ssl.SSLContext = session_of(client)._manager.connection_pool_kw["ssl_context"]
    return found


def session_of(client: Any) -> Any:  # noqa: ANN401 - botocore's class, whose types have no private members
    """Return botocore's HTTP session of a client."""
    return client._endpoint.http_session


@pytest.mark.parametrize("variable", BUNDLES)
def test_all_clients_share_the_cas_of_a_bundle(
    variable: str, authority: Authority, trust: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of several services load the bundle of the environment once, and reach a server that it verifies."""
    trust(authority, variable)
    with serving(authority.server_context(), monkeypatch) as stub:
        clients = [create_client("ec2") for _ in range(3)]
        for client in clients:
            assert Ec2(client).find_ami(AMI)
        topic = create_client("sns")
        topic.publish(TopicArn=f"arn:aws:sns:{REGION}:123456789012:t", Message="m")
        assert stub.calls == ["DescribeImages"] * 3 + ["Publish"]
    (context,) = {context_of(client) for client in (*clients, topic)}
    assert len(context.get_ca_certs()) == 1
    loads = context.load_verify_locations.cache_info()  # type: ignore[attr-defined]
    assert (loads.misses, loads.hits) == (1, 3)


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        ({"address": "127.0.0.2"}, "IP address mismatch|doesn't match"),
        ({"days": -1}, "certificate has expired"),
    ],
    ids=["other host", "expired"],
)
def test_a_wrong_certificate_is_refused(
    certificate: dict[str, Any],
    why: str,
    authority: Authority,
    trust: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A certificate of another host, or one that has expired, is refused, after a right one was accepted, too."""
    trust(authority)
    with serving(authority.server_context(), monkeypatch):
        assert Ec2(create_client("ec2")).find_task(TASK)
    with serving(authority.server_context(**certificate), monkeypatch) as stub:
        with pytest.raises(TransientError, match=why):
            Ec2(create_client("ec2")).find_task(TASK)
        assert stub.calls == []


def test_the_cas_of_another_bundle_are_not_trusted(
    authority: Authority, trust: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client trusts the CAs of its own bundle only, whatever the clients before it trusted."""
    with serving(authority.server_context(), monkeypatch) as stub:
        trust(authority)
        assert Ec2(create_client("ec2")).find_ami(AMI)
        trust(Authority())
        other = create_client("ec2")
        monkeypatch.delenv("AWS_CA_BUNDLE")
        for client in (other, create_client("ec2")):
            with pytest.raises(TransientError, match="certificate verify failed"):
                Ec2(client).find_ami(AMI)
        assert stub.calls == ["DescribeImages"]


def test_without_a_setting_the_roots_of_botocore_are_trusted() -> None:
    """Without a bundle in the environment, the context verifies by the bundle that botocore finds itself."""
    context = context_of(create_client("ec2"))
    assert context is context_of(create_client("sns"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    bundle = botocore.httpsession.get_cert_path(verify=True)
    context.load_verify_locations(bundle, None, None)
    assert len(context.get_ca_certs()) > 100


def test_what_is_wrapped_is_as_it_was() -> None:
    """The wrapped method makes every TLS context of botocore, from nothing of its session.

    If this fails, botocore has changed: read its httpsession, and check what `_share_ssl_contexts` assumes.
    """
    session: Any = URLLib3Session
    wrapped = inspect.unwrap(session._get_ssl_context)
    assert wrapped is not session._get_ssl_context
    assert inspect.getsource(wrapped).split() == [
        "def",
        "_get_ssl_context(self):",
        "return",
        "create_urllib3_context()",
    ]
    source = inspect.getsource(botocore.httpsession)
    assert (source.count("create_urllib3_context("), source.count("self._get_ssl_context()")) == (2, 2)
    # The other caller: a proxy with a bundle or a certificate of its own, which nothing here configures.
    assert "context = self._get_ssl_context()" in inspect.getsource(session._setup_proxy_ssl_context)
    assert "conn.ca_certs = get_cert_path(verify)" in inspect.getsource(session._setup_ssl_cert)
    assert getattr(CONFIG, "proxies_config", None) is None
