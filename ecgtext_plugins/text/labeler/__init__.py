"""Labels from report text by rules: ECG-FM's 17 of MIMIC-IV-ECG, each with a certainty; the rules are the YAML here."""
