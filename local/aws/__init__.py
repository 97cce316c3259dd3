"""The emulation of AWS: moto, and what moto lacks, put together by `local_aws.LocalAws`."""

import os
from importlib import import_module
from typing import Final
from unittest.mock import patch

# moto and boto3 read this machine's AWS settings, and its proxies, when they are imported, too.
for _name in [*os.environ]:
    if _name.startswith("AWS_") or _name.lower().endswith("_proxy"):
        del os.environ[_name]
os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)

# moto's EC2 makes three sessions when it is imported, and each one reads the endpoints of AWS. One is enough for moto.
_session = import_module("moto.core.base_backend").AccountSpecificBackend.get_session
with patch("boto3.Session", _session):
    regions: Final = import_module("moto.ec2.models.availability_zones_and_regions")
