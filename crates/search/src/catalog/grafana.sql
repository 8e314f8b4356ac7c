SELECT current_setting('server_version_num')::int / 100 AS version;
SELECT extversion FROM pg_extension WHERE extname = 'none';
SELECT quote_ident(table_name) AS name FROM information_schema.tables
WHERE quote_ident(table_schema) IN (SELECT trim(part) FROM generate_series(1, 9) AS n, string_to_array(current_setting('search_path'), ',') AS part)
ORDER BY 1;
SELECT schema_name FROM information_schema.schemata ORDER BY 1;
SELECT table_name FROM information_schema.tables WHERE quote_ident(table_schema) = 'public' ORDER BY 1;
SELECT quote_ident(column_name) AS name, data_type FROM information_schema.columns
WHERE CASE WHEN array_length(parse_ident('calls'), 1) = 2 THEN quote_ident(table_schema) = (parse_ident('calls'))[1]
  ELSE quote_ident(table_name) = 'calls' AND table_schema IN (SELECT trim(part) FROM string_to_array(current_setting('search_path'), ',') AS part) END;
