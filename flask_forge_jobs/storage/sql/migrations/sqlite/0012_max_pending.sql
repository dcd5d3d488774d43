-- Most jobs that may wait for a producer to add more; NULL is no bound.
ALTER TABLE forge_queue ADD COLUMN max_pending INTEGER;
