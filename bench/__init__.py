"""Side-by-side measurements: each figure is a ratio to its floor or baseline from the same run."""
