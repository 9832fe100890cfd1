"""fairseq-signals' own data: its manifests and .mat files read as they are, and written from a record store."""
