"""What the name of one file or folder tells: each rule, where it ends, and what it must not take for a version."""

from datetime import date

import pytest

from vm_image_import.derive import filenames
from vm_image_import.derive.words import BEFORE_RELEASE, EXTENSIONS, NUMBERED, SAYS_NOTHING, SYSTEMS, TRAILING

TODAY = date(2026, 11, 23)

# stem, name, version
VERSIONS = [
    # Words behind the version stay in the name, with what separates them.
    ("talos-1.7.2-aws-amd64", "talos-aws-amd64", "1.7.2"),
    ("parrot-6.3.2_amd64", "parrot_amd64", "6.3.2"),
    ("amzn2-2.0.1-x86_64.xfs.gpt", "amzn2-x86_64.xfs.gpt", "2.0.1"),
    ("web-1.4.2-KVM-and-Xen", "web-KVM-and-Xen", "1.4.2"),
    ("web-1.4.2_linux", "web_linux", "1.4.2"),
    ("web-v2-amd64", "web-amd64", "2.0.0"),
    ("web-1.4-hw13", "web-hw13", "1.4.0"),
    ("web-1.4.2-ovf", "web-ovf", "1.4.2"),
    ("web-1.4.2-debian-11-amd64", "web-debian-11-amd64", "1.4.2"),
    ("web-1.4.2.centos7", "web.centos7", "1.4.2"),
    ("web-1.4.2-ubuntu-22.04", "web-ubuntu-22.04", "1.4.2"),
    ("web-1.4.2-kernel-6.1-arm64", "web-kernel-6.1-arm64", "1.4.2"),
    ("web-1.4.2-kernel", "web-kernel", "1.4.2"),
    # … but are looked past only where a version is behind them.
    ("ubuntu-22.04", "ubuntu", "22.04.0"),
    ("ubuntu-22.04-amd64", "ubuntu-amd64", "22.04.0"),
    ("nocloud_alpine-3.19.1-x86_64", "nocloud_alpine-x86_64", "3.19.1"),
    ("centos-7.9.2009", "centos", "7.9.2009"),
    # Numbers.
    ("web-1.2.3.4", "web", "1.2.3"),
    ("web-1.2.3.4.5.6", "web", "1.2.3"),
    ("web-1.2.3.99999999999", "web-1.2.3.99999999999", None),
    ("web-1.2.3.1073741824", "web", "1.2.3"),
    ("web-1.2.1073741824", "web-1.2.1073741824", None),
    ("web-1_4_2", "web", "1.4.2"),
    ("web-v1_4_2", "web", "1.4.2"),
    ("web-1_4", "web-1_4", None),
    ("web_10_12_0006", "web", "10.12.0006"),
    ("web_10_12_1999", "web_10_12_1999", None),
    ("web_1_2_2020", "web_1_2_2020", None),
    ("web_10_1200_1", "web_10_1200_1", None),
    ("web-2026_4_2", "web-2026_4_2", None),
    ("web_2_1_4_2", "web", "2.1.4"),
    ("web_3_2_1_4_2", "web_3_2_1_4_2", None),
    ("web-16_12_2020", "web-16_12_2020", None),
    ("-1.4.2", "", "1.4.2"),
    ("1.4.2-amd64", "amd64", "1.4.2"),
    ("web-1.4.2-.", "web", "1.4.2"),
    # A build behind three numbers; behind two only one that cannot be the third.
    ("web-3.5.1-10027070", "web", "3.5.1"),
    ("web-3.5.1-1", "web", "3.5.1"),
    ("web-3.5.1_1", "web", "3.5.1"),
    ("web-5.5.0.20200-2183109", "web", "5.5.0"),
    ("web-1.5-1747399384", "web", "1.5.0"),
    ("web-1.5-12345", "web", "1.5.0"),
    ("web-1.5-1234", "web-1.5-1234", None),
    ("web-1.2-3", "web-1.2-3", None),
    ("web-v2-12345", "web-v2-12345", None),
    ("web-1.4.2 7", "web-1.4.2 7", None),
    # Builds with a word, patches, hotfixes, commits and letters.
    ("web-1.4.2-build2487", "web", "1.4.2"),
    ("web-1.4.2-build.77", "web", "1.4.2"),
    ("web-1.4.2-hotfix1", "web", "1.4.2"),
    ("web-1.4.2-patch-3", "web", "1.4.2"),
    ("web-1.4.2-rev3", "web", "1.4.2"),
    ("web-1.4.2-h3", "web", "1.4.2"),
    ("web-1.4.2-p3-amd64", "web-amd64", "1.4.2"),
    ("web-1.4.2-amd64-r0", "web-amd64", "1.4.2"),
    ("web-1.4.2-S1", "web", "1.4.2"),
    ("web-1.4_u3", "web-1.4_u3", None),
    ("web-6.1-R0101P02", "web-6.1-R0101P02", None),
    ("web-v700-build0512", "web-v700-build0512", None),
    ("web-4.0-c001795b8", "web", "4.0.0"),
    ("web-1.4.2-3-g1a2b3c4", "web", "1.4.2"),
    ("web-24.05.20240531.63c3a29", "web", "2024.05.31"),
    ("web-24.05.63c3a29", "web-24.05.63c3a29", None),
    ("web-1.4.2-1a2b3c", "web-1.4.2-1a2b3c", None),
    ("web-1.4-defaced", "web-1.4-defaced", None),
    ("web-17.03.04a", "web", "17.03.04"),
    ("web-7.4.3.F", "web", "7.4.3"),
    ("web-4.23.0.1F-amd64", "web-amd64", "4.23.0"),
    ("web-17.03a", "web-17.03a", None),
    ("web-1.4.x", "web-1.4.x", None),
    ("web-v2a", "web-v2a", None),
    ("web-1.4.2+build.7", "web", "1.4.2"),
    ("photon-3-kube-v1.22.8+vmware.1-tkg.1-d69148b2a4aa", "photon-3-kube", "1.22.8"),
    ("web-1.4.2+build.7-amd64", "web-amd64", "1.4.2"),
    ("web-1.4.2+arm64", "web-arm64", "1.4.2"),
    ("web-1.4.2+custom", "web", "1.4.2"),
    ("web+db", "web+db", None),
    ("my+web-1.4.2", "my+web", "1.4.2"),
    # What could be the third number is a doubt behind two.
    ("web-1.4-h3", "web-1.4-h3", None),
    ("web-24.3.R1", "web-24.3.R1", None),
    ("web-1.4-rev3-amd64", "web-1.4-rev3-amd64", None),
    ("web-1.4-build3", "web", "1.4.0"),
    ("web-16.0.0-0.0.12", "web", "16.0.0"),
    ("web-16.0.0.3-0.0.12.ALL", "web.ALL", "16.0.0"),
    ("web-1.4-0.0.12", "web-1.4", "0.0.12"),
    ("web.x86_64-0.0.1", "web.x86_64", "0.0.1"),
    # Words of letters behind three numbers.
    ("cumulus-linux-5.3.1-vx-amd64-qemu", "cumulus-linux-vx-amd64-qemu", "5.3.1"),
    ("LoadMaster-7.2.44.0.16685.RELEASE-Linux-KVM-XEN-FREE", "LoadMaster.RELEASE-Linux-KVM-XEN-FREE", "7.2.44"),
    ("web-1.4.2-prod", "web-prod", "1.4.2"),
    ("web-2026-01-05-old", "web-old", "2026.01.05"),
    ("web-1.4-prod", "web-1.4-prod", None),
    ("web-v2-prod", "web-v2-prod", None),
    ("web-1.4.2-1SLOT", "web-1.4.2-1SLOT", None),
    ("web-1.4.2-C", "web-1.4.2-C", None),
    ("vyos-1.4.2-10G-qemu", "vyos-10G-qemu", "1.4.2"),
    ("vyos-1.4-2gb", "vyos-2gb", "1.4.0"),
    # In front, two numbers count as three.
    ("9.6-vsim-simulate", "vsim-simulate", "9.6.0"),
    ("9.6-p2-vsim", "9.6-p2-vsim", None),
    ("9-vsim", "9-vsim", None),
    ("v9-vsim", "v9-vsim", None),
    ("1.4.2-web", "web", "1.4.2"),
    ("20260108-ubuntu-24.04", "ubuntu-24.04", "2026.01.08"),
    ("20260108-dc01", "20260108-dc01", None),
    ("20260108-web-1.4.2", "20260108-web-1.4.2", None),
    # The release of an operating system behind another word.
    ("librenms-ubuntu-18.04-amd64", "librenms-ubuntu-18.04-amd64", None),
    ("my-centos-7.9.2009", "my-centos-7.9.2009", None),
    ("my-rocky-linux-9.4", "my-rocky-linux-9.4", None),
    ("my-ubuntu-server-24.04", "my-ubuntu-server-24.04", None),
    ("my-ubuntu-24.04-1.4", "my-ubuntu-24.04-1.4", None),
    ("my-ubuntu-24.04-1.4.2", "my-ubuntu-24.04", "1.4.2"),
    ("my-ubuntu-v1.4", "my-ubuntu", "1.4.0"),
    ("my-ubuntu-20260108", "my-ubuntu", "2026.01.08"),
    ("rocky-linux-9.4", "rocky-linux", "9.4.0"),
    ("server-24.04", "server", "24.04.0"),
    # A point ends a name before three numbers.
    ("csr1000v-universalk9.17.03.01", "csr1000v-universalk9", "17.03.01"),
    ("nexus9500v64.10.5.5.M", "nexus9500v64", "10.5.5"),
    ("web-amd64.1.4.2", "web-amd64", "1.4.2"),
    ("web-amd64.1.4", "web-amd64.1.4", None),
    ("web-amd10.11.0.0", "web-amd10.11.0.0", None),
    ("web1.4.2", "web1.4.2", None),
    ("web1.22.33", "web1.22.33", None),
    ("web1.2.3.4", "web1.2.3.4", None),
    ("web123.22.3.4", "web123.22.3.4", None),
    ("web-v1.22.3.4", "web", "1.22.3"),
    ("win10.0.19045.2364", "win10.0.19045.2364", None),
    # Days.
    ("web-20231013-1532", "web", "2023.10.13"),
    ("web-20240115.3", "web", "2024.01.15"),
    ("web-20260720.0.x86_64", "web.x86_64", "2026.07.20"),
    ("web-20210315.17387", "web", "2021.03.15"),
    ("web-20160609-2", "web", "2016.06.09"),
    ("web_20240115_v2", "web", "2024.01.15"),
    ("web-2024-01-15T22-00-12Z", "web", "2024.01.15"),
    ("web-2024-01-15T220012", "web", "2024.01.15"),
    ("web_2024-01-15_22-00", "web", "2024.01.15"),
    ("web 2024-01-15 22:00:12", "web", "2024.01.15"),
    ("web_2026_02_11-03_15_00", "web", "2026.02.11"),
    ("web_v2026_02_11-03_15_00-1", "web", "2026.02.11"),
    ("web-20240115103000", "web", "2024.01.15"),
    ("web-202401151030", "web", "2024.01.15"),
    ("web-202401151030.1", "web", "2024.01.15"),
    ("web-46.82.202012051820-0-aws", "web-aws", "2020.12.05"),
    ("web-46.20201205182012", "web", "2020.12.05"),
    ("web-9.6.20250402-0", "web", "2025.04.02"),
    ("web-2.0.20240109.0", "web", "2024.01.09"),
    ("web-39.20240128.3.0", "web", "2024.01.28"),
    ("web-v39.20240128.3.0-1", "web", "2024.01.28"),
    ("web-23.11.20240326.4473351", "web", "2024.03.26"),
    ("web-46.82.20261125", "web-46.82.20261125", None),
    ("web-46.82.20261345", "web", "46.82.20261345"),
    ("web-1.4.2.20240115", "web", "1.4.2"),
    ("web-46.82.20201205", "web", "2020.12.05"),
    ("web-v20240115", "web", "2024.01.15"),
    ("web-20240115", "web", "2024.01.15"),
    ("web-2024011510", "web-2024011510", None),
    ("web-20241345", "web-20241345", None),
    ("web-2024-01_15", "web-2024-01_15", None),
    ("web-2100-01-15", "web-2100-01-15", None),
    ("web-20261124", "web", "2026.11.24"),
    ("web-20261125", "web-20261125", None),
    ("web-2026.11.25", "web-2026.11.25", None),
    ("web-19891231", "web-19891231", None),
    ("web-20240115.103000.0", "web", "2024.01.15"),
    # Not those that do not rise with time.
    ("web-16.12.2020", "web-16.12.2020", None),
    ("web-16.12.2020-1", "web-16.12.2020-1", None),
    ("web-12.2020", "web-12.2020", None),
    ("web-v12.2020", "web-v12.2020", None),
    ("16.12.2020", "", None),
    ("12.2020", "", None),
    ("web-31.7.2025", "web-31.7.2025", None),
    ("web-1.12.2025", "web-1.12.2025", None),
    ("web-8.2025", "web-8.2025", None),
    ("1.12.2025", "", None),
    ("web-7.9.2009", "web-7.9.2009", None),
    ("web-2020.12", "web", "2020.12.0"),
    # A whole version before a day is the version, and a release stays in the name unless it is there already.
    ("web-1.4.2-20240115", "web", "1.4.2"),
    ("web-1.4.2-49947-2022-03-24-04-32-56", "web", "1.4.2"),
    ("web-1.4.2-20991231", "web", "1.4.2"),
    ("web-v1.4-20240115", "web", "1.4.0"),
    ("web-v2-20240115", "web-v2", "2024.01.15"),
    ("ubuntu-22.04-20240115", "ubuntu-22.04", "2024.01.15"),
    ("Rocky-9-Base-9.4-20240523.0.x86_64", "Rocky-9-Base.x86_64", "2024.05.23"),
    ("Rocky-8-Base-9.4-20240523", "Rocky-8-Base-9.4", "2024.05.23"),
    # What could be one version or another is left to the scheme.
    ("web-16.0.0-0.1.12", "web-16.0.0-0.1.12", None),
    ("web-13.1-49.13", "web-13.1-49.13", None),
    ("web-1.4.2-1.5", "web-1.4.2-1.5", None),
    ("web-1.4.2-v2", "web-1.4.2-v2", None),
    ("web-1.4.2-ns.1.5.1", "web-1.4.2-ns.1.5.1", None),
    ("web-1.4.2-jdk-17.0.9-amd64", "web-1.4.2-jdk-17.0.9-amd64", None),
    ("web-20240115-1.4.2", "web-20240115-1.4.2", None),
    ("web-2024-01-15-v2", "web", "2024.01.15"),
    ("web-2024-01-15-v1.4", "web-2024-01-15-v1.4", None),
    ("web-2024-01-15-1.4", "web-2024-01-15-1.4", None),
    ("web-1.4.2-beta-2024-01-15", "web-1.4.2-beta-2024-01-15", None),
    ("ubuntu-22.04-1.4.2", "ubuntu-22.04", "1.4.2"),
    ("ubuntu-22.04-v2", "ubuntu-22.04", "2.0.0"),
    ("web-v1-v2", "web-v1", "2.0.0"),
    ("bitnami-lamp-8.2-8.2.8-r0-amd64", "bitnami-lamp-8.2-amd64", "8.2.8"),
    # No versions at all.
    ("web-01", "web-01", None),
    ("web-01-02", "web-01-02", None),
    ("web-1.4.2-rc1", "web-1.4.2-rc1", None),
    ("web-1.4.2-beta.1", "web-1.4.2-beta.1", None),
    ("web-1.4.2-beta.1.2", "web-1.4.2-beta.1.2", None),
    ("web-1.4.2-SNAPSHOT", "web-1.4.2-SNAPSHOT", None),
    ("ubuntu-22.04-server", "ubuntu-22.04-server", None),
    ("win-64-bit", "win-64-bit", None),
    ("web-hw13", "web-hw13", None),
    ("linux-kernel-6.1", "linux-kernel-6.1", None),
    ("web-c001795b8", "web-c001795b8", None),
    ("web-10.20.30.40", "web-10.20.30.40", None),
    ("web-172.16.0.1", "web-172.16.0.1", None),
    ("web-192.168.0.1", "web-192.168.0.1", None),
    ("web-172.32.0.1", "web", "172.32.0"),
    ("vJunos-23.2R1.15", "vJunos-23.2R1.15", None),
    ("x86_64-kvm", "x86_64-kvm", None),
    ("", "", None),
]


