"""The system in operation: the model endpoint."""
