"""The ways in which a run can fail, told apart by what is to be done about it."""

from collections.abc import Iterable


class TransientError(Exception):
    """AWS may answer another time: raised out of the function, so that Lambda tries again."""


class PermanentError(Exception):
    """AWS refuses, and will until somebody changes something."""


class InProgressError(Exception):
    """Another run of the function is at the same thing."""


class TokenUsedError(PermanentError):
    """The client token was used before, with other values: an image of this import exists."""


class _ProblemsError(Exception):
    """Several problems, told at once: each says what is wrong and what to write instead."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(self.problems))


class InvalidTriggerError(_ProblemsError):
    """The event or the payload is none that the function takes; nothing was called."""


class InvalidSettingsError(_ProblemsError):
    """The function's environment is not what its deployment should have written."""


class SweepError(_ProblemsError):
    """Some tasks of a sweep could not be dealt with; all others were."""


class RejectedError(_ProblemsError):
    """What somebody stated for the image cannot be used."""
