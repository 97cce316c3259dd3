"""`make derive`."""

from pathlib import Path

import pytest

from local import derive


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
    assert [*web.split()] == ["web", "1.4.2", "file", "name,", "file", "name", "exports/web-1.4.2.ova"]
    assert url.startswith("b c ")
    assert "AMI's creation day" in last
    assert last.endswith(long)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--keys", "nowhere.txt"], "KEYS=nowhere.txt cannot be read"),
        (["--devices", "web.vmdk"], "DEVICES has web.vmdk: write it like '/dev/sda1="),
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
