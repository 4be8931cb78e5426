"""A recipe taken through a step and an evaluation on a GPU that is not there, and counted."""
