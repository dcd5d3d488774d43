-- name: take_lease
-- Takes a lease that is free, expired or the holder's own, in one statement, so only one
-- process can win.
INSERT INTO forge_lease (name, holder, expires_at)
VALUES (:name, :holder, :now + :lease_us)
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder,
    expires_at = excluded.expires_at
WHERE forge_lease.holder = excluded.holder OR forge_lease.expires_at <= :now
RETURNING name

-- name: release_lease
DELETE FROM forge_lease
WHERE name = :name AND holder = :holder
RETURNING name
