"""Tokenizers and text encoders: by hub name, from a folder, or from scratch; only here is transformers imported."""
