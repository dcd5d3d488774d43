"""What runs in a worker process: threads that know tasks, storage and model."""
