"""Training criteria: one registered criterion a file, thin over the losses in `modules`."""