@pytest.mark.parametrize(("stem", "name", "version"), VERSIONS)
def test_a_stem_tells_name_and_version(stem: str, name: str, version: str | None) -> None:
    """Each rule gives the version where it applies, and leaves the stem whole where it does not."""
    assert filenames.split(stem, TODAY) == (name, version)


@pytest.mark.parametrize("word", sorted({*frozenset().union(*TRAILING.values()), *NUMBERED}))
def test_every_trailing_word_is_looked_past(word: str) -> None:
    """Each word of the list is found behind a version, in capital letters, too."""
    assert filenames.split(f"web-1.4-{word.upper()}", TODAY) == (f"web-{word.upper()}", "1.4.0")


@pytest.mark.parametrize("word", sorted(BEFORE_RELEASE))
def test_what_comes_before_a_release_is_no_release(word: str) -> None:
    """Three numbers cannot express that 1.4.2-beta is before 1.4.2, so the scheme decides."""
    for stem in (f"web-1.4.2-{word.upper()}", f"web-1.4.2-{word}-amd64", f"web-1.4.2-{word}.1"):
        assert filenames.split(stem, TODAY) == (stem, None)


@pytest.mark.parametrize("word", sorted(SYSTEMS))
def test_the_release_of_a_system_is_the_version_of_that_system_only(word: str) -> None:
    """The number behind an operating system is a version where only listed words are before it."""
    assert filenames.split(f"{word}-9.3", TODAY) == (word, "9.3.0")
    assert filenames.split(f"nocloud_{word}-9.3", TODAY) == (f"nocloud_{word}", "9.3.0")
    assert filenames.split(f"my-{word}-9.3", TODAY) == (f"my-{word}-9.3", None)


@pytest.mark.parametrize("word", sorted(NUMBERED))
def test_a_numbered_word_takes_its_number_with_it(word: str) -> None:
    """The number of a system or format behind the version is no version."""
    assert filenames.split(f"web-1.4.2-{word}-9.3", TODAY) == (f"web-{word}-9.3", "1.4.2")
    assert filenames.split(f"web-1.4.2-{word}9", TODAY) == (f"web-{word}9", "1.4.2")


def test_the_lists_of_words_are_tidy() -> None:
    """Words are in lower case, each is of one kind, and none is longer than what is looked at."""
    words = [word for kind in (*TRAILING.values(), NUMBERED) for word in kind]
    assert len(words) == len({*words})
    assert not BEFORE_RELEASE & {*words}
    assert all(word == word.lower() for word in (*words, *BEFORE_RELEASE, *SAYS_NOTHING, *EXTENSIONS))
    assert max(word.replace("_", "-").count("-") for word in words) < 3
