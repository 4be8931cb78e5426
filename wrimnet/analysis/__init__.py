"""Arrays in, figure or table out."""
