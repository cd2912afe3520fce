"""Per-task baselines: they never meta-train, and skill 0 is the best of them."""
