DROP FUNCTION analyze_tables(regclass[]);
