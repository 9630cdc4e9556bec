-- The extensions of this database, a line each.
\set ON_ERROR_STOP on
\set VERBOSITY terse
SELECT extname FROM pg_extension;
