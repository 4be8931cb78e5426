"""A trained model looked at: its inside and its test set as arrays, drawn by the analysis."""
