-- What is there, as one line of JSON, and what the spec made of it before: that
-- is kept in a table which is the superuser's, and nobody else's. Policies bind
-- whoever may read or write all data, too, and there are none.
\set ON_ERROR_STOP on
\set VERBOSITY terse
CREATE SCHEMA IF NOT EXISTS pgha;
CREATE TABLE IF NOT EXISTS pgha.applied (kind text, name text, spec jsonb NOT NULL, PRIMARY KEY (kind, name));
SELECT NOT relrowsecurity AS open FROM pg_class WHERE oid = 'pgha.applied'::regclass
\gset
\if :open
ALTER TABLE pgha.applied ENABLE ROW LEVEL SECURITY;
\endif

SELECT json_build_object(
    'foreign', EXISTS (
        SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_roles AS r ON r.oid IN (c.relowner, n.nspowner)
        WHERE c.oid = 'pgha.applied'::regclass AND NOT r.rolsuper),
    'applied', (
        SELECT coalesce(json_object_agg(kind, all_of_it), '{}')
        FROM (SELECT kind, json_object_agg(name, spec) AS all_of_it FROM pgha.applied GROUP BY kind) AS a),
    'roles', (
        SELECT json_object_agg(rolname, json_build_object(
            'login', rolcanlogin,
            'super', rolsuper,
            'verifier', rolpassword,
            'limit', rolconnlimit,
            'member_of', ARRAY(
                SELECT g.rolname FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid WHERE m.member = a.oid),
            'settings', coalesce((SELECT to_json(setconfig) FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0), '[]'),
            'sessions', (SELECT count(*) FROM pg_stat_activity AS s WHERE s.usesysid = a.oid)))
        FROM pg_authid AS a),
    'databases', (
        SELECT json_object_agg(datname, json_build_object(
            'owner', pg_get_userbyid(datdba),
            'connect', ARRAY(
                SELECT r.rolname
                FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS x JOIN pg_roles AS r ON r.oid = x.grantee
                WHERE x.privilege_type IN ('CONNECT', 'TEMPORARY')
                GROUP BY r.rolname HAVING count(DISTINCT x.privilege_type) = 2),
            'settings', coalesce((SELECT to_json(setconfig) FROM pg_db_role_setting WHERE setrole = 0 AND setdatabase = d.oid), '[]')))
        FROM pg_database AS d));
