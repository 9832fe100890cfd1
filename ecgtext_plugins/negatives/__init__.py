"""N3S negatives: for every unique report the least similar ones, precomputed; the only room that imports faiss."""
