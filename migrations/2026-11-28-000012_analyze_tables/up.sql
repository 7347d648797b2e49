-- Projectors analyze growing tables. Before PostgreSQL 17, only the owner of a table may do so.
CREATE FUNCTION analyze_tables(tables regclass[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one regclass;
BEGIN
    FOREACH one IN ARRAY tables LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', one);
    END LOOP;
END
$$;
