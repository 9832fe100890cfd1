"""Parts of the report of an evaluation: what is read, which records are shown, how figures and tables become HTML."""
