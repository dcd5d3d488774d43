"""Breaks a real PostgreSQL cluster under load: Patroni, etcd, HAProxy, PgBouncer."""
