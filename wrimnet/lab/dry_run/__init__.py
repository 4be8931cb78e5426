"""Takes a recipe through a step and an evaluation on a simulated GPU and counts its costs."""
