"""People's labels: which to ask for, which look wrong, and the files that go out and come back."""
