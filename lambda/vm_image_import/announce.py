"""Tells people of a fact, once."""

from contextlib import suppress
from dataclasses import replace

from vm_image_import import notices
from vm_image_import.errors import InProgressError
from vm_image_import.models import Outcome
from vm_image_import.ports import Fact, Ledger, Notices


def announce(fact: Fact, outcome: Outcome, ledger: Ledger, topic: Notices) -> Outcome:
    """Publish the notice of an outcome, unless that was done; return it, then as no news.

    Raises what the ports raise.
    """

    def publish() -> str:
        topic.publish(notices.of(outcome))
        return outcome.kind.value

    # Where another run is at it, that one tells.
    with suppress(InProgressError):
        return replace(outcome, news=ledger.once(fact, publish).now)
    return replace(outcome, news=False)
