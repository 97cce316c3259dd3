"""Runs each operation once, and records its result in DynamoDB."""
