"""Files, objects, queries and traces as rows: opened, told apart, checked, mapped to our columns."""
