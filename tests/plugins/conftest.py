"""Airflow's environment, before a test file imports airflow."""

from tests import airflow_home

airflow_home.enter()
