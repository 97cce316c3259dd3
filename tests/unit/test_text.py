"""Text of others, made fit to be shown."""

import html

import pytest

from vm_image_import.domain.text import chat_code, one_line, quote, visible, without_secrets

INVISIBLE = [
    *("\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180e", "\u180f"),
    *("\u200b", "\u200d", "\u200f", "\u202a", "\u202e", "\u2060", "\u2066", "\u2069", "\u2800", "\u3164", "\ufe0f"),
    *("\ufeff", "\uffa0", "\ufff9", "\U0001d173", "\U000e0020", "\U000e0041", "\U000e0100", "\U000e01ef"),
    *("\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\u00a0", "\u3000", "\ud800", "\ue000"),
]


@pytest.mark.parametrize("character", INVISIBLE, ids=lambda character: f"U+{ord(character):04X}")
def test_what_cannot_be_seen_is_escaped(character: str) -> None:
    """Controls, direction marks, fillers, variation selectors and odd spaces are shown as escapes."""
    shown = visible(f"a{character}b")
    assert shown.isascii()
    assert shown.startswith("a\\")
    assert shown.encode().decode("unicode_escape") == f"a{character}b"


@pytest.mark.parametrize(
    "text", ["web-server_1.4.2 (copy) *new*", "Büro-Server", "サーバー", "שרת", "🖥", "e\u0301", ""]
)
def test_what_can_be_seen_stays(text: str) -> None:
    """Text in any script stays as it is."""
    assert visible(text) == one_line(text, 100) == text
    assert quote(text) == f"'{text}'"


@pytest.mark.parametrize("text", ["x" * 200, "\u202e" * 200, "&" * 200, "x\n" * 100])
def test_a_line_is_cut(text: str) -> None:
    """A line has at most as many characters as it may have, with its escapes."""
    for shown in (one_line(text, 50), chat_code(text, 50)):
        assert 40 < len(shown) <= 50
        assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-server_1.4.2", "`web-server_1.4.2`"),
        ("*bold* _italic_ ~struck~", "`*bold* _italic_ ~struck~`"),
        (
            "<!channel> <https://evil.example|Approve>",
            "`&lt;!channel&gt; &lt;https://evil.example|Approve&gt;`",
        ),
        ("<@U012AB3CD> & <#C0123> &lt;!here&gt;", "`&lt;@U012AB3CD&gt; &amp; &lt;#C0123&gt; &amp;lt;!here&amp;gt;`"),
        ("`` ` *out of code*", "`'' ' *out of code*`"),
        ("[Approve](https://evil.example)", "`[Approve] (https://evil.example)`"),
        ("two\nlines", "`two\\nlines`"),
        ("  spaces ", "`spaces`"),
        ("", ""),
        (" ", ""),
    ],
)
def test_others_text_is_code_in_chat(text: str, shown: str) -> None:
    """In chat, text of others mentions nobody, hides no link, is not formatted, and reads as it was written."""
    assert chat_code(text, 200) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Disk validation failed [403 Forbidden]", "Disk validation failed [403 Forbidden]"),
        ("Cannot read https://h/web.ova?X-Amz-Signature=s3cr3t now", "Cannot read https://h/web.ova now"),
        ("[https://user:s3cr3t@h/web.ova]", "[https://h/web.ova]"),
        ("https://user:s3/cr@3t@h/web.ova", "https://h/web.ova"),
        ("https://h/web.ova#token=s3cr3t", "https://h/web.ova"),
        ("exports/web.ova?X-Amz-Signature=s3cr3t", "exports/web.ova"),
        ("exports/what?.ova", "exports/what?.ova"),
        ("why? a=b", "why? a=b"),
        ("ops@example.com", "ops@example.com"),
        ("two\n words", "two\n words"),
        ("", ""),
    ],
)
def test_what_may_be_secret_in_an_address_is_cut(text: str, shown: str) -> None:
    """User, password, query and fragment of an address are cut, and any other text stays."""
    assert without_secrets(text) == shown


def test_an_entity_is_never_cut() -> None:
    """Where escaped text is cut, it is cut between characters."""
    for limit in range(3, 30):
        shown = chat_code("a&<>" * 10, limit)
        assert len(shown) <= limit
        assert set(html.unescape(shown)) <= set("`a&<>…")
        assert "&" not in html.unescape(shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", ""))
