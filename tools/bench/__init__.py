"""Measurements for ``make bench``; see ``__main__``."""
