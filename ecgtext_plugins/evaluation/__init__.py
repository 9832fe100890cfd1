"""What a trained model is worth: embeddings, zero-shot classification, metrics, benchmarks."""
