"""The records of what was done, in DynamoDB."""
