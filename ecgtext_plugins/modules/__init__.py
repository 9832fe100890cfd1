"""Networks and loss functions in plain torch: no files, no registry."""
