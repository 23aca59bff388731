INSERT INTO frames_refetch (frame_id)
SELECT unnest(%(ids)s::bigint[])
ON CONFLICT (frame_id) DO NOTHING
