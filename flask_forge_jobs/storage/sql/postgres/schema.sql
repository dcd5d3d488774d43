-- name: replace_version_check
-- What everything that stores asks, with the newest version that its code knows. The
-- oldest one that may is part of the text, which takes a fifth of the time of looking it
-- up, and which no snapshot of an older transaction hides.
CREATE OR REPLACE FUNCTION forge_check_version(known INTEGER)
RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    IF known < :oldest_reader THEN
        RAISE EXCEPTION 'this schema needs code that knows version :oldest_reader'
        USING ERRCODE = 'FJ001', DETAIL = ':version :oldest_reader ' || known;
    END IF;
END
$$
