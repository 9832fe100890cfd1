"""fairseq tasks: they wrap `data` for fairseq; importing one registers the criteria too."""
