"""The ways in which an invocation can fail, by what has to be done about it."""

from collections.abc import Iterable


class TransientError(Exception):
    """AWS may answer a later attempt. It is raised out of the function, so that Lambda tries again."""


class PermanentError(Exception):
    """AWS refuses the request, and will refuse it until something is changed."""


class InProgressError(Exception):
    """Another invocation of the function is processing the same thing."""


class ClientTokenReusedError(PermanentError):
    """The client token came with other values before: an image of this import exists."""


class _ProblemsError(Exception):
    """Several problems at once. Each one says what is wrong and what to write instead."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(self.problems))


class InvalidTriggerError(_ProblemsError):
    """The function does not accept this event or payload; AWS was not called."""


class InvalidSettingsError(_ProblemsError):
    """The function's environment variables are not what the deployment writes."""


class SweepError(_ProblemsError):
    """Some tasks of a sweep could not be processed; all others were."""


class RejectedError(_ProblemsError):
    """A name or a version that is stated for the image cannot be used."""
