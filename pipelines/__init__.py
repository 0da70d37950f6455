"""The night's work: every step is a plain function that also runs without Airflow as `python -m pipelines STEP`."""
