"""ECG arrays, (12, T) millivolt: leads, resampling, quality."""
