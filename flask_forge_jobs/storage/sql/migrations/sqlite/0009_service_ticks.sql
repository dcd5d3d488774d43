-- How old the last tick of each of a process's services was at its heartbeat.
ALTER TABLE forge_pod ADD COLUMN services TEXT;
