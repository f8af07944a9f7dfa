"""Claims: the arms of the comparison, their intervals and the page."""
