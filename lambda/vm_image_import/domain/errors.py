"""The ways in which an invocation can fail, by what has to be done about it."""

from collections.abc import Iterable, Mapping


class TransientError(Exception):
    """AWS may answer a later attempt. It is raised out of the function, so that Lambda tries again."""


class PermanentError(Exception):
    """AWS refuses the request, and will refuse it until something is changed."""

    def __init__(self, message: str, code: str = "", *, certain: bool = True) -> None:
        super().__init__(message)
        self.code = code
        """The service's error code, the name of botocore's error, or the function's own word for it; may be empty."""
        self.certain = certain
        """Whether nothing was done: an earlier attempt of the same call, without an answer, may have succeeded."""

    @property
    def problem(self) -> str:
        """What is wrong, without the words that vary."""
        return self.code or type(self).__name__


class ClientTokenReusedError(PermanentError):
    """The client token came with other values before: an image of this import exists."""


class UnknownArnError(PermanentError):
    """Image Builder has made an image of this import, and answers an ARN that no image build version has."""


class InProgressError(Exception):
    """Another invocation of the function is processing the same thing."""


class InvalidRecordError(PermanentError):
    """A record of the idempotency table cannot be read."""


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
    """The import tasks could not be listed. Those that were listed are processed."""


class RejectedError(_ProblemsError):
    """The import cannot be registered as it is stated."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        """Create it. `problems` maps what is wrong, for example `tag Version`, to its text."""
        super().__init__(problems.values())
        self.problem = ", ".join(problems)
        """What is wrong, without the values that are."""
