"""How fast the course's methods are, beside the libraries one would use instead: run with `python -m tools.bench`."""
