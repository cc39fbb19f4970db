"""Its own module, since every other one of this package raises it."""


class InitError(ValueError):
    """Something can't be told from the user's files; the message says what was found and what to give."""
