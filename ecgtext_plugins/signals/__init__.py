"""ECG arrays, (12, T) millivolt: leads, gaps, measures of quality, resampling, cleaning filters."""
