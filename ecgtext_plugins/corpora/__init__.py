"""One reader a public dataset; only this room knows vendor formats."""
