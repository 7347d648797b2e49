-- Only projectors need the function. `waybill provision` gives it to the users that write.
REVOKE EXECUTE ON FUNCTION analyze_tables(regclass[]) FROM PUBLIC;
