"""Models of other libraries as learners: subclass one, say what it is, run it."""
