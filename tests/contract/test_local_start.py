"""The local AWS starts soon."""

from moto.core.base_backend import AccountSpecificBackend

import local.aws


def test_moto_reads_the_endpoints_once() -> None:
    """All of moto has the same boto3 session: another one reads the endpoints of AWS again, which takes 0.1 s."""
    assert vars(local.aws.regions)["Session"] == AccountSpecificBackend.get_session
