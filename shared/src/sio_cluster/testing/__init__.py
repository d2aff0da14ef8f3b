"""Verified fakes: the same contract suite runs against them and against Redis."""
