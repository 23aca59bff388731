"""What the pure core promises: examples, models, and histories that compare the two."""
