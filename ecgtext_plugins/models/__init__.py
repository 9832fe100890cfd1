"""fairseq's view of the networks: one registered model a file."""
