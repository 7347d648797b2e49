GRANT EXECUTE ON FUNCTION analyze_tables(regclass[]) TO PUBLIC;
