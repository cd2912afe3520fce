"""Learning to learn beyond machine learning: small worlds, each with a known answer."""
