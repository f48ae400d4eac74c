"""Figures as pictures and charts."""
