"""What the models make of the fields that AWS answers."""

import pytest

from vm_image_import.domain.models import Ami, AwsEnvironment, Disk, Image


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://h.example/a;token=secret/d.ova", "https://h.example/a/d.ova"),
        ("https://h.example/a;x=1;y=2/b;z=3/d.ova;v=4?q=5#f", "https://h.example/a/b/d.ova"),
        ("https://user:pass@h.example/d.ova", "https://h.example/d.ova"),
        ("https://user:pa/ss@h.example/d.ova", None),
        ("https://user:12/secret@h.example/d.ova", None),
        ("https://user:pa?ss@h.example/d.ova", None),
        ("https://user:pa#ss@h.example/d.ova", None),
        ("https://us\\er:pass@h.example/d.ova", "https://h.example/d.ova"),
        ("https://h.example:8443/d.ova", "https://h.example:8443/d.ova"),
        ("https://[2001:db8::1]:8443/d.ova", "https://[2001:db8::1]:8443/d.ova"),
        ("https://h.example:x/d.ova", None),
        ("https:///d.ova", None),
        ("https://h.example /d.ova", None),
    ],
)
def test_the_source_of_a_url_has_no_secret(url: str, source: str | None) -> None:
    """The source has neither user nor password, parameters, query or fragment; in doubt there is no source."""
    assert Disk(url=url).source == source


@pytest.mark.parametrize(
    ("text", "task_id"),
    [
        ("import-ami-fg4d51t0", "import-ami-fg4d51t0"),
        ("import-ami-0123456789abcdef0", "import-ami-0123456789abcdef0"),
        ("import-ami-fg4d51t0\n", None),
        ("import-ami-fg4d51t", None),
        ("import-ami-*", None),
        ("x-import-ami-fg4d51t0", None),
        ("import-ami-FG4D51T0", None),
        ("", None),
        (None, None),
    ],
)
def test_the_id_of_a_task_is_matched_as_a_whole(text: str | None, task_id: str | None) -> None:
    """The name of an AMI and the tag of an image name an import task only where the whole text is its id."""
    assert Ami("ami-0", created=None, name=text).import_task_id == task_id
    assert Image("arn", "AVAILABLE", tagged_task_id=text).import_task_id == task_id


def test_the_environment_is_read_from_the_functions_arn() -> None:
    """The partition, the Region and the account are those of the function's ARN."""
    arn = "arn:aws-cn:lambda:cn-north-1:123456789012:function:name"
    assert AwsEnvironment.of_function(arn) == AwsEnvironment("aws-cn", "cn-north-1", "123456789012")
