"""What the path of a disk file tells."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from vm_image_import.derive import disks
from vm_image_import.domain.models import Disk

# key, name, version
PATHS = [
    ("exports/web-server-1.4.2.ova", "web-server", "1.4.2"),
    ("web-server-v2.ova", "web-server", "2.0.0"),
    ("web-server_V2.1.OVA", "web-server", "2.1.0"),
    ("ubuntu-22.04.ova", "ubuntu", "22.04.0"),
    ("db_2026-11-23.vmdk", "db_2026-11-23", None),
    ("db-20261123.vmdk", "db-20261123", None),
    ("db 2026.11.23.vmdk", "db 2026-11-23", None),
    ("db-2026_11_23.raw", "db-2026_11_23", None),
    ("db-20261345.vmdk", "db-20261345", None),
    ("db-2026-13-45.vmdk", "db-2026-13-45", None),
    ("exports/mail-gw/disk.vmdk", "mail-gw", None),
    ("exports/mail-gw/disk-0.vmdk", "mail-gw", None),
    ("exports/mail-gw/DISK1.vmdk", "mail-gw", None),
    ("exports/mail-gw/image.qcow2.gz", "mail-gw", None),
    ("exports/mail-gw-2.1/system.raw", "mail-gw", "2.1.0"),
    ("exports/mail-gw/disk-1.4.2.vmdk", "mail-gw", "1.4.2"),
    ("exports/mail-gw-2.1/disk-1.4.2.vmdk", "mail-gw-2-1", "1.4.2"),
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
    ("app-10.0.19045.2364.vhd", "app", "10.0.19045"),
    ("web-1.4.2-rc1.ova", "web-1-4-2-rc1", None),
    ("web-1073741823.0.1.ova", "web", "1073741823.0.1"),
    ("web-1073741824.0.1.ova", "web-1073741824-0-1", None),
    ("web-0000000001.0.1.ova", "web", "0000000001.0.1"),
    ("web-00000000001.0.1.ova", "web-00000000001-0-1", None),
    ("web.1.4.2.ova", "web", "1.4.2"),
    ("backup.tar.gz", None, None),
    ("Größe_Büro.ova", "Grosse_Buro", None),
    ("a%20b-1.0.ova", "a-20b", "1.0.0"),
    ("disk.vmdk", None, None),
    ("export/vm/output/root.img", None, None),
    ("/exports//web.ova", "web", None),
    # A segment that is only a version gives it, and leaves the name to the folder above.
    ("web/1.4.2/disk.vmdk", "web", "1.4.2"),
    ("web/1.4.2.ova", "web", "1.4.2"),
    ("web/2026-11-23/disk.vmdk", "web", "2026.11.23"),
    ("web-2.0/1.4.2/disk.vmdk", "web-2-0", "1.4.2"),
    ("web/1.4.2-amd64.ova", "web-amd64", "1.4.2"),
    ("web/1.4.2-amd64/disk.vmdk", "web-amd64", "1.4.2"),
    ("web/16.12.2020/disk.vmdk", "web", None),
    ("web/12.2020.ova", "web", None),
    ("1.4.2.ova", None, "1.4.2"),
    # Files and folders that say nothing, and folders that are a number.
    ("web/qcow2/disk.raw", "web", None),
    ("web/vpc/disk.vhd", "web", None),
    ("web/raw/image.raw", "web", None),
    ("web/vmdk/boot.vmdk", "web", None),
    ("web/snapshots/osdisk.vhd", "web", None),
    ("web/Virtual Hard Disks/os.vhdx", "web", None),
    ("web/New Virtual Hard Disk.vhdx", "web", None),
    ("web/2026/11/23/disk.vmdk", "web", None),
    ("2026/11/23/disk.vmdk", None, None),
    ("4711.ova", "4711", None),
    # Words that say nothing, with a number and in the plural; not those that name a VM or a system.
    ("web/Virtual Disk-000001.vmdk", "web", None),
    ("web/Hard Disk 2.vhd", "web", None),
    ("web/disk (1).vmdk", "web", None),
    ("web/box-disk001.vmdk", "web", None),
    ("web/rootfs.img", "web", None),
    ("web/virtioa.qcow2", "web", None),
    ("web/latest/image-0000001.raw", "image-0000001", None),
    ("web/vm01.vmdk", "vm01", None),
    ("openstack-images/disk.raw", "openstack-images", None),
    ("images/2026/disk.raw", None, None),
    # Listed words alone are joined to the folder, unless a version is behind them.
    ("talos/v1.11.5/metal-amd64.raw", "talos-metal-amd64", "1.11.5"),
    ("talos/1.11.5/aws/amd64.raw", "talos-aws-amd64", "1.11.5"),
    ("web-1.4.2/aws.raw", "web-aws", "1.4.2"),
    ("Image for EGI Centos 7 [CentOS/7/KVM]", "Image for EGI Centos 7 -CentOS-7-KVM", None),
    ("images/esxi-8.0.2.ova", "esxi", "8.0.2"),
    ("web/bionic.img", "bionic", None),
    ("aws/amd64.raw", None, None),
    # A version that only the folder states.
    ("web/1.4.2/web.ova", "web", "1.4.2"),
    ("releases/web-server/v1.4.2/web-server.ova", "web-server", "1.4.2"),
    ("web/1.4.2/qcow2/web.qcow2", "web", "1.4.2"),
    ("web/1.4.2/web/web.vmdk", "web", "1.4.2"),
    ("web-1.4.2/web.ova", "web", "1.4.2"),
    ("web-1.4.2/web-db.ova", "web-db", "1.4.2"),
    ("web_1.4.2/web_db.ova", "web_db", "1.4.2"),
    ("we-1.4.2/web.ova", "web", None),
    ("web-1.4.2/db01.ova", "db01", None),
    ("web/1.4.2/prod/web.ova", "web", None),
    ("web/1.4.2/12/web.ova", "web", "1.4.2"),
    ("flatcar/4459.2.1/flatcar_production_ami_vmdk_image.vmdk", "flatcar_production_ami_vmdk_image", "4459.2.1"),
    ("rhcos/4.16/4.16.51/rhcos-aws.x86_64.vmdk", "rhcos-aws-x86_64", "4.16.51"),
    ("backups/2026-01-05/dc01.vhdx", "dc01", "2026.01.05"),
    ("backups/2026-01-05/web-01-amd64.vhdx", "web-01-amd64", "2026.01.05"),
    ("backup-2026-01-05/win2022.vhdx", "win2022", "2026.01.05"),
    ("bookworm/20240211-1654/debian-12-genericcloud-amd64.qcow2", "debian-12-genericcloud-amd64", "2024.02.11"),
    ("2026-01-05/web-01-prod.vhdx", "web-01-prod", None),
    ("2026-01-05/k8s-node.vhdx", "k8s-node", "2026.01.05"),
    ("2026-01-05/3cx-node.vhdx", "3cx-node", None),
    ("2026-01-05/web-v3-node.vhdx", "web-v3-node", None),
    ("2026-01-05/web-test.vhdx", "web-test", "2026.01.05"),
    ("2026-01-05/srv_c.vhdx", "srv_c", "2026.01.05"),
    ("2026-01-05/r&d.vhdx", "r-d", "2026.01.05"),
    ("team-a/1.4.2/team-a.ova", "team-a", "1.4.2"),
    ("team-alpha/1.4.2/team-alpha.ova", "team-alpha", "1.4.2"),
    ("x-ray-1.4.2/x-ray.ova", "x-ray", "1.4.2"),
    ("2026-01-05/web-20991231.vhdx", "web", "2099.12.31"),
    ("1.4.2/web-1_4.vhdx", "web-1_4", None),
    ("1.4.2/web-12345.vhdx", "web-12345", None),
    # ... is not that of something else.
    ("ubuntu/22.04/web.ova", "web", None),
    ("ubuntu/22.04/ubuntu-base.img", "ubuntu-base", "22.04.0"),
    ("esxi/8.0.2/dc01.ova", "dc01", None),
    ("esxi/web-1.4.2/web.ova", "web", "1.4.2"),
    ("web/system-disk.vmdk", "web-system-disk", None),
    ("esxi/2026-01-05/dc01.ova", "dc01", "2026.01.05"),
    ("esxi-8.0.2/dc01.ova", "dc01", None),
    ("api/v2/web.ova", "web", None),
    ("api/v2.1/web.ova", "web", "2.1.0"),
    ("web/v2/disk.vmdk", "web", "2.0.0"),
    # A doubt in a folder: in the name it cannot outrank the releases beside it.
    ("web/1.10.0-rc1/web.ova", "web-1-10-0-rc1", None),
    ("web-3.3.0-SNAPSHOT/web.ova", "web-3-3-0-SNAPSHOT", None),
    ("web/1.8.0-rc.1/qcow2/web.qcow2", "web-1-8-0-rc-1", None),
    ("web/v8.0U1/web-disk1.vmdk", "web-v8-0U1", None),
    ("web/1.8-1/web-amd64.ova", "web-amd64-1-8-1", None),
    ("web/1.10.0-rc1/web-1.9.0.ova", "web", "1.9.0"),
    ("web/1.10.0-rc1/2026-01-05/web.ova", "web", "2026.01.05"),
    ("ubuntu/22.04-beta/web.ova", "web", None),
    ("ubuntu/22.04-beta/ubuntu.img", "ubuntu-22-04-beta", None),
    ("web/1.9.0-rc1/disk.vmdk", "web-1-9-0-rc1", None),
    ("web/1.9.0-rc1.ova", "web-1-9-0-rc1", None),
    ("web/8.2R1/disk.vmdk", "web-8-2R1", None),
    ("1.9.0-rc1.ova", "1-9-0-rc1", None),
    ("10.20.30.40/10.20.30.40-flat.vmdk", "10-20-30-40", None),
    ("web_db_1.10.0-rc1/web_db.ova", "web_db-1-10-0-rc1", None),
    ("web.db-1.10.0-rc1/web.db.ova", "web-db-1-10-0-rc1", None),
    ("web/1.9-1/1.9-1.ova", "web-1-9-1", None),
    ("esxi/8.0U1/esxi.ova", "esxi-8-0U1", None),
    # A month says as little as a year does.
    ("web/2025-10/disk.vmdk", "web", None),
    ("web/2025_12/web.ova", "web", None),
    ("web/2025-10.ova", "web", None),
    ("web/2025-13/disk.vmdk", "web-2025-13", None),
    # Branches and stages are of something.
    ("web/prod/1.8.0/disk.vmdk", "web-prod", "1.8.0"),
    ("web/nightly/2025-10-12/disk.vmdk", "web-nightly", "2025.10.12"),
    ("web/1.8.0/Staging.ova", "web-Staging", "1.8.0"),
    ("nightly/disk.vmdk", "nightly", None),
    ("prod/1.8.0/disk.vmdk", "prod", "1.8.0"),
    ("web/prod-db.ova", "prod-db", None),
    ("web/prod-1.8.0.ova", "web-prod", "1.8.0"),
    ("web/1.8.0-prod/disk.vmdk", "web-prod", "1.8.0"),
    ("prod/prod.ova", "prod", None),
    ("web-prod/prod.ova", "web-prod", None),
    ("web-prod/prod/disk.vmdk", "web-prod", None),
    ("web/1.4.2/main.ova", "web-main", "1.4.2"),
    ("web/rc1.ova", "web-rc1", None),
    ("web/prod01/disk.vmdk", "web-prod01", None),
    ("web/test-1/disk.vmdk", "web-test-1", None),
    ("web/pre-prod/1.4.2/disk.vmdk", "web-pre-prod", "1.4.2"),
    ("web/master-2022/disk.vmdk", "master-2022", None),
    # Listed words with a version behind them.
    ("web/full-2025-08-01.vhdx", "web-full", "2025.08.01"),
    ("web/vmware-1.4.2.ova", "web-vmware", "1.4.2"),
    ("web/amd64-1.4.2.ova", "web-amd64", "1.4.2"),
    ("web/base-v3.ova", "web-base", "3.0.0"),
    ("web/backup_full_2025-08-01.ova", "web-backup_full", "2025.08.01"),
    ("web/linux/1.4.2.ova", "web-linux", "1.4.2"),
    # Words behind a version are of what has the version.
    ("web/1.4.2/ubuntu-22.04/disk.vmdk", "web-ubuntu-22-04", "1.4.2"),
    ("web/1.4.2/ubuntu-22.04.vmdk", "web-ubuntu-22-04", "1.4.2"),
    ("web-1.4.2/ubuntu-22.04/disk.vmdk", "web-ubuntu-22-04", "1.4.2"),
    ("db/1.4.2/ubuntu-22.04-amd64.vmdk", "db-ubuntu-22-04-amd64", "1.4.2"),
    ("web/2025-08-01/ubuntu-24.04.qcow2", "web-ubuntu-24-04", "2025.08.01"),
    ("web/1.9.0-rc1/ubuntu-24.04.qcow2", "web-1-9-0-rc1-ubuntu-24-04", None),
    ("web/1.9.0-rc1/el9/disk.vmdk", "web-1-9-0-rc1-el9", None),
    ("web/1.4.2-ubuntu-22.04.vmdk", "web-ubuntu-22-04", "1.4.2"),
    ("web/2025-08-01_el9/disk.vmdk", "web_el9", "2025.08.01"),
    ("bookworm/20240211-debian-12.qcow2", "debian-12", "2024.02.11"),
    ("golden/rhel-8.8/1.0.3/rhel-8.8.qcow2", "rhel-8-8", "1.0.3"),
    ("golden/ubuntu-22.04/v3/ubuntu.qcow2", "ubuntu-22-04", "3.0.0"),
    ("bookworm/daily/20240211/debian-12-generic-amd64.qcow2", "debian-12-generic-amd64", "2024.02.11"),
    ("debian/12/20240211/debian-12-generic-amd64.qcow2", "debian-12-generic-amd64", "2024.02.11"),
    ("debian/20240211/bookworm.qcow2", "bookworm", "2024.02.11"),
    ("web/1.4.2/windows/disk.vhdx", "web-windows", "1.4.2"),
    ("web/1.4.2/noble/disk.vmdk", "web-noble", "1.4.2"),
    ("web/1.4.2/el9/amd64/disk.vmdk", "web-el9-amd64", "1.4.2"),
    ("web/2.0/hw13/disk.vmdk", "web-hw13", "2.0.0"),
    ("web/2.0/kernel-6.1/disk.vmdk", "web-kernel-6-1", "2.0.0"),
    ("web/2.0/20G/disk.vmdk", "web-20G", "2.0.0"),
    ("web/v1.4.2/linux/amd64/disk.vmdk", "web-linux-amd64", "1.4.2"),
    ("web/ubuntu-22.04/disk.vmdk", "ubuntu", "22.04.0"),
    ("rhel/9.4/rhel-9.4-amd64.qcow2", "rhel-amd64", "9.4.0"),
    ("esxi/8.0.2/ubuntu-22.04.vmdk", "ubuntu", "22.04.0"),
    # A folder's number, with a version below it, is read like a file's name.
    ("golden/ubuntu-22.04/1.4.2/disk.vmdk", "ubuntu-22-04", "1.4.2"),
    ("golden/rhel-8.8/2025-01-05/disk.vmdk", "rhel-8-8", "2025.01.05"),
    ("golden/rhel-8.8/v3/disk.vmdk", "rhel-8-8", "3.0.0"),
    ("mysql-5.7/1.4.2/disk.vmdk", "mysql-5-7", "1.4.2"),
    ("bento/ubuntu-22.04/202401.31.0/virtualbox/box.ovf", "ubuntu-22-04-virtualbox", "202401.31.0"),
    ("web-1.4.2/2025-01-05/disk.vmdk", "web", "1.4.2"),
    ("web-1.4.2/1.5.0/disk.vmdk", "web-1-4-2-1-5-0", None),
    ("web-1.4/1.4.2/disk.vmdk", "web", "1.4.2"),
    ("web/1.4/1.4.2/disk.vmdk", "web", "1.4.2"),
    ("web/1.4.2/rc1/disk.vmdk", "web-1-4-2-rc1", None),
    ("web-1.4.2/rc1/disk.vmdk", "web-1-4-2-rc1", None),
    ("web/v2/1.4.2-rc1/disk.vmdk", "web-v2-1-4-2-rc1", None),
    ("web/v3-beta.ova", "web-v3-beta", None),
    ("web/vmware-1.4.2-rc1.ova", "web-vmware-1-4-2-rc1", None),
    ("web/prod-1.4.2-rc1/disk.vmdk", "web-prod-1-4-2-rc1", None),
    ("web/base-9000/disk.vmdk", "base-9000", None),
    ("web/v2rc1/disk.vmdk", "web-v2rc1", None),
    ("web/v2-prod.ova", "web-v2-prod", None),
    ("web/1.4.2-eu-west-1.ova", "web-1-4-2-eu-west-1", None),
    ("web/1.4.2-rc1-amd64/disk.vmdk", "web-1-4-2-rc1-amd64", None),
    ("web/1.4.2-dev.20250801/disk.vmdk", "web-1-4-2-dev-20250801", None),
    ("web/20250801-rc1/disk.vmdk", "web-20250801-rc1", None),
    ("web/1.4_20250801/disk.vmdk", "web-1-4", "2025.08.01"),
    # Numbers, days and commits are of something, too.
    ("web/08-01-2025/disk.vmdk", "web-08-01-2025", None),
    ("web/01_08_2025/disk.vmdk", "web-01_08_2025", None),
    ("web/2025-W31/disk.vmdk", "web-2025-W31", None),
    ("web/2025-Q3.ova", "web-2025-Q3", None),
    ("web/Aug-2025/disk.vmdk", "web-Aug-2025", None),
    ("web/1-4-2/disk.vmdk", "web-1-4-2", None),
    ("web/9f8e7d6c/disk.vmdk", "web-9f8e7d6c", None),
    # A month, and the seconds or milliseconds since 1970, are new for each import.
    ("web/202508.ova", "web", None),
    ("web/202508/disk.vmdk", "web", None),
    ("web/1754052896/disk.vmdk", "web", None),
    ("web/1754052896123.ova", "web", None),
    ("customers/100234/disk.vmdk", "customers-100234", None),
    ("web/1234.ova", "web-1234", None),
    ("web/1.4.2/1234.ova", "web-1234", "1.4.2"),
    ("web/1.4.2/1234/disk.vmdk", "web", "1.4.2"),
    ("web/1.4/3/disk.vmdk", "web-1-4-3", None),
    ("db/rc1.ova", "db-rc1", None),
    ("windows/2019/disk.vhdx", "windows-2019", None),
    ("postgres/14/1.2.0/disk.raw", "postgres-14", "1.2.0"),
    ("customers/4711/2025-08-01/disk.vmdk", "customers-4711", "2025.08.01"),
    ("proxmox/images/100/disk.raw", "proxmox-100", None),
    ("web/main/123/disk.vmdk", "web-main-123", None),
    ("images/1.4.2/ubuntu-22.04/amd64/disk.raw", "ubuntu-22-04-amd64", "1.4.2"),
    ("10.20.30.40/1.4/disk.vmdk", "10-20-30-40-1-4", None),
    # A build's folder between the version and the file.
    ("web/1.6.0/x86_64/web.ova", "web", "1.6.0"),
    ("web/2025-08-01/vmware/web.ova", "web", "2025.08.01"),
    ("web/1.9.0-rc1/qemu/web.qcow2", "web-1-9-0-rc1", None),
    # A month or a day first as a folder states no version of a file with a name.
    ("2025.08/web.ova", "web", None),
    ("2025-08/web.ova", "web", None),
    ("01.08.2025/web.ova", "web", None),
    ("web/2025.08/disk.vmdk", "web", "2025.08.0"),
    ("web/2026-11/23/disk.vmdk", "web", None),
    ("web/2026/11/23/10/disk.vmdk", "web", None),
    # The number of a copy.
    ("web-1.4.2 (1).ova", "web", "1.4.2"),
    ("web-1.4.2(12).ova", "web", "1.4.2"),
    ("web (2).ova", "web 2", None),
    ("web (2024).ova", "web -2024", None),
    ("Ubuntu 22.04 (64bit).vmdk", "Ubuntu -64bit", "22.04.0"),
    # AWS's own ids.
    ("web/export-ami-b8097556c008cd22t.vmdk", None, None),
    ("web/export-i-0123456789abcdef0.ova", None, None),
    ("web/vol-0123456789abcdef0.raw", None, None),
    ("web/snap-01234567.img", None, None),
    ("exports/ami-0abcdef1234567890/disk.vmdk", None, None),
    ("web/vol-0abcdef1234567890/disk.raw", "web", None),
    ("web/1.4.2/ami-0abcdef1234567890/web.raw", "web", "1.4.2"),
    ("web/ami-01234567.bin", "ami-01234567-bin", None),
    ("web/vol-backups.raw", "vol-backups", None),
    # Suffixes of VMware's.
    ("web-1.4.2_OVF10.ova", "web", "1.4.2"),
    ("web_OVF10-disk1.vmdk", "web", None),
    # A stem too short, which keeps its version where no folder is.
    ("fw-2.1.ova", "fw-2-1", None),
    ("images/fw-2.1.ova", "fw-2-1", None),
    ("fw-1.4.2/disk.vmdk", "fw-1-4-2", None),
    # A stem too short for a name is joined to the folder above that says something.
    ("appliance/fw-disk2.vmdk", "appliance-fw", None),
    ("appliance-2.0/fw.vmdk", "appliance-fw", "2.0.0"),
    ("appliance-2.0/fw-2.1.vmdk", "appliance-fw", "2.1.0"),
    ("appliance/export/fw.vmdk", "appliance-fw", None),
    ("web/a/b.ova", "a-b", None),
    ("a/b.ova", "a-b", None),
    ("fw.ova", "fw", None),
    # Suffixes and extensions.
    ("web-disk1-1.4.2.vmdk", "web", "1.4.2"),
    ("web.raw.xz", "web", None),
    ("web.qcow2.bz2", "web", None),
    ("web.img.zst", "web", None),
    ("web.ova.ova.ova.ova.ova", "web-ova", None),
    ("vzdump-qemu-220-2026_02_11-03_15_00.vma.zst", "vzdump-qemu-220", "2026.02.11"),
    # Windows writes paths with backslashes.
    ("imports\\web-1.4.2\\disk1.vmdk", "web", "1.4.2"),
    ("日本/disk.vmdk", "RiBen", None),
    ("web-\uff11.\uff14.\uff12.ova", "web", "1.4.2"),
    ("", None, None),
]


@pytest.mark.parametrize(("key", "name", "version"), PATHS)
def test_a_key_tells_name_and_version(key: str, name: str | None, version: str | None) -> None:
    """The last segment of an S3 key gives the name and the version, as the table of docs/names.md says."""
    assert disks.read(Disk(bucket="exports", key=key)) == (name, version)


PRODUCTS = ["web", "api"]
VERSIONS = ["1.4.2", "v1.4.2", "1.4", "v2", "2025-08-01", "20250801", "2025.08", "1.9.0-rc1"]
BELOW = [
    *("linux", "windows-2022", "ubuntu-22.04", "ubuntu-24.04", "debian-12-amd64", "el9", "noble", "hw13", "20G"),
    *("amd64", "x86_64", "vmware", "full", "rc1", "prod", "dev2", "main", "latest", "9f8e7d6c", "1234"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("below", BELOW)
@pytest.mark.parametrize("form", ["{}/{}/{}/disk.vmdk", "{}/{}/{}.vmdk", "{}/{}-{}.vmdk", "{}/{}_{}/disk.vmdk"])
def test_no_two_products_get_one_name(form: str, below: str, version: str) -> None:
    """What is behind a version never becomes the name of two products."""
    names = {disks.read(Disk(bucket="exports", key=form.format(product, version, below))).name for product in PRODUCTS}
    assert len(names) == len(PRODUCTS)


@pytest.mark.parametrize("version", [version for version in VERSIONS if "rc" not in version])
@pytest.mark.parametrize("form", ["{}/{}/disk.vmdk", "{}/{}.vmdk", "{}/{}/amd64/disk.vmdk"])
def test_no_two_systems_get_one_name(form: str, version: str) -> None:
    """The number of a folder that a version is below never becomes a version of the same name."""
    keys = [form.format(system, version) for system in ("rhel-8.8", "rhel-9.2", "rhel/8", "rhel/9", "rhel8", "rhel9")]
    names = [disks.read(Disk(bucket="exports", key=key)).name for key in keys]
    assert len({*names}) == len(names)


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


@pytest.mark.parametrize(
    ("day", "version"),
    [
        ("1989-12-31", None),
        ("1990-01-01", "1990.01.01"),
        ("2026-11-23", "2026.11.23"),
        ("2026-11-24", "2026.11.24"),
        ("2026-11-25", None),
        ("2062.11.23", None),
        ("2062.11.23.1", None),
        ("v20621123", None),
    ],
)
def test_only_a_plausible_day_is_a_version(day: str, version: str | None) -> None:
    """A day before 1990, or later than the day after the AMI's creation in UTC, stays in the name."""
    # The 24th in Apia, the 23rd in UTC.
    created = datetime(2026, 11, 24, 9, tzinfo=timezone(timedelta(hours=13)))
    told = disks.read(Disk(key=f"erp-{day}.vmdk"), created)
    assert told == (("erp", version) if version else (f"erp-{day.replace('.', '-')}", None))


def test_the_last_day_of_time_is_no_error() -> None:
    """Python has no day after 9999-12-31."""
    last = datetime(9999, 12, 31, tzinfo=UTC)
    assert disks.read(Disk(key="erp-2026-11-23.vmdk"), last) == ("erp", "2026.11.23")
