"""The words of file names that are neither the name nor the version of an image, by what they are."""

from typing import Final

_KINDS: Final = {
    "architecture": (
        "32-bit 32bit 64-bit 64bit aarch64 amd64 arm arm64 armhf armv7 genericx86 genericx86-64 i386 i486 i586 "
        "i686 ppc64 ppc64le riscv64 s390x x64 x86 x86-64"
    ),
    "hypervisor": (
        "ahv bhyve esx esxi fusion gen1 gen2 hvm hyper-v hyperv kvm kvm-and-xen libvirt nutanix olvm ovirt "
        "parallels proxmox pve qemu rhev rhv vagrant vbox virtualbox vmw vmware vsphere workstation xen xenserver"
    ),
    "cloud": (
        "alibaba alicloud aliyun ami aws azure cloud cloud-init cloudguard cloudimg cloudinit cloudstack "
        "digitalocean ebs ec2 exoscale gce gcp genericcloud hetzner ibmcloud linode metal nocloud oci openstack "
        "oraclecloud scaleway upcloud vultr"
    ),
    "format": (
        "bios boot btrfs combined disk efi ext3 ext4 fortinet-out gpt hybrid image img iso legacy lvm mbr ova "
        "ovf qcow2 raw scsi secureboot serial signed sparse squashfs thin uefi ufs usb vdi vga vhd vhdx virtio vmdk "
        "xfs zfs"
    ),
    "flavour": (
        "all appliance base basic ce clean community core default ee enterprise eval evaluation final fips full ga "
        "generic gm hardened headless installer light linux lite live ltm lts minimal nano oem os oss release slim "
        "small stable standard std template tiny trial va virtual vm"
    ),
    "code name": ("bionic bookworm bullseye buster focal jammy noble stretch trixie xenial"),
}
TRAILING: Final = {kind: frozenset(words.split()) for kind, words in _KINDS.items()}
"""What can stand behind a version and stays in the name: for whom an image was built.

Not among them are editions and roles of an operating system (`server`, `desktop`), which belong to its release.
"""

_SYSTEMS: Final = (
    "alma almalinux alpine amzn centos deb debian el fc fedora freebsd lubuntu ol opensuse photon rhel rocky "
    "rockylinux sles ubuntu windows"
)
SYSTEMS: Final = frozenset(_SYSTEMS.split())
"""Operating systems: more words behind a version, which can have a number: `debian-11`, `centos7`, `ubuntu-22.04`."""

NUMBERED: Final = frozenset(("hw", "kernel", "vmx")) | SYSTEMS
"""All that can have a number: `hw13`, `kernel-6.1`."""

_BEFORE_RELEASE: Final = (
    "alpha beta canary current daily dev devel edge experimental head latest main master milestone next nightly pre "
    "preview prerelease prototype rc rolling snapshot test testing trunk unstable weekly"
)
BEFORE_RELEASE: Final = frozenset(_BEFORE_RELEASE.split())
"""What comes before a release: three numbers cannot hold it."""

STAGES: Final = BEFORE_RELEASE | frozenset(("develop", "prod", "production", "qa", "stage", "staging", "uat"))
"""Branches and stages that have a folder of their own: each product may have one."""

SAYS_NOTHING: Final = frozenset(
    {
        *("artifact", "backup", "boot", "box", "build", "current", "disk", "dist", "download", "export", "flash"),
        *("image", "import", "latest", "lts", "os", "osdisk", "output", "release", "root", "rootfs", "snapshot"),
        *("system", "template", "upload", "virtual machine", "vm"),
        *("ext4", "gce", "img", "ova", "ovf", "qcow2", "raw", "vdi", "vhd", "vhdx", "vmdk", "vpc"),
        *("hard disk", "hard drive", "new virtual hard disk", "virtual disk", "virtual hard disk"),
        *("hda", "sda", "vda", "xvda", "virtioa"),
    }
)
"""Files and folders that say nothing of an image, also in the plural, or, but for `os` and `vm`, with a number."""

EXTENSIONS: Final = frozenset(
    {
        *("img", "ova", "ovf", "qcow2", "raw", "vdi", "vhd", "vhdx", "vma", "vmdk"),
        *("7z", "bz2", "gz", "lz4", "tar", "tgz", "xz", "zip", "zst"),
    }
)
"""Of disks, appliances, backups and archives."""
