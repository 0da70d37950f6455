"""From raw traffic to training rows: ingest, validate, scrub, split, synthesize."""
