"""A model of another shape that teaches the one that is served: what it says, how that is learned, when it is due."""
