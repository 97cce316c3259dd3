"""What CONTRIBUTING.md says to touch for each kind of addition."""

import ast
import json
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import pytest
from botocore import xform_name

from infra.configuration import CONTEXT_KEY, Configuration
from infra.operations import ACTIONS, OPERATIONS
from local.aws import switches
from local.verify.assumptions import ASSUMPTIONS
from tests.conftest import ROOT
from tests.unit.test_architecture import LAYERS
from tests.unit.test_remedies import CASES
from vm_image_import.derive import words
from vm_image_import.domain.outcomes import MEANINGS, OutcomeKind
from vm_image_import.domain.remedies import find_remedy
from vm_image_import.settings import Settings

PACKAGE = ROOT / "lambda" / "vm_image_import"
FILE = re.compile(r"[\w-]+(?:/|\.[a-z])[\w./-]*")

Places = Mapping[str, AbstractSet[str]]
"""What each file has of one kind."""


def read(path: str, folder: Path = ROOT) -> str:
    """Return the text of a file."""
    return (folder / path).read_text(encoding="utf-8")


def section(path: str, title: str) -> str:
    """Return the text of a document from a title to the next one."""
    return read(path).partition(f"## {title}\n")[2].partition("\n## ")[0]


def code(text: str) -> set[str]:
    """Return what a text has between backticks."""
    return set(re.findall(r"`([^`]+)`", text))


def strings(path: str) -> set[str]:
    """Return the texts in a module."""
    nodes = ast.walk(ast.parse(read(path)))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def options() -> Places:
    """Return the options by the names that the user writes."""

    def camel_case(names: AbstractSet[str]) -> set[str]:
        return {re.sub("_(.)", lambda match: match[1].upper(), name.lower()) for name in names}

    modules = {path: path.read_text(encoding="utf-8") for path in [ROOT / "app.py", *ROOT.glob("infra/*.py")]}
    configuration = modules.pop(ROOT / "infra" / "configuration.py")
    fields = camel_case({*Configuration.__annotations__})
    used = fields & camel_case(set(re.findall(r"configuration\.(\w+)", " ".join(modules.values()))))
    variables = camel_case(set(re.findall(r'^ +"([A-Z_]+)": ', configuration, re.MULTILINE)))
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section("docs/reference.md", "Configuration"), re.MULTILINE)
    found = {
        "infra/configuration.schema.json": {*json.loads(read("infra/configuration.schema.json"))["properties"]},
        "infra/configuration.py": fields,
        "function_environment() of infra/configuration.py, or what uses it in infra/": variables | used,
        "cdk.json": {*json.loads(read("cdk.json"))["context"][CONTEXT_KEY]},
        "settings.py, or what uses it in infra/": camel_case({*Settings.__annotations__} - {"table_name"}) | used,
        "docs/reference.md": code(" ".join(rows)),
    }
    # A test of the configuration has more texts than the options.
    known = set().union(*found.values())
    return {**found, "tests/infra/test_configuration.py": known & strings("tests/infra/test_configuration.py")}


def words_of_file_names() -> Places:
    """Return the words with their kinds."""

    def listed_after(start: str) -> set[str]:
        return code(read("docs/names.md").partition(f"\n{start}")[2].partition("\n")[0])

    used = {
        **words.TRAILING,
        "with or without a number": words.NUMBERED,
        "before a release": words.BEFORE_RELEASE,
        "stage": words.STAGES - words.BEFORE_RELEASE,
        "extension": words.EXTENSIONS,
        "says nothing": words.SAYS_NOTHING,
    }
    kinds = re.findall(r"^\| ([a-z ]+) \| (`.+`) \|$", read("docs/names.md"), re.MULTILINE)
    listed = {
        **{kind: code(cell) for kind, cell in kinds},
        "before a release": listed_after("What comes before a release: "),
        "stage": listed_after("Branches and stages: "),
        "extension": listed_after("Extensions: "),
        "says nothing": code(section("docs/names.md", "Parts that say nothing")),
    }
    places: Mapping[str, Mapping[str, AbstractSet[str]]] = {"derive/words.py": used, "docs/names.md": listed}
    return {
        path: {f"{kind}: {word}" for kind, found in kinds.items() for word in found} for path, kinds in places.items()
    }


def remedies() -> Places:
    """Return the rows of the remedies, and their platforms."""
    table = json.loads(read("domain/remedies.json", PACKAGE))
    texts = {
        f"{row['id']} {platform}".rstrip(): variant["remedy"]
        for row in [*table["remedies"], {"id": "any other", **table["otherwise"]}]
        for platform, variant in {"": row, **row.get("byPlatform", {})}.items()
    }
    answers = [find_remedy(case["message"], case.get("platform")).text for case in CASES]
    page = section("docs/failed-imports.md", "Messages").replace("\\", "").replace("&lt;", "<")
    others = [row for row in page.splitlines()[3:] if not any(text in row for text in texts.values())]
    return {
        "domain/remedies.json": texts.keys(),
        "tests/unit/status-messages.json": {
            *(case["row"] for case in CASES),
            *(name for name, text in texts.items() if any(answer.startswith(text) for answer in answers)),
            "any other",
        },
        "docs/failed-imports.md": {*(name for name, text in texts.items() if text in page), *others},
    }


