"""The emulation of AWS: moto, and what moto lacks, put together by `local_aws.LocalAws`."""
