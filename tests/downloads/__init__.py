"""Small synthetic downloads of public datasets, in their real layouts and file formats."""
