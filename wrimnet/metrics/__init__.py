"""How a ranked gallery is scored: pure functions of distances and labels, torch and numpy only."""
