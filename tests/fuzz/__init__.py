"""Coverage-guided fuzzing of the parsers of `hostile`; see `__main__`."""
