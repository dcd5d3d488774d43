"""The loop: the dispatcher's thread, which owns a worker's claims, outcomes and times.

In the handover it meets the slots.
"""
