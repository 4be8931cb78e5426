"""What runs many trainings, draws data, counts and measures; nothing but programs imports it."""