def outcomes() -> Places:
    """Return the outcomes. Those with a title are notified."""
    notified = {kind.value for kind, meaning in MEANINGS.items() if meaning.title}
    silent = {kind.value for kind, meaning in MEANINGS.items() if not meaning.title}
    first, second = (
        code(_first_column(section("docs/operations.md", title))) for title in ("Notifications", "Other outcomes")
    )
    rows = _first_column(section("docs/reference.md", "Payloads"))
    schema = {*json.loads(read("docs/notifications.schema.json"))["properties"]["outcome"]["enum"]}
    return {
        "OutcomeKind of domain/outcomes.py": {kind.value for kind in OutcomeKind},
        "MEANINGS of domain/outcomes.py": notified | silent,
        "docs/operations.md": (first - silent) | (second - notified),
        "docs/reference.md": {word for word in code(rows) if word.isupper()},
        "docs/notifications.schema.json": schema ^ silent,
    }


def _first_column(text: str) -> str:
    return "\n".join(re.findall(r"^\|([^|]+)\|", text, re.MULTILINE))


def steps() -> Places:
    """Return the steps by their names."""
    modules = [path.read_text(encoding="utf-8") for path in PACKAGE.glob("imports/steps/*.py")]
    (order,) = re.findall(
        r"^STEPS: Final = \((.+?)\)$", read("imports/steps/run.py", PACKAGE), re.MULTILINE | re.DOTALL
    )
    (row,) = re.findall(r"^\| `FOLLOW_UP_FAILED` \| (.+?) \|", read("docs/operations.md"), re.MULTILINE)
    others = {"run", "step"}
    layers = {name.rpartition(".")[2] for layer in LAYERS for name in layer if name.startswith("imports.steps.")}
    return {
        "imports/steps/": set(re.findall(r'= Step\(\s*"(\w+)"', "\n".join(modules))),
        "imports/steps/run.py": set(re.findall(r"\w+", order.lower())),
        # No notification can say that none can be sent.
        "docs/operations.md": code(row) | {"notify"},
        "tests/unit/test_architecture.py": layers - others,
    }


def assumptions() -> Places:
    """Return the rows of the assumptions."""
    rows = re.findall(r"^\| .+ \|$", read("docs/verify-on-aws.md"), re.MULTILINE)
    return {
        "local/verify/assumptions.py": {
            f"| {each.claim} | {each.otherwise} | {f'`{each.switch}`' if each.switch else f'none: {each.no_switch}'} |"
            for each in ASSUMPTIONS
        },
        "docs/verify-on-aws.md": {*rows[1:]},
    }


def switches_of_the_local_aws() -> Places:
    """Return the switches by their names."""
    rows = re.findall(r"\| `(\w+)` \|$", read("docs/verify-on-aws.md"), re.MULTILINE)
    tested = re.findall(r'^    "(\w+)": \(', read("tests/contract/test_local_switches.py"), re.MULTILINE)
    return {
        "local/aws/switches.py": {*switches.NAMES},
        "local/verify/assumptions.py": {each.switch for each in ASSUMPTIONS if each.switch},
        "docs/verify-on-aws.md": {*rows},
        "tests/contract/test_local_switches.py": {*tested},
    }


def actions() -> Places:
    """Return the actions of AWS that the function calls, by the names of boto3's methods."""
    role = strings("infra/role.py")
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    called = re.findall(r'_client\.(?!get_paginator|meta)(\w+)|get_paginator\("(\w+)"\)', source)
    rows = re.findall(
        r"^\| `\w+` \| ([^|]+) \|", read("docs/permissions.md").partition("## The lifecycle")[0], re.MULTILINE
    )
    documented = [action.partition(":") for action in code(" ".join(rows))]
    return {
        "infra/operations.py": {xform_name(name) for names in OPERATIONS.values() for name in names},
        "infra/role.py": {
            xform_name(action.partition(":")[2]) for sid, found in ACTIONS.items() if sid in role for action in found
        },
        "aws/ or records/": {method or paginated for method, paginated in called},
        # The other services are called on the function's behalf.
        "docs/permissions.md": {xform_name(name) for service, _, name in documented if service in OPERATIONS},
    }


ADDITIONS: Final[Mapping[str, Callable[[], Places]]] = {
    "an option": options,
    "a word of file names": words_of_file_names,
    "a remedy": remedies,
    "an outcome": outcomes,
    "a step": steps,
    "an action of AWS": actions,
    "an assumption about AWS": assumptions,
    "a switch of the local AWS": switches_of_the_local_aws,
}


@pytest.mark.parametrize("addition", ADDITIONS)
def test_an_addition_is_everywhere(addition: str) -> None:
    """Whatever one file of a row has, every file of the row has. The failure names each file that lacks something."""
    places = ADDITIONS[addition]()
    everything = set().union(*places.values())
    lacks = [f"{place} lacks {sorted(everything - found)}" for place, found in places.items() if everything - found]
    assert not lacks, "\n".join(lacks)


def test_every_row_names_its_files() -> None:
    """The table of CONTRIBUTING.md has each kind of addition, with the files that are compared, which exist."""
    rows = re.findall(
        r"^\| (.+) \| (.+) \|$", read("CONTRIBUTING.md").partition("| to add |")[2].partition("\n\n")[0], re.MULTILINE
    )
    named = {addition: set(FILE.findall(touch)) for addition, touch in rows}
    for file in set().union(*named.values()):
        assert (ROOT / file).exists() or (PACKAGE / file).exists(), file
    assert named == {addition: set(FILE.findall(" ".join(places()))) for addition, places in ADDITIONS.items()}
