"""Parameters, on the local Systems Manager with real boto3."""

import boto3
import pytest

from local.aws import supplements
from tests.conftest import ACCOUNT, REGION, client
from vm_image_import.aws.session import CONFIG
from vm_image_import.aws.ssm import AMI, Parameter, ParameterStore
from vm_image_import.domain.errors import TransientError

NAME = "/imagebuilder/base/web"


@pytest.fixture
def store(local_aws_mode: str) -> ParameterStore:
    """Give the store of an empty account."""
    assert local_aws_mode
    return ParameterStore(boto3.client("ssm", config=CONFIG))


def ami() -> str:
    """Register an AMI, and return its id."""
    return str(client("ec2").register_image(Name="web")["ImageId"])


def test_a_parameter_is_found_when_its_value_is_checked(store: ParameterStore) -> None:
    """The id of an AMI is written with the data type of AMIs, and found when Systems Manager has checked it."""
    value = ami()
    store.put_ami(NAME, value, "ours", overwrite=False)
    assert store.find(NAME) is None
    supplements.check_parameters(ACCOUNT, REGION)
    assert store.find(NAME) == Parameter(value, AMI)


def test_the_description_is_that_of_the_newest_version(store: ParameterStore) -> None:
    """The description is that of the newest version, on whatever page of the history it is; it may be missing."""
    for number in range(60):
        client("ssm").put_parameter(
            Name=NAME, Value=str(number), Type="String", Overwrite=True, Description=f"version {number}"
        )
    assert store.find(NAME) == Parameter("59", "text")
    assert store.find_description(NAME) == "version 59"
    client("ssm").put_parameter(Name="/other", Value="x", Type="String")
    assert store.find_description("/other") == ""


def test_a_parameter_that_appears_meanwhile_is_left(store: ParameterStore) -> None:
    """A parameter that another user writes between reading and writing is not overwritten: the step is tried again."""
    client("ssm").put_parameter(Name=NAME, Value="theirs", Type="String")
    with pytest.raises(TransientError):
        store.put_ami(NAME, ami(), "ours", overwrite=False)
    assert store.find(NAME) == Parameter("theirs", "text")
