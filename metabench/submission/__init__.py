"""Scoring the learners of others: folders, and what stands between them and the scorer."""
