"""A function that does nothing: what Python and the runtime client take by themselves."""


def handler(*_: object) -> None:
    """Do nothing."""
