"""A synthetic corpus in MIMIC-IV-ECG's layout: patients, their findings, signals and machine reports."""
