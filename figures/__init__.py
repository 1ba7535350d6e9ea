"""Figures of the book: one script each under ``chapterN/``, one look for all in :mod:`figures.style`."""
