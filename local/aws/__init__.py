"""The emulation of AWS: moto, and what moto lacks, put together by `local_aws.LocalAws`."""

import os

# moto and boto3 read this machine's AWS settings, and its proxies, when they are imported, too.
for _name in [*os.environ]:
    if _name.startswith("AWS_") or _name.lower().endswith("_proxy"):
        del os.environ[_name]
os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
