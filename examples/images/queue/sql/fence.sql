-- The row stays locked until the transaction ends, so the reaper cannot take it meanwhile. No statement of the block may
-- take longer than `timeout`, nor may the block be idle for longer: nobody holds the lock for ever.
SELECT
    set_config('statement_timeout', %(timeout_ms)s, true),
    set_config('idle_in_transaction_session_timeout', %(timeout_ms)s, true)
FROM jobs
WHERE id = %(id)s AND token = %(token)s AND state = 'running'
FOR UPDATE
