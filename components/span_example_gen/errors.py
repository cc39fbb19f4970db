"""The one exception of this component."""


class SpanError(ValueError):
    """A span can't be used. The message says what is wrong, the rule, what was received and what to do next."""
