"""`make derive`."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from local import derive
from tests.conftest import ROOT


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the exit code of `make derive` with these arguments, and what it prints."""
    code = derive.main(arguments)
    return code, capsys.readouterr().out


def test_it_shows_what_an_import_becomes(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, version and tags of one import are shown, with their sources."""
    code, text = printed(capsys, "--key", "exports/web-1.4.2.ova", "--tags", "Name=mail gw,Team=shop")
    assert code == 0
    for part in ("mail gw", "tag Name", "1.4.2", "file name", "Team=shop"):
        assert part in text


def test_tags_are_written_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Spaces around keys and values, and commas in values, are understood."""
    code, text = printed(capsys, "--key", "web.ova", "--tags", "Name = mail gw , Team=a,b, Owner=c")
    assert code == 0
    for part in ("mail gw", "Team=a,b", "Owner=c"):
        assert part in text


def test_an_import_of_a_snapshot_has_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key, the tags and the description name the import."""
    assert "mail gw" in printed(capsys, "--tags", "Name=mail gw,Version=1.4.2")[1]
    assert "Mail gateway" in printed(capsys, "--description", "Mail gateway")[1]


def test_it_takes_the_disks_of_one_import(capsys: pytest.CaptureFixture[str]) -> None:
    """The boot disk names an import of several disks."""
    devices = "/dev/sdb=exports/data-9.9.ova,/dev/sda1=exports/web-1.4.2.ova"
    code, text = printed(capsys, "--devices", devices)
    assert code == 0
    assert "1.4.2" in text
    assert "9.9" not in text


def test_it_shows_a_line_for_each_key_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each key and URL of the file is one line: name, version, where they come from, and the key."""
    keys = tmp_path / "list.txt"
    long = f"exports/{'x' * 200}.ova"
    keys.write_text(f"exports/web-1.4.2.ova\n\nhttps://h.example/b%20c-v2.ova\n{long}\n", encoding="utf-8")
    code, text = printed(capsys, "--keys", str(keys))
    assert code == 0
    _, web, url, last = text.splitlines()
    assert [*web.split()] == ["web", "1.4.2", "file", "name", "exports/web-1.4.2.ova"]
    assert url.startswith("b c ")
    assert "date of the AMI" in last
    assert last.endswith(long)


def test_it_accepts_what_aws_s3_ls_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The lines of `aws s3 ls` give their keys, which can have spaces; folders and the summary are left out."""
    keys = tmp_path / "list.txt"
    keys.write_text(
        "                           PRE exports/\n"
        "2026-01-05 10:00:00          0 releases/\n"
        "2026-01-05 10:00:00 1234567890 releases/mail gw/1.4.2/disk 1.vmdk\n"
        "\nTotal Objects: 2\n   Total Size: 1234567890\n"
        "2026-01-05 10:00:00    0 Bytes human/\n"
        "2026-01-05 10:00:00  512 Bytes Bytes.raw\n"
        "2026-01-05 10:00:00    1.2 GiB 1.2 GiB.ova\n"
        "\n   Total Size: 1.2 GiB\n",
        encoding="utf-8",
    )
    _, text = printed(capsys, "--keys", str(keys))
    _, line, *human = text.splitlines()
    assert re.split(" {2,}", line) == ["mail gw", "1.4.2", "folder", "releases/mail gw/1.4.2/disk 1.vmdk"]
    assert [re.split(" {2,}", line)[-1] for line in human] == ["Bytes.raw", "1.2 GiB.ova"]


def test_a_list_that_cannot_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A byte order mark is no part of a key; another encoding, and a list without a key, are errors of the file."""
    keys = tmp_path / "list.txt"
    keys.write_text("web-1.4.2.ova\n", encoding="utf-8-sig")
    assert printed(capsys, "--keys", str(keys))[1].splitlines()[1].endswith(" web-1.4.2.ova")
    keys.write_text("web-1.4.2.ova\n", encoding="utf-16")
    assert printed(capsys, "--keys", str(keys)) == (1, f"KEYS={keys} is not UTF-8: save it as UTF-8.\n")
    keys.write_text("\n", encoding="utf-8")
    assert printed(capsys, "--keys", str(keys)) == (1, f"KEYS={keys} has no key: write one key or URL in each line.\n")


def test_it_tries_key_formats(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each key shows the format that it has, and each format how many keys have it."""
    keys = tmp_path / "list.txt"
    keys.write_text("releases/web/1.4.2/disk.vmdk\nreleases/web/1.4.3/disk.vmdk\nmail-2.0.ova\n", encoding="utf-8")
    formats = "releases/{name}/{version}/*.vmdk, {name}_v{version}.ova"
    code, text = printed(capsys, "--keys", str(keys), "--formats", formats)
    assert code == 0
    assert text.count("key format releases/{name}/{version}/*.vmdk") == 2
    assert text.splitlines()[-3:] == [
        "2 of 3 keys: releases/{name}/{version}/*.vmdk",
        "0 of 3 keys: {name}_v{version}.ova",
        "1 of 3 keys: no key format",
    ]
    code, text = printed(capsys, "--keys", str(keys), "--formats", "**/{name}.ova")
    assert code == 1
    assert "has **: write *" in text.splitlines()[1]


def test_it_marks_names_with_versions_and_dates(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A name that gets both is marked, whether the date is stated or the AMI's; a name with one of them is not."""
    keys = tmp_path / "list.txt"
    keys.write_text(
        "web-1.4.2.ova\nWeb.ova\ndb1-2.0.ova\ndb1-2026-01-05.ova\nerp.ova\nmail-1.0.ova\n", encoding="utf-8"
    )
    _, text = printed(capsys, "--keys", str(keys))
    assert text.splitlines()[-1] == "These names get both versions and dates, and a date is higher for ever: db1, web"
    keys.write_text("web-1.4.2.ova\nerp.ova\n", encoding="utf-8")
    assert "These names" not in printed(capsys, "--keys", str(keys))[1]


def test_it_marks_keys_with_one_name_and_version(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Keys that state one version of a name are listed; the files of one VM are not."""
    keys = tmp_path / "list.txt"
    alike = [f"{folder}/web-1.4.2.ova" for folder in "abcde"]
    others = ["a/web-1.4.2-disk1.vmdk", "a/WEB-1.5.0.ova", "a/mail.ova", "a/mail.vmdk"]
    keys.write_text("\n".join((*alike, *others)), encoding="utf-8")
    _, text = printed(capsys, "--keys", str(keys))
    *_, heading, first, second, third, fourth, last = text.splitlines()
    assert heading == "These keys get one name and version, web 1.4.2:"
    assert [first, second, third, fourth] == [f"  {key}" for key in alike[:4]]
    assert last == "  and 1 more"
    keys.write_text("\n".join((alike[0], *others)), encoding="utf-8")
    assert "These keys" not in printed(capsys, "--keys", str(keys))[1]


def test_it_marks_keys_of_folders_that_get_one_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Keys of different folders without a version that get one name are listed; those of one VM over time are not."""
    keys = tmp_path / "list.txt"
    one = ["backups/2026/01/05/dc01.vhdx", "backups/2026/01/06/dc01.vhdx", "backups/dc01.vhdx"]
    built = ["ci/1234/app.ova", "ci/1235/app.ova", "ci/9f8e7d6c/app.ova"]
    runs = ["job 2026-01-05/erp 1.ova", "job 2026-01-06/erp 1.ova"]
    keys.write_text("\n".join(("a/mail.ova", "b/Mail.ova", "b/mail-disk2.vmdk", *one, *built, *runs)), encoding="utf-8")
    _, text = printed(capsys, "--keys", str(keys))
    assert text.splitlines()[-3:] == [
        "These keys of different folders get one name, mail:",
        "  a/mail.ova",
        "  b/Mail.ova",
    ]
    assert text.count("These keys") == 1


def test_it_says_which_tags_are_not_used(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A tag whose key is in another case states nothing, which is said for one import and for many."""
    keys = tmp_path / "list.txt"
    keys.write_text("web.ova\nmail.ova\n", encoding="utf-8")
    _, text = printed(capsys, "--keys", str(keys), "--tags", "version=3,Team=x")
    assert text.splitlines()[-1] == "The tag 'version' is not Version: it states nothing."
    _, text = printed(capsys, "--key", "web.ova", "--tags", "version=3,Team=x")
    assert "it is not Version" in text
    assert "it is not" not in printed(capsys, "--key", "web.ova", "--tags", "Version=3,Team=x")[1]


def test_increment_shows_no_version(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under `increment`, what would be the next patch is said and no version is made up."""
    monkeypatch.setattr(derive, "folder_contexts", lambda _: [{"versionScheme": "increment"}])
    _, text = printed(capsys, "--key", "web.ova")
    assert "next patch" in text
    assert "1.0.0" not in text
    keys = tmp_path / "list.txt"
    keys.write_text("web.ova\nweb-1.4.2.ova\n", encoding="utf-8")
    _, text = printed(capsys, "--keys", str(keys))
    assert re.split(" {2,}", text.splitlines()[1])[:2] == ["web", "next patch"]
    assert "These names" not in text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--keys", "nowhere.txt"], "KEYS=nowhere.txt cannot be read"),
        (["--devices", "web.vmdk"], "DEVICES has web.vmdk: write it like '/dev/sda1="),
        (["--devices", "/dev/sda1=a,/dev/sda1=b"], "DEVICES has /dev/sda1 more than once: write each once."),
        (["--key", "web.ova", "--tags", "web"], "TAGS has web: write it like 'Name="),
        (["--key", "web.ova", "--tags", "Name=x,Version=latest"], "Name 'x' leaves fewer than 3"),
        (["--key", "web.ova", "--tags", "Name=x,Version=latest"], "Version 'latest' is no version"),
    ],
)
def test_it_says_what_is_wrong(capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str) -> None:
    """What cannot be derived is told with what to write instead."""
    code, text = printed(capsys, *arguments)
    assert code == 1
    assert problem in text


@pytest.mark.parametrize("arguments", [[], ["--key", ""], ["--key", "web.ova", "--keys", "list.txt"]])
def test_it_takes_one_source(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Nothing to derive from, or two things, is an error that shows what to write."""
    with pytest.raises(SystemExit) as caught:
        derive.main(arguments)
    assert caught.value.code == 2
    assert "write one of KEY=" in capsys.readouterr().err


@pytest.mark.parametrize(
    "variables",
    [("DEVICES=/dev/sda1={}.ova",), ("KEY={}.ova", "TAGS=Name={}", "DESCRIPTION={}")],
    ids=["devices", "key, tags and description"],
)
def test_make_runs_nothing_of_a_key(variables: tuple[str, ...], tmp_path: Path) -> None:
    """What looks like a function of make in a key, a tag or a description is text."""
    made, make = tmp_path / "made", shutil.which("make")
    assert make
    command = [make, "--silent", "derive", *(variable.format(f"$(shell touch {made})") for variable in variables)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "shell" in run.stdout
    assert not made.exists()


def test_no_terminal_escape_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Escapes of terminals in keys, tags and names of files are printed as text."""
    escape, keys = "\x1b]0;owned\x07", tmp_path / "list.txt"
    keys.write_text(f"{escape}web-1.4.2.ova\n", encoding="utf-8")
    for arguments in (
        ("--key", f"{escape}web-1.4.2.ova", "--tags", f"{escape}=x,Team={escape}"),
        ("--keys", str(keys)),
        ("--keys", f"{tmp_path}/{escape}"),
        ("--key", "web.ova", "--tags", f"Version={escape}"),
    ):
        text = printed(capsys, *arguments)[1]
        assert "owned" in text
        assert not {"\x1b", "\x07"} & {*text}
