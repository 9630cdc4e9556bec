-- Creates what the spec lists, once, on the first leader. In: the variables
-- users (with their passwords) and databases, both JSON, and administrator.
\set ON_ERROR_STOP on
\set QUIET on
-- No password may reach the log, not even by a statement that fails.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';

-- Who operates the cluster: pg_hba.conf takes a certificate alone.
\if :administrator
CREATE ROLE pgha_admin LOGIN SUPERUSER;
\endif

CREATE TEMP TABLE wanted_user AS
SELECT * FROM json_to_recordset(:'users') AS u(name text, databases json, member_of json, password text);

SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', name, password) FROM wanted_user
\gexec
SELECT format('GRANT %I TO %I', m, name) FROM wanted_user, json_array_elements_text(member_of) AS m
\gexec
SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
FROM json_to_recordset(:'databases') AS d(name text, owner text)
\gexec
SELECT format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', name)
FROM json_to_recordset(:'databases') AS d(name text)
\gexec
SELECT format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', d, name)
FROM wanted_user, json_array_elements_text(databases) AS d
\gexec
