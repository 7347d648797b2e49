-- Only users that write the tables need the function.
REVOKE EXECUTE ON FUNCTION analyze_tables(regclass[]) FROM PUBLIC;
DO $$
DECLARE
    writer text;
BEGIN
    FOR writer IN
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'projection_checkpoint'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION analyze_tables(regclass[]) TO %s', writer);
    END LOOP;
END
$$;
