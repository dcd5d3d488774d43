-- name: take_lease
-- Takes a lease that is free, expired or the holder's own, in one statement, so only one
-- process can win. Nobody takes a lease for longer than this one: if another has longer to
-- run, the clock has stepped back, and from now on it runs for as long as any.
INSERT INTO forge_lease (name, holder, expires_at)
VALUES (:name, :holder, :now + :lease_us)
ON CONFLICT (name) DO UPDATE SET
    holder = CASE
        WHEN forge_lease.expires_at <= :now THEN excluded.holder
        ELSE forge_lease.holder
    END,
    expires_at = excluded.expires_at
WHERE forge_lease.holder = excluded.holder
    OR forge_lease.expires_at <= :now
    OR forge_lease.expires_at > excluded.expires_at
RETURNING holder

-- name: release_lease
DELETE FROM forge_lease
WHERE name = :name AND holder = :holder
RETURNING name
