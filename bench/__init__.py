"""Side-by-side measurements: each figure stands beside its floor or baseline, taken in the same run, as a ratio."""
