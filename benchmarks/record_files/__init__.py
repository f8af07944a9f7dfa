"""What it costs to read a data set of many records."""
