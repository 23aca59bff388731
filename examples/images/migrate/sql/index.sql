SELECT namespace.nspname, class.relname, index.indisvalid AND index.indisready
FROM pg_index AS index
JOIN pg_class AS class ON class.oid = index.indexrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE class.oid = to_regclass(%(name)s)
