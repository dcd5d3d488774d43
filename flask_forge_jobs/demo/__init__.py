"""The shop of ``forge-jobs-server --demo``: its tasks, its past week, its orders.

The server fills the database before it prints its address, and starts ``python -m
flask_forge_jobs.demo``, which runs the jobs and adds new ones. Nothing else imports it.
"""
