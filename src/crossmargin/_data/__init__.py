"""Data files that the package ships: parameters fitted by its own code, no recorded prices."""
