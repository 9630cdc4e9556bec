-- Does what the variable steps says, a JSON list, in its order. Every name and
-- value becomes SQL by format.
SELECT CASE s->>'do'
    WHEN 'create role' THEN format('CREATE ROLE %I LOGIN', s->>'name')
    WHEN 'login' THEN format('ALTER ROLE %I LOGIN', s->>'name')
    WHEN 'no login' THEN format('ALTER ROLE %I NOLOGIN NOSUPERUSER', s->>'name')
    WHEN 'administrator' THEN format('ALTER ROLE %I SUPERUSER LOGIN PASSWORD NULL', s->>'name')
    WHEN 'verifier' THEN format('ALTER ROLE %I PASSWORD %L', s->>'name', s->>'verifier')
    WHEN 'limit' THEN format('ALTER ROLE %I CONNECTION LIMIT %s', s->>'name', (s->>'limit')::int)
    WHEN 'member' THEN format('GRANT %I TO %I', s->>'of', s->>'name')
    WHEN 'no member' THEN format('REVOKE %I FROM %I', s->>'of', s->>'name')
    WHEN 'create database' THEN format('CREATE DATABASE %I OWNER %I', s->>'name', s->>'owner')
    WHEN 'owner' THEN format('ALTER DATABASE %I OWNER TO %I', s->>'name', s->>'owner')
    WHEN 'close' THEN format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', s->>'name')
    WHEN 'connect' THEN format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', s->>'name', s->>'role')
    WHEN 'no connect' THEN format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM %I', s->>'name', s->>'role')
    WHEN 'set role' THEN format('ALTER ROLE %I SET %I TO %s', s->>'name', s->>'key', v.list)
    WHEN 'reset role' THEN format('ALTER ROLE %I RESET %I', s->>'name', s->>'key')
    WHEN 'set database' THEN format('ALTER DATABASE %I SET %I TO %s', s->>'name', s->>'key', v.list)
    WHEN 'reset database' THEN format('ALTER DATABASE %I RESET %I', s->>'name', s->>'key')
    WHEN 'extension' THEN format('SET search_path TO public; CREATE EXTENSION IF NOT EXISTS %I CASCADE; RESET search_path', s->>'name')
    WHEN 'remember' THEN format('INSERT INTO pgha.applied VALUES (%L, %L, %L) ON CONFLICT (kind, name) DO UPDATE SET spec = excluded.spec',
        s->>'kind', s->>'name', s->>'spec')
    WHEN 'forget' THEN format('DELETE FROM pgha.applied WHERE kind = %L AND name = %L', s->>'kind', s->>'name')
END
FROM json_array_elements(:'steps') WITH ORDINALITY AS t(s, i)
LEFT JOIN LATERAL (
    SELECT string_agg(format('%L', value), ', ' ORDER BY n) AS list FROM json_array_elements_text(s->'values') WITH ORDINALITY AS e(value, n)
) AS v ON true
ORDER BY i
\gexec
