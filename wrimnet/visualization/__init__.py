"""A trained model looked at: figures of its inside and its test set, the report of a run."""
