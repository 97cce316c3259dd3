"""The report that can be kept, as Markdown and as JSON. It has no account ids."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from local.verify.account import redacted
from local.verify.assumptions import ASSUMPTIONS, Finding, Observations


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    claim: str
    finding: Finding
    otherwise: str = ""
    """What the product does where the claim is wrong."""


@dataclass(frozen=True)
class Report:
    """What one verification has found."""

    region: str
    time: datetime
    deployment: Sequence[Row]
    assumptions: Sequence[Row]
    left: Sequence[str]
    """What could not be removed."""

    @property
    def is_proved(self) -> bool:
        """Whether nothing is wrong with the deployment, and nothing is left. A wrong assumption is no failure."""
        return not self.left and all(row.finding.verdict != "no" for row in self.deployment)

    def write(self, folder: Path) -> Path:
        """Write both files and return the path of the Markdown."""
        path = folder / f"verify-{self.region}-{self.time:%Y-%m-%d}.md"
        path.write_text("\n".join([*self._lines(), ""]), encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(self._document(), indent=2) + "\n", encoding="utf-8")
        return path

    def _lines(self) -> Iterator[str]:
        yield f"# Verification in {self.region}, {self.time:%Y-%m-%d}"
        yield ""
        yield "## The deployment"
        yield ""
        yield from _table(self.deployment, with_otherwise=False)
        yield ""
        yield "## The assumptions about AWS"
        yield ""
        yield from _table(self.assumptions, with_otherwise=True)
        yield ""
        yield "## Not removed"
        yield ""
        yield from ([f"- `{redacted(each)}`" for each in self.left] or ["Everything was removed."])

    def _document(self) -> dict[str, object]:
        return {
            "region": self.region,
            "time": self.time.isoformat(timespec="seconds"),
            "deployment": [_object(row) for row in self.deployment],
            "assumptions": [_object(row) for row in self.assumptions],
            "notRemoved": [redacted(each) for each in self.left],
        }


def assumption_rows(seen: Observations) -> list[Row]:
    """Return a row for each assumption."""
    return [Row(each.claim, each.judge(seen), each.otherwise) for each in ASSUMPTIONS]


def _table(rows: Sequence[Row], *, with_otherwise: bool) -> Iterator[str]:
    yield "| claim | seen | evidence |" + (" otherwise |" if with_otherwise else "")
    yield "|---|---|---|" + ("---|" if with_otherwise else "")
    for row in rows:
        cells = [row.claim, row.finding.verdict, redacted(row.finding.evidence).replace("|", r"\|")]
        yield f"| {' | '.join([*cells, row.otherwise] if with_otherwise else cells)} |"


def _object(row: Row) -> dict[str, str]:
    return {
        "claim": row.claim,
        "verdict": row.finding.verdict,
        "evidence": redacted(row.finding.evidence),
        **({"otherwise": row.otherwise} if row.otherwise else {}),
    }
