"""Amazon SNS: the topic of the notifications."""

from typing import TYPE_CHECKING

from vm_image_import.aws.session import translate_errors

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient


class Topic:
    """The SNS topic of the notifications."""

    def __init__(self, client: "SNSClient", arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, subject: str, message: str, outcome: str) -> None:
        """Publish a message that has a form for each protocol, with `outcome` as message attribute.

        Raises TransientError or PermanentError.
        """
        with translate_errors():
            self._client.publish(
                TopicArn=self._arn,
                Subject=subject,
                Message=message,
                MessageStructure="json",
                MessageAttributes={"outcome": {"DataType": "String", "StringValue": outcome}},
            )
