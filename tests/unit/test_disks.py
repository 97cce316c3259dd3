"""What the path of a disk file tells."""

import pytest

from vm_image_import.derive import disks
from vm_image_import.models import Disk

# key, name, version
PATHS = [
    ("exports/web-server-1.4.2.ova", "web-server", "1.4.2"),
    ("web-server-v2.ova", "web-server", "2.0.0"),
    ("web-server_V2.1.OVA", "web-server", "2.1.0"),
    ("ubuntu-22.04.ova", "ubuntu", "22.04.0"),
    ("db_2026-11-23.vmdk", "db", "2026.11.23"),
    ("db-20261123.vmdk", "db", "2026.11.23"),
    ("db 2026.11.23.vmdk", "db", "2026.11.23"),
    ("db-2026_11_23.raw", "db", "2026.11.23"),
    ("db-20261345.vmdk", "db-20261345", None),
    ("db-2026-13-45.vmdk", "db-2026-13-45", None),
    ("exports/mail-gw/disk.vmdk", "mail-gw", None),
    ("exports/mail-gw/disk-0.vmdk", "mail-gw", None),
    ("exports/mail-gw/DISK1.vmdk", "mail-gw", None),
    ("exports/mail-gw/image.qcow2.gz", "mail-gw", None),
    ("exports/mail-gw-2.1/system.raw", "mail-gw", "2.1.0"),
    ("exports/mail-gw/disk-1.4.2.vmdk", "mail-gw", "1.4.2"),
    ("exports/mail-gw-2.1/disk-1.4.2.vmdk", "mail-gw", "1.4.2"),
    ("exports/mail-gw/mail-gw-disk001.vmdk", "mail-gw", None),
    ("exports/mail-gw/mail-gw-1.4.2-disk1.vmdk", "mail-gw", "1.4.2"),
    ("web_disk001.vmdk", "web", None),
    ("web-disk-0.vmdk", "web", None),
    ("web-flat.vmdk", "web", None),
    ("web-disk1-flat.vmdk", "web", None),
    ("web-01.ova", "web-01", None),
    ("web-01-1.4.2.ova", "web-01", "1.4.2"),
    ("Windows Server 2019.vhdx", "Windows Server 2019", None),
    ("ubuntu-22.04-server.ova", "ubuntu-22-04-server", None),
    ("app-10.0.19045.2364.vhd", "app-10-0-19045-2364", None),
    ("web-1.4.2-rc1.ova", "web-1-4-2-rc1", None),
    ("web-1073741823.0.1.ova", "web", "1073741823.0.1"),
    ("web-1073741824.0.1.ova", "web-1073741824-0-1", None),
    ("web-0000000001.0.1.ova", "web", "0000000001.0.1"),
    ("web-00000000001.0.1.ova", "web-00000000001-0-1", None),
    ("web.1.4.2.ova", "web", "1.4.2"),
    ("backup.tar.gz", "backup", None),
    ("Größe_Büro.ova", "Grosse_Buro", None),
    ("a%20b-1.0.ova", "a-20b", "1.0.0"),
    ("disk.vmdk", None, None),
    ("export/vm/output/root.img", None, None),
    ("/exports//web.ova", "web", None),
    ("", None, None),
]


@pytest.mark.parametrize(("key", "name", "version"), PATHS)
def test_a_key_tells_name_and_version(key: str, name: str | None, version: str | None) -> None:
    """The last segment of an S3 key gives the name and the version, as the README's table says."""
    assert disks.read(Disk(bucket="exports", key=key)) == (name, version)


@pytest.mark.parametrize(
    ("url", "name", "version"),
    [
        ("https://host.example/vms/web%20server-1.4.2.ova?X-Amz-Signature=1.2.3", "web server", "1.4.2"),
        ("s3://exports/vms/web-server-1.4.2.ova", "web-server", "1.4.2"),
        ("https://host.example/vms/mail-gw/disk%31.vmdk", "mail-gw", None),
        ("https://host.example/", None, None),
        ("https://host.example/web-1.2.ova;s3cr3t", "web", "1.2.0"),
        ("https://user:s3cr3t@host.example:8443/web-1.2.ova#s3cr3t", "web", "1.2.0"),
        ("https://[bad/x-1.0.ova", None, None),
        ("web-1.2.ova", None, None),
        (f"https://host.example/{'-disk1' * 40000}x.ova", f"{'disk1-' * 21}di", None),
    ],
)
def test_a_url_tells_name_and_version(url: str, name: str | None, version: str | None) -> None:
    """The decoded path of a URL is read like a key; its query is not read."""
    assert disks.read(Disk(url=url)) == (name, version)


def test_a_disk_without_a_path_tells_nothing() -> None:
    """A disk that was imported from a snapshot has neither key nor URL."""
    assert disks.read(Disk()) == (None, None)
