"""The loop: the dispatcher's thread, which owns a worker's claims, outcomes and schedule.

In the handover it meets the slots.
"""
