"""From scores to a verdict, and from a verdict to the registry."""
