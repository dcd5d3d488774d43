"""The environment variables of a Kubernetes Service, as its manual lists them."""

from __future__ import annotations


def service_links(service: str) -> dict[str, str]:
    """Return what the kubelet sets in each pod for a Service with a named port."""
    name = service.upper().replace("-", "_")
    return {
        f"{name}_SERVICE_HOST": "10.0.0.11",
        f"{name}_SERVICE_PORT": "8787",
        f"{name}_SERVICE_PORT_HTTP": "8787",
        f"{name}_PORT": "tcp://10.0.0.11:8787",
        f"{name}_PORT_8787_TCP": "tcp://10.0.0.11:8787",
        f"{name}_PORT_8787_TCP_PROTO": "tcp",
        f"{name}_PORT_8787_TCP_PORT": "8787",
        f"{name}_PORT_8787_TCP_ADDR": "10.0.0.11",
    }
