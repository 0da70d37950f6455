"""The decision as people read it: the HTML page, the Markdown card, the body of an approval request."""
