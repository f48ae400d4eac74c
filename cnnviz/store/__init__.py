"""Runs in MLflow, and nothing else of it: the only package that imports mlflow."""
