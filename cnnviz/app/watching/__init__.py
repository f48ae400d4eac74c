"""What trains now: a pill on every page; on Home its stages, curves, leader board and film, for a class alone."""
