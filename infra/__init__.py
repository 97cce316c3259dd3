"""The AWS resources, as CDK constructs."""
