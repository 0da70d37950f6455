"""How synthetic rows are planned, asked for, altered, filtered and described."""
