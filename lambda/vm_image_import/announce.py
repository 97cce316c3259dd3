"""Tells people of a fact, once."""

from contextlib import suppress

from vm_image_import import notices
from vm_image_import.errors import InProgressError
from vm_image_import.outcome import Outcome
from vm_image_import.ports import Fact, Ledger, Notices


def announce(fact: Fact, outcome: Outcome, ledger: Ledger, topic: Notices) -> None:
    """Publish the notice of an outcome, unless that was done. Raises what the ports raise."""

    def publish() -> str:
        topic.publish(notices.of(outcome))
        return outcome.kind.value

    # Where another run is at it, that one tells.
    with suppress(InProgressError):
        ledger.once(fact, publish)
