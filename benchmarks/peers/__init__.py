"""Other systems on the same sessions, in the same run, each in an environment of its own; none is a dependency."""
