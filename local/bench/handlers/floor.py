"""The same calls with nothing but the standard library: what no AWS SDK in Python can get below."""

import hashlib
import hmac
import http.client
import json
import os
import re
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

_CONNECTION = http.client.HTTPConnection(urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc)
_REGION = os.environ["AWS_REGION"]


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Register the AMI of an event, if an import made it."""
    image = _query("ec2", "DescribeImages", "2016-11-15", **{"ImageId.1": event["detail"]["ImageId"]})
    task_id = _text(image, "name")
    if not task_id.startswith("import-ami-"):
        return {"outcome": "IGNORED"}
    task = _query("ec2", "DescribeImportImageTasks", "2016-11-15", **{"ImportTaskId.1": task_id})
    name, _, version = _text(task, "s3Key").removesuffix(".ova").rpartition("-")
    key = {"id": {"S": task_id}}
    record = {"TableName": os.environ["TABLE_NAME"], "Item": key, "ConditionExpression": "attribute_not_exists(id)"}
    _dynamodb("PutItem", record)
    request = {"name": name, "semanticVersion": version, "platform": _text(task, "platform")}
    body = json.dumps({**request, "vmImportTaskId": task_id, "clientToken": task_id})
    arn: str = json.loads(_call("imagebuilder", "PUT", "/ImportVmImage", body))["imageArn"]
    _query("sns", "Publish", "2010-03-31", TopicArn=os.environ["TOPIC_ARN"], Message=arn)
    _dynamodb("UpdateItem", {"TableName": os.environ["TABLE_NAME"], "Key": key})
    return {"outcome": "REGISTERED", "imageArn": arn}


def _query(service: str, action: str, version: str, **parameters: str) -> str:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return _call(service, "POST", "/", urlencode({"Action": action, "Version": version, **parameters}), form)


def _dynamodb(operation: str, request: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    _call("dynamodb", "POST", "/", json.dumps(request), headers)


def _call(service: str, method: str, path: str, body: str, headers: dict[str, str] | None = None) -> str:
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    signed = {"host": _CONNECTION.host, "x-amz-date": now, "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"]}
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(body.encode()).hexdigest()}"
    scope = f"{now[:8]}/{_REGION}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    signature = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    _CONNECTION.request(method, path, body, {**(headers or {}), **signed, "authorization": signature})
    answer = _CONNECTION.getresponse()
    text = answer.read().decode()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(text)
    return text


def _text(xml: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)<", xml)
    return found[1] if found else ""
