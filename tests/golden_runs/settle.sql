CREATE SCHEMA projh_bg_749116ba_blue;
CREATE SCHEMA projh_bg_749116ba_green;
CREATE SCHEMA projh_bluegreen;
CREATE TYPE projh_bg_749116ba_green.row_0 AS (
	id bigint,
	at timestamp with time zone,
	person integer,
	code integer,
	note text
);
CREATE TYPE projh_bg_749116ba_green.row_1 AS (
	id integer,
	visit_code integer,
	amount numeric(10,2)
);
CREATE FUNCTION projh_bluegreen.fence(which text, held bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
begin
    perform 1 from projh_bluegreen.run where run = which and epoch = held for share;
    if not found then
        raise exception 'run % is held by another orchestrator', which using errcode = 'PB001';
    end if;
end
$$;
CREATE TABLE projh_bg_749116ba_blue.bills (
    id integer NOT NULL,
    visit_code integer NOT NULL,
    amount numeric(10,2) NOT NULL
);
ALTER TABLE projh_bg_749116ba_blue.bills ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME projh_bg_749116ba_blue.bills_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.visits (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    person integer,
    number integer NOT NULL,
    note text,
    twice integer GENERATED ALWAYS AS ((number * 2)) STORED,
    CONSTRAINT visits_code CHECK ((number >= 0))
)
PARTITION BY RANGE (at);
COMMENT ON TABLE public.visits IS 'visits of people';
CREATE SEQUENCE public.visits_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.visits_id_seq OWNED BY public.visits.id;
CREATE TABLE projh_bg_749116ba_blue.visits (
    id bigint DEFAULT nextval('public.visits_id_seq'::regclass) NOT NULL,
    at timestamp with time zone NOT NULL,
    person integer,
    code integer NOT NULL,
    note text,
    twice integer GENERATED ALWAYS AS ((code * 2)) STORED,
    CONSTRAINT visits_code CHECK ((code >= 0))
);
COMMENT ON TABLE projh_bg_749116ba_blue.visits IS 'visits of people';
CREATE TABLE projh_bg_749116ba_green.dirty_0 (
    id bigint NOT NULL
);
CREATE TABLE projh_bg_749116ba_green.dirty_1 (
    id integer NOT NULL
);
CREATE TABLE projh_bluegreen.fact (
    n bigint NOT NULL,
    run text NOT NULL,
    epoch bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    fact jsonb NOT NULL
);
ALTER TABLE projh_bluegreen.fact ALTER COLUMN n ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME projh_bluegreen.fact_n_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE projh_bluegreen.migration (
    version integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE projh_bluegreen.run (
    run text NOT NULL,
    plan_name text NOT NULL,
    plan jsonb NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT run_run_check CHECK ((run ~ '^[0-9a-f]{8}$'::text))
);
CREATE TABLE projh_bluegreen.stream (
    run text NOT NULL,
    applied_lsn pg_lsn NOT NULL
);
CREATE TABLE public.bills (
    id integer NOT NULL,
    visit_code integer NOT NULL,
    amount numeric(12,2) NOT NULL
);
ALTER TABLE public.bills ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.bills_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.people (
    id integer NOT NULL,
    name text NOT NULL
);
CREATE TABLE public.visits_default (
    id bigint DEFAULT nextval('public.visits_id_seq'::regclass) NOT NULL,
    at timestamp with time zone NOT NULL,
    person integer,
    number integer NOT NULL,
    note text,
    twice integer GENERATED ALWAYS AS ((number * 2)) STORED,
    CONSTRAINT visits_code CHECK ((number >= 0))
);
CREATE TABLE public.visits_p2025_01 (
    id bigint DEFAULT nextval('public.visits_id_seq'::regclass) NOT NULL,
    at timestamp with time zone NOT NULL,
    person integer,
    number integer NOT NULL,
    note text,
    twice integer GENERATED ALWAYS AS ((number * 2)) STORED,
    CONSTRAINT visits_code CHECK ((number >= 0))
);
CREATE TABLE public.visits_p2025_03 (
    id bigint DEFAULT nextval('public.visits_id_seq'::regclass) NOT NULL,
    at timestamp with time zone NOT NULL,
    person integer,
    number integer NOT NULL,
    note text,
    twice integer GENERATED ALWAYS AS ((number * 2)) STORED,
    CONSTRAINT visits_code CHECK ((number >= 0))
);
CREATE TABLE public.visits_p2025_05 (
    id bigint DEFAULT nextval('public.visits_id_seq'::regclass) NOT NULL,
    at timestamp with time zone NOT NULL,
    person integer,
    number integer NOT NULL,
    note text,
    twice integer GENERATED ALWAYS AS ((number * 2)) STORED,
    CONSTRAINT visits_code CHECK ((number >= 0))
);
ALTER TABLE ONLY public.visits ATTACH PARTITION public.visits_default DEFAULT;
ALTER TABLE ONLY public.visits ATTACH PARTITION public.visits_p2025_01 FOR VALUES FROM ('2025-01-01 00:00:00+00') TO ('2025-03-01 00:00:00+00');
ALTER TABLE ONLY public.visits ATTACH PARTITION public.visits_p2025_03 FOR VALUES FROM ('2025-03-01 00:00:00+00') TO ('2025-05-01 00:00:00+00');
ALTER TABLE ONLY public.visits ATTACH PARTITION public.visits_p2025_05 FOR VALUES FROM ('2025-05-01 00:00:00+00') TO ('2025-08-01 00:00:00+00');
ALTER TABLE ONLY public.visits ALTER COLUMN id SET DEFAULT nextval('public.visits_id_seq'::regclass);
INSERT INTO projh_bg_749116ba_blue.bills OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 1.50),
	(2, 2, 3.00),
	(3, 3, 4.50),
	(4, 4, 6.00),
	(5, 5, 7.50),
	(6, 6, 9.00),
	(7, 7, 10.50),
	(8, 8, 12.00),
	(9, 9, 13.50),
	(10, 10, 15.00),
	(11, 11, 16.50),
	(12, 12, 18.00),
	(13, 13, 19.50),
	(14, 14, 21.00),
	(15, 15, 22.50),
	(16, 16, 24.00),
	(17, 17, 25.50),
	(18, 18, 27.00),
	(19, 19, 28.50),
	(20, 20, 30.00);
INSERT INTO projh_bg_749116ba_blue.visits VALUES
	(1, '2025-01-01 00:00:00+00', 1, 0, 'note 0', DEFAULT),
	(2, '2025-01-02 00:00:00+00', 2, 1, 'note 1', DEFAULT),
	(3, '2025-01-03 00:00:00+00', 3, 2, 'note 2', DEFAULT),
	(4, '2025-01-04 00:00:00+00', 4, 3, 'note 3', DEFAULT),
	(5, '2025-01-05 00:00:00+00', 5, 4, 'note 4', DEFAULT),
	(6, '2025-01-06 00:00:00+00', 6, 5, 'note 5', DEFAULT),
	(7, '2025-01-07 00:00:00+00', 7, 6, 'note 6', DEFAULT),
	(8, '2025-01-08 00:00:00+00', 8, 7, 'note 7', DEFAULT),
	(9, '2025-01-09 00:00:00+00', 9, 8, 'note 8', DEFAULT),
	(10, '2025-01-10 00:00:00+00', 10, 9, 'note 9', DEFAULT),
	(11, '2025-01-11 00:00:00+00', 11, 10, 'note 10', DEFAULT),
	(12, '2025-01-12 00:00:00+00', 12, 11, 'note 11', DEFAULT),
	(13, '2025-01-13 00:00:00+00', 13, 12, 'note 12', DEFAULT),
	(14, '2025-01-14 00:00:00+00', 14, 13, 'note 13', DEFAULT),
	(15, '2025-01-15 00:00:00+00', 15, 14, 'note 14', DEFAULT),
	(16, '2025-01-16 00:00:00+00', 16, 15, 'note 15', DEFAULT),
	(17, '2025-01-17 00:00:00+00', 17, 16, 'note 16', DEFAULT),
	(18, '2025-01-18 00:00:00+00', 18, 17, 'note 17', DEFAULT),
	(19, '2025-01-19 00:00:00+00', 19, 18, 'note 18', DEFAULT),
	(20, '2025-01-20 00:00:00+00', 20, 19, 'note 19', DEFAULT),
	(21, '2025-01-21 00:00:00+00', 1, 20, 'note 20', DEFAULT),
	(22, '2025-01-22 00:00:00+00', 2, 21, 'note 21', DEFAULT),
	(23, '2025-01-23 00:00:00+00', 3, 22, 'note 22', DEFAULT),
	(24, '2025-01-24 00:00:00+00', 4, 23, 'note 23', DEFAULT),
	(25, '2025-01-25 00:00:00+00', 5, 24, 'note 24', DEFAULT),
	(26, '2025-01-26 00:00:00+00', 6, 25, 'note 25', DEFAULT),
	(27, '2025-01-27 00:00:00+00', 7, 26, 'note 26', DEFAULT),
	(28, '2025-01-28 00:00:00+00', 8, 27, 'note 27', DEFAULT),
	(29, '2025-01-29 00:00:00+00', 9, 28, 'note 28', DEFAULT),
	(30, '2025-01-30 00:00:00+00', 10, 29, 'note 29', DEFAULT),
	(31, '2025-01-31 00:00:00+00', 11, 30, 'note 30', DEFAULT),
	(32, '2025-02-01 00:00:00+00', 12, 31, 'note 31', DEFAULT),
	(33, '2025-02-02 00:00:00+00', 13, 32, 'note 32', DEFAULT),
	(34, '2025-02-03 00:00:00+00', 14, 33, 'note 33', DEFAULT),
	(35, '2025-02-04 00:00:00+00', 15, 34, 'note 34', DEFAULT),
	(36, '2025-02-05 00:00:00+00', 16, 35, 'note 35', DEFAULT),
	(37, '2025-02-06 00:00:00+00', 17, 36, 'note 36', DEFAULT),
	(38, '2025-02-07 00:00:00+00', 18, 37, 'note 37', DEFAULT),
	(39, '2025-02-08 00:00:00+00', 19, 38, 'note 38', DEFAULT);
INSERT INTO projh_bluegreen.fact OVERRIDING SYSTEM VALUE VALUES
	(1, '749116ba', 1, '2026-11-25 21:11:27.566218+00', '{"pid": 13651, "fact": "started", "host": "elsewhere", "version": "0.1.0"}'),
	(2, '749116ba', 1, '2026-11-25 21:11:27.621703+00', '{"fact": "prepared", "slot": "projh_bg_749116ba", "lanes": [{"key": {"index": "visits_pkey", "source": "primary_key", "columns": [{"name": "id", "type_oid": 20, "data_type": "bigint", "array_type_oid": 1016}]}, "green": {"blue": {"table": {"oid": 21461, "file": 21461, "kind": "r", "name": {"name": "visits", "schema": "public"}, "owner": "postgres", "comment": "visits of people", "options": [], "array_type": "_visits", "heap_bytes": 8192, "tablespace": null, "index_bytes": 49152, "persistence": "p", "table_bytes": 16384, "row_security": true, "access_method": null, "toast_options": [], "estimated_rows": 0, "replica_identity": {"kind": "default", "index": null}, "force_row_security": false}, "checks": [{"name": "visits_code", "columns": ["code"], "comment": null, "validated": true, "definition": "CHECK ((code >= 0))", "no_inherit": false}], "grants": {"owner": ["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"], "others": [], "owner_has_all": true}, "leaves": [], "columns": [{"name": "id", "attnum": 1, "grants": [], "typmod": -1, "comment": null, "default": "nextval(''public.visits_id_seq''::regclass)", "options": [], "storage": null, "identity": null, "not_null": true, "type_oid": 20, "base_type": "bigint", "binary_io": true, "collation": null, "composite": false, "data_type": "bigint", "generated": null, "toastable": false, "compression": null, "not_null_name": null, "array_type_oid": 1016, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}, {"name": "at", "attnum": 2, "grants": [], "typmod": -1, "comment": null, "default": null, "options": [], "storage": null, "identity": null, "not_null": true, "type_oid": 1184, "base_type": "timestamp with time zone", "binary_io": true, "collation": null, "composite": false, "data_type": "timestamp with time zone", "generated": null, "toastable": false, "compression": null, "not_null_name": null, "array_type_oid": 1185, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}, {"name": "person", "attnum": 3, "grants": [], "typmod": -1, "comment": null, "default": null, "options": [], "storage": null, "identity": null, "not_null": false, "type_oid": 23, "base_type": "integer", "binary_io": true, "collation": null, "composite": false, "data_type": "integer", "generated": null, "toastable": false, "compression": null, "not_null_name": null, "array_type_oid": 1007, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}, {"name": "code", "attnum": 4, "grants": [], "typmod": -1, "comment": null, "default": null, "options": [], "storage": null, "identity": null, "not_null": true, "type_oid": 23, "base_type": "integer", "binary_io": true, "collation": null, "composite": false, "data_type": "integer", "generated": null, "toastable": false, "compression": null, "not_null_name": null, "array_type_oid": 1007, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}, {"name": "note", "attnum": 5, "grants": [], "typmod": -1, "comment": null, "default": null, "options": [], "storage": null, "identity": null, "not_null": false, "type_oid": 25, "base_type": "text", "binary_io": true, "collation": null, "composite": false, "data_type": "text", "generated": null, "toastable": true, "compression": null, "not_null_name": null, "array_type_oid": 1009, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}, {"name": "twice", "attnum": 6, "grants": [], "typmod": -1, "comment": null, "default": null, "options": [], "storage": null, "identity": null, "not_null": false, "type_oid": 23, "base_type": "integer", "binary_io": true, "collation": null, "composite": false, "data_type": "integer", "generated": {"stored": true, "columns": ["code"], "expression": "(code * 2)"}, "toastable": false, "compression": null, "not_null_name": null, "array_type_oid": 1007, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}], "indexes": [{"body": "USING btree (code, at)", "keys": ["code", "at"], "name": "visits_code_at", "valid": true, "unique": true, "columns": ["at", "code"], "comment": null, "options": [], "primary": false, "included": [], "clustered": false, "exclusion": false, "immediate": true, "predicate": null, "constraint": null, "tablespace": null, "has_expressions": false, "statistics_targets": []}, {"body": "USING btree (person, at)", "keys": ["person", "at"], "name": "visits_person_at", "valid": true, "unique": false, "columns": ["at", "person"], "comment": null, "options": [], "primary": false, "included": [], "clustered": false, "exclusion": false, "immediate": true, "predicate": null, "constraint": null, "tablespace": null, "has_expressions": false, "statistics_targets": []}, {"body": "USING btree (id)", "keys": ["id"], "name": "visits_pkey", "valid": true, "unique": true, "columns": ["id"], "comment": null, "options": [], "primary": true, "included": [], "clustered": false, "exclusion": false, "immediate": true, "predicate": null, "constraint": {"name": "visits_pkey", "comment": null, "deferrable": false, "definition": "PRIMARY KEY (id)"}, "tablespace": null, "has_expressions": false, "statistics_targets": []}], "policies": [{"name": "visits_all", "check": null, "roles": [null], "using": "(code < 1000000)", "columns": ["code"], "command": "ALL", "comment": null, "permissive": true}], "sequences": [{"max": 9223372036854775807, "min": 1, "name": {"name": "visits_id_seq", "schema": "public"}, "cache": 1, "cycle": false, "start": 1, "column": "id", "grants": [], "comment": null, "identity": false, "data_type": "bigint", "increment": 1}], "foreign_keys": [{"name": "visits_person", "tail": "REFERENCES public.people(id) ON DELETE CASCADE", "columns": ["person"], "comment": "whose visit", "to_itself": false, "validated": true, "references": {"name": "people", "schema": "public"}}]}, "homes": {"blue": "projh_bg_749116ba_blue", "green": "projh_bg_749116ba_green"}, "notes": [], "columns": [{"name": "id", "source": {"same": "id"}, "data_type": "bigint"}, {"name": "at", "source": {"same": "at"}, "data_type": "timestamp with time zone"}, {"name": "person", "source": {"same": "person"}, "data_type": "integer"}, {"name": "number", "source": {"same": "code"}, "data_type": "integer"}, {"name": "note", "source": {"same": "note"}, "data_type": "text"}, {"name": "twice", "source": {"generated": "twice"}, "data_type": "integer"}], "indexes": [{"keys": ["id", "at"], "name": "visits_pkey", "unique": true, "comment": null, "primary": true, "clustered": false, "constraint": true, "definition": "PRIMARY KEY (\"id\", \"at\")", "replica_identity": false, "constraint_comment": null, "statistics_targets": []}, {"keys": ["number", "at"], "name": "visits_code_at", "unique": true, "comment": null, "primary": false, "clustered": false, "constraint": false, "definition": "USING btree (\"number\", at)", "replica_identity": false, "constraint_comment": null, "statistics_targets": []}, {"keys": ["person", "at"], "name": "visits_person_at", "unique": false, "comment": null, "primary": false, "clustered": false, "constraint": false, "definition": "USING btree (person, at)", "replica_identity": false, "constraint_comment": null, "statistics_targets": []}, {"keys": null, "name": "visits_note", "unique": false, "comment": null, "primary": false, "clustered": false, "constraint": false, "definition": "(note)", "replica_identity": false, "constraint_comment": null, "statistics_targets": []}, {"keys": null, "name": "visits_part", "unique": false, "comment": null, "primary": false, "clustered": false, "constraint": false, "definition": "((1 / (number - 39)))", "replica_identity": false, "constraint_comment": null, "statistics_targets": []}], "partition": {"column": "at", "leaves": [{"name": "visits_p2025_01", "bound": "FOR VALUES FROM (''2025-01-01 00:00:00+00'') TO (''2025-03-01 00:00:00+00'')"}, {"name": "visits_p2025_03", "bound": "FOR VALUES FROM (''2025-03-01 00:00:00+00'') TO (''2025-05-01 00:00:00+00'')"}, {"name": "visits_p2025_05", "bound": "FOR VALUES FROM (''2025-05-01 00:00:00+00'') TO (''2025-08-01 00:00:00+00'')"}, {"name": "visits_default", "bound": "DEFAULT"}], "schema": "public", "strategy": "RANGE"}}, "table": {"name": "visits", "schema": "public"}, "fingerprint": {"column at": "2f37e9f152eea5c3f3aff9f3f20a5dcc", "column id": "5932f7401179a84523cde68c8d9824db", "column code": "81bd65542b023ba0b81bcbf140b97524", "column note": "233d1794e13f5c12cf230883bbcda2d4", "column twice": "567c6c75750f2886f072aa6d1f57c331", "column person": "093a70c8bb4a3bcdf08e96d83fa26ad2", "index visits_pkey": "675d9c0ecb3589ee2c924d71bbb167c9", "policy visits_all": "758d1789f2ee0abe3efa191eff8a4060", "index visits_code_at": "0948024439ea5f86dce877dfd9f2722c", "constraint visits_code": "fb459369cdcdfdf071a2a12047b65e1c", "constraint visits_pkey": "bc335a05384cbd04faf2332124536c81", "index visits_person_at": "4b6c79c4f4262d057edf3fee39766fcb", "sequence visits_id_seq": "0b8fce2703ff226a8cdc576aef3b472b", "constraint visits_person": "b487f43c60eff089a590ebfe8a7e63c4", "comment on table public.visits": "9116bff00110aad6cd8d4cee157bab63", "policy visits_all on table public.visits": "a568d42d6292b6f0dd763b1172083cd8", "comment on constraint visits_person on table public.visits": "68f7c114540cae3bd71d53928291b0d1", "the table itself (name, owner, privileges, row security or storage)": "8f1576379f92845d6f9b23a0f9bca788"}, "replica_identity_before": null}, {"key": {"index": "bills_pkey", "source": "primary_key", "columns": [{"name": "id", "type_oid": 23, "data_type": "integer", "array_type_oid": 1007}]}, "green": {"blue": {"table": {"oid": 21480, "file": 21480, "kind": "r", "name": {"name": "bills", "schema": "public"}, "owner": "postgres", "comment": null, "options": [], "array_type": "_bills", "heap_bytes": 8192, "tablespace": null, "index_bytes": 16384, "persistence": "p", "table_bytes": 8192, "row_security": false, "access_method": null, "toast_options": [], "estimated_rows": 0, "replica_identity": {"kind": "default", "index": null}, "force_row_security": false}, "checks": [], "grants": {"owner": ["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"], "others": [], "owner_has_all": true}, "leaves": [], "columns": [{"name": "id", "attnum": 1, "grants": [], "typmod": -1, "comment": null, "default": null, "options": [], "storage": null, "identity": "always", "not_null": true, "type_oid": 23, "base_type": "integer", "binary_io": true, "collation": null, "composite": false, "data_type": "integer", "generated": null, "toastable": false, "compression": null, "not_null_name": null, "array_type_oid": 1007, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}, {"name": "visit_code", "attnum": 2, "grants": [], "typmod": -1, "comment": null, "default": null, "options": [], "storage": null, "identity": null, "not_null": true, "type_oid": 23, "base_type": "integer", "binary_io": true, "collation": null, "composite": false, "data_type": "integer", "generated": null, "toastable": false, "compression": null, "not_null_name": null, "array_type_oid": 1007, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}, {"name": "amount", "attnum": 3, "grants": [], "typmod": 655366, "comment": null, "default": null, "options": [], "storage": null, "identity": null, "not_null": true, "type_oid": 1700, "base_type": "numeric(10,2)", "binary_io": true, "collation": null, "composite": false, "data_type": "numeric(10,2)", "generated": null, "toastable": true, "compression": null, "not_null_name": null, "array_type_oid": 1231, "not_null_comment": null, "statistics_target": null, "unvalidated_domain": null}], "indexes": [{"body": "USING btree (id)", "keys": ["id"], "name": "bills_pkey", "valid": true, "unique": true, "columns": ["id"], "comment": null, "options": [], "primary": true, "included": [], "clustered": false, "exclusion": false, "immediate": true, "predicate": null, "constraint": {"name": "bills_pkey", "comment": null, "deferrable": false, "definition": "PRIMARY KEY (id)"}, "tablespace": null, "has_expressions": false, "statistics_targets": []}], "policies": [], "sequences": [{"max": 2147483647, "min": 1, "name": {"name": "bills_id_seq", "schema": "public"}, "cache": 1, "cycle": false, "start": 1, "column": "id", "grants": [], "comment": null, "identity": true, "data_type": "integer", "increment": 1}], "foreign_keys": []}, "homes": {"blue": "projh_bg_749116ba_blue", "green": "projh_bg_749116ba_green"}, "notes": [], "columns": [{"name": "id", "source": {"same": "id"}, "data_type": "integer"}, {"name": "visit_code", "source": {"same": "visit_code"}, "data_type": "integer"}, {"name": "amount", "source": {"expression": {"sql": "CAST(\"amount\" AS numeric(12,2))", "blue": "amount"}}, "data_type": "numeric(12,2)"}], "indexes": [{"keys": ["id"], "name": "bills_pkey", "unique": true, "comment": null, "primary": true, "clustered": false, "constraint": true, "definition": "PRIMARY KEY (\"id\")", "replica_identity": false, "constraint_comment": null, "statistics_targets": []}], "partition": null}, "table": {"name": "bills", "schema": "public"}, "fingerprint": {"column id": "f623f17d2f1466b927a6e7234327be8b", "column amount": "158eff9569ab07a1614b600a8dc5a262", "index bills_pkey": "9989ce64778dc2024e22032447d29925", "column visit_code": "29b44f4ed2272fb62098f236ce48678a", "constraint bills_pkey": "63ed105411ccead129042a3877dcf690", "sequence bills_id_seq": "42710fce80ed07b32299b3b197776e8f", "the table itself (name, owner, privileges, row security or storage)": "b72fe1d7096e409b76f35624fcb4aaab"}, "replica_identity_before": null}], "blue_home": "projh_bg_749116ba_blue", "green_home": "projh_bg_749116ba_green"}'),
	(3, '749116ba', 1, '2026-11-25 21:11:27.6416+00', '{"fact": "slot_intended"}'),
	(4, '749116ba', 1, '2026-11-25 21:11:27.654485+00', '{"lsn": "0/7B1A640", "fact": "slot_created", "filenodes": [21461, 21480]}'),
	(5, '749116ba', 1, '2026-11-25 21:11:27.669846+00', '{"lsn": "0/7B1A640", "fact": "round_began"}'),
	(6, '749116ba', 1, '2026-11-25 21:11:27.676784+00', '{"fact": "chunk_copied", "lane": 0, "rows": 39, "span": {"to": null, "from": 0}}'),
	(7, '749116ba', 1, '2026-11-25 21:11:27.67912+00', '{"fact": "chunk_copied", "lane": 1, "rows": 20, "span": {"to": null, "from": 0}}'),
	(8, '749116ba', 1, '2026-11-25 21:11:27.680801+00', '{"why": "complete", "fact": "round_ended"}'),
	(9, '749116ba', 1, '2026-11-25 21:11:27.701473+00', '{"fact": "index_built", "lane": 0, "step": 0}'),
	(10, '749116ba', 1, '2026-11-25 21:11:27.703925+00', '{"fact": "index_built", "lane": 0, "step": 1}'),
	(11, '749116ba', 1, '2026-11-25 21:11:27.706091+00', '{"fact": "index_built", "lane": 0, "step": 2}'),
	(12, '749116ba', 1, '2026-11-25 21:11:27.708158+00', '{"fact": "index_built", "lane": 0, "step": 3}'),
	(13, '749116ba', 1, '2026-11-25 21:11:27.710223+00', '{"fact": "index_built", "lane": 1, "step": 0}'),
	(14, '749116ba', 1, '2026-11-25 21:11:27.712684+00', '{"fact": "index_built", "lane": 0, "step": 4}'),
	(15, '749116ba', 1, '2026-11-25 21:11:27.714366+00', '{"fact": "key_built", "lane": 0}'),
	(16, '749116ba', 1, '2026-11-25 21:11:27.714721+00', '{"fact": "key_built", "lane": 1}'),
	(17, '749116ba', 1, '2026-11-25 21:11:27.715005+00', '{"fact": "copy_finished"}'),
	(18, '749116ba', 1, '2026-11-25 21:11:27.719444+00', '{"xid": 1845, "fact": "caught_up"}'),
	(19, '749116ba', 1, '2026-11-25 21:11:27.724947+00', '{"fact": "index_built", "lane": 0, "step": 5}'),
	(20, '749116ba', 1, '2026-11-25 21:11:27.727041+00', '{"fact": "index_built", "lane": 0, "step": 6}'),
	(21, '749116ba', 1, '2026-11-25 21:11:27.728939+00', '{"fact": "index_built", "lane": 0, "step": 7}'),
	(22, '749116ba', 1, '2026-11-25 21:11:27.730744+00', '{"fact": "index_built", "lane": 0, "step": 8}'),
	(23, '749116ba', 1, '2026-11-25 21:11:27.731583+00', '{"fact": "index_built", "lane": 0, "step": 10}'),
	(24, '749116ba', 1, '2026-11-25 21:11:27.733459+00', '{"fact": "index_built", "lane": 0, "step": 11}'),
	(25, '749116ba', 1, '2026-11-25 21:11:27.735339+00', '{"fact": "index_built", "lane": 0, "step": 12}'),
	(26, '749116ba', 1, '2026-11-25 21:11:27.737248+00', '{"fact": "index_built", "lane": 0, "step": 13}'),
	(27, '749116ba', 1, '2026-11-25 21:11:27.739095+00', '{"fact": "index_built", "lane": 0, "step": 15}'),
	(28, '749116ba', 1, '2026-11-25 21:11:27.740832+00', '{"fact": "index_built", "lane": 0, "step": 16}'),
	(29, '749116ba', 1, '2026-11-25 21:11:27.742589+00', '{"fact": "index_built", "lane": 0, "step": 17}'),
	(30, '749116ba', 1, '2026-11-25 21:11:27.744419+00', '{"fact": "index_built", "lane": 0, "step": 18}'),
	(31, '749116ba', 1, '2026-11-25 21:11:27.746301+00', '{"fact": "index_built", "lane": 0, "step": 20}'),
	(32, '749116ba', 1, '2026-11-25 21:11:27.7485+00', '{"fact": "index_built", "lane": 0, "step": 21}'),
	(33, '749116ba', 1, '2026-11-25 21:11:27.750412+00', '{"fact": "index_built", "lane": 0, "step": 22}'),
	(34, '749116ba', 1, '2026-11-25 21:11:27.752266+00', '{"fact": "index_built", "lane": 0, "step": 23}'),
	(35, '749116ba', 1, '2026-11-25 21:11:27.754418+00', '{"fact": "index_built", "lane": 0, "step": 9}'),
	(36, '749116ba', 1, '2026-11-25 21:11:27.756331+00', '{"fact": "index_built", "lane": 0, "step": 14}'),
	(37, '749116ba', 1, '2026-11-25 21:11:27.758316+00', '{"fact": "index_built", "lane": 0, "step": 19}'),
	(38, '749116ba', 1, '2026-11-25 21:11:27.760321+00', '{"fact": "index_built", "lane": 0, "step": 24}'),
	(39, '749116ba', 1, '2026-11-25 21:11:27.770788+00', '{"fact": "indexed"}'),
	(40, '749116ba', 1, '2026-11-25 21:11:27.808464+00', '{"lsn": "0/7B40678", "fact": "verified", "rows": [39, 20], "columns": [6, 3], "delta_keys": 0, "delta_steps": 0}'),
	(41, '749116ba', 1, '2026-11-25 21:11:27.845828+00', '{"lsn": "0/7B4C868", "fact": "swapped", "times": {"drain_ms": 6.853, "compare_ms": 0.002, "exchange_ms": 2.447, "lock_wait_ms": 0.132}, "compared": 0}'),
	(42, '749116ba', 1, '2026-11-25 21:11:27.855464+00', '{"fact": "step_settled", "lane": 0, "step": 0}'),
	(43, '749116ba', 1, '2026-11-25 21:11:27.856379+00', '{"fact": "step_settled", "lane": 0, "step": 1}'),
	(44, '749116ba', 1, '2026-11-25 21:11:27.85711+00', '{"fact": "step_settled", "lane": 0, "step": 2}'),
	(45, '749116ba', 1, '2026-11-25 21:11:27.857929+00', '{"fact": "step_settled", "lane": 0, "step": 3}'),
	(46, '749116ba', 1, '2026-11-25 21:11:27.859528+00', '{"fact": "step_settled", "lane": 0, "step": 4}'),
	(47, '749116ba', 1, '2026-11-25 21:11:27.860025+00', '{"fact": "step_settled", "lane": 0, "step": 5}'),
	(48, '749116ba', 1, '2026-11-25 21:11:27.862078+00', '{"fact": "settled"}');
INSERT INTO projh_bluegreen.migration VALUES
	(1, '2026-11-25 21:11:27.555297+00');
INSERT INTO projh_bluegreen.run VALUES
	('749116ba', 'golden', '{"name": "golden", "tables": [{"table": {"name": "visits", "schema": "public"}, "columns": {"code": {"change": {"back": null, "using": null, "rename": "number", "one_way": false, "data_type": null}}}, "indexes": [{"name": "visits_note", "rest": "(note)", "unique": false}, {"name": "visits_part", "rest": "((1 / (number - 39)))", "unique": false}], "add_columns": [], "primary_key": ["id", "at"], "drop_indexes": [], "partition_by": {"into": {"bounds": ["2025-01-01", "2025-03-01", "2025-05-01", "2025-08-01"]}, "name": "{table}_p{from:%Y_%m}", "column": "at", "schema": null, "default": true}, "replica_identity_full": false}, {"table": {"name": "bills", "schema": "public"}, "columns": {"amount": {"change": {"back": null, "using": null, "rename": null, "one_way": false, "data_type": "numeric(12,2)"}}}, "indexes": [], "add_columns": [], "primary_key": null, "drop_indexes": [], "partition_by": null, "replica_identity_full": false}]}', 1, '2026-11-25 21:11:27.562463+00', NULL);
INSERT INTO projh_bluegreen.stream VALUES
	('749116ba', '0/7B1A640');
INSERT INTO public.bills OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 1.50),
	(2, 2, 3.00),
	(3, 3, 4.50),
	(4, 4, 6.00),
	(5, 5, 7.50),
	(6, 6, 9.00),
	(7, 7, 10.50),
	(8, 8, 12.00),
	(9, 9, 13.50),
	(10, 10, 15.00),
	(11, 11, 16.50),
	(12, 12, 18.00),
	(13, 13, 19.50),
	(14, 14, 21.00),
	(15, 15, 22.50),
	(16, 16, 24.00),
	(17, 17, 25.50),
	(18, 18, 27.00),
	(19, 19, 28.50),
	(20, 20, 30.00);
INSERT INTO public.people VALUES
	(1, 'person 1'),
	(2, 'person 2'),
	(3, 'person 3'),
	(4, 'person 4'),
	(5, 'person 5'),
	(6, 'person 6'),
	(7, 'person 7'),
	(8, 'person 8'),
	(9, 'person 9'),
	(10, 'person 10'),
	(11, 'person 11'),
	(12, 'person 12'),
	(13, 'person 13'),
	(14, 'person 14'),
	(15, 'person 15'),
	(16, 'person 16'),
	(17, 'person 17'),
	(18, 'person 18'),
	(19, 'person 19'),
	(20, 'person 20');
INSERT INTO public.visits_p2025_01 VALUES
	(1, '2025-01-01 00:00:00+00', 1, 0, 'note 0', DEFAULT),
	(2, '2025-01-02 00:00:00+00', 2, 1, 'note 1', DEFAULT),
	(3, '2025-01-03 00:00:00+00', 3, 2, 'note 2', DEFAULT),
	(4, '2025-01-04 00:00:00+00', 4, 3, 'note 3', DEFAULT),
	(5, '2025-01-05 00:00:00+00', 5, 4, 'note 4', DEFAULT),
	(6, '2025-01-06 00:00:00+00', 6, 5, 'note 5', DEFAULT),
	(7, '2025-01-07 00:00:00+00', 7, 6, 'note 6', DEFAULT),
	(8, '2025-01-08 00:00:00+00', 8, 7, 'note 7', DEFAULT),
	(9, '2025-01-09 00:00:00+00', 9, 8, 'note 8', DEFAULT),
	(10, '2025-01-10 00:00:00+00', 10, 9, 'note 9', DEFAULT),
	(11, '2025-01-11 00:00:00+00', 11, 10, 'note 10', DEFAULT),
	(12, '2025-01-12 00:00:00+00', 12, 11, 'note 11', DEFAULT),
	(13, '2025-01-13 00:00:00+00', 13, 12, 'note 12', DEFAULT),
	(14, '2025-01-14 00:00:00+00', 14, 13, 'note 13', DEFAULT),
	(15, '2025-01-15 00:00:00+00', 15, 14, 'note 14', DEFAULT),
	(16, '2025-01-16 00:00:00+00', 16, 15, 'note 15', DEFAULT),
	(17, '2025-01-17 00:00:00+00', 17, 16, 'note 16', DEFAULT),
	(18, '2025-01-18 00:00:00+00', 18, 17, 'note 17', DEFAULT),
	(19, '2025-01-19 00:00:00+00', 19, 18, 'note 18', DEFAULT),
	(20, '2025-01-20 00:00:00+00', 20, 19, 'note 19', DEFAULT),
	(21, '2025-01-21 00:00:00+00', 1, 20, 'note 20', DEFAULT),
	(22, '2025-01-22 00:00:00+00', 2, 21, 'note 21', DEFAULT),
	(23, '2025-01-23 00:00:00+00', 3, 22, 'note 22', DEFAULT),
	(24, '2025-01-24 00:00:00+00', 4, 23, 'note 23', DEFAULT),
	(25, '2025-01-25 00:00:00+00', 5, 24, 'note 24', DEFAULT),
	(26, '2025-01-26 00:00:00+00', 6, 25, 'note 25', DEFAULT),
	(27, '2025-01-27 00:00:00+00', 7, 26, 'note 26', DEFAULT),
	(28, '2025-01-28 00:00:00+00', 8, 27, 'note 27', DEFAULT),
	(29, '2025-01-29 00:00:00+00', 9, 28, 'note 28', DEFAULT),
	(30, '2025-01-30 00:00:00+00', 10, 29, 'note 29', DEFAULT),
	(31, '2025-01-31 00:00:00+00', 11, 30, 'note 30', DEFAULT),
	(32, '2025-02-01 00:00:00+00', 12, 31, 'note 31', DEFAULT),
	(33, '2025-02-02 00:00:00+00', 13, 32, 'note 32', DEFAULT),
	(34, '2025-02-03 00:00:00+00', 14, 33, 'note 33', DEFAULT),
	(35, '2025-02-04 00:00:00+00', 15, 34, 'note 34', DEFAULT),
	(36, '2025-02-05 00:00:00+00', 16, 35, 'note 35', DEFAULT),
	(37, '2025-02-06 00:00:00+00', 17, 36, 'note 36', DEFAULT),
	(38, '2025-02-07 00:00:00+00', 18, 37, 'note 37', DEFAULT),
	(39, '2025-02-08 00:00:00+00', 19, 38, 'note 38', DEFAULT);
SELECT pg_catalog.setval('projh_bg_749116ba_blue.bills_id_seq', 20, true);
SELECT pg_catalog.setval('projh_bluegreen.fact_n_seq', 48, true);
SELECT pg_catalog.setval('public.bills_id_seq', 1020, true);
SELECT pg_catalog.setval('public.visits_id_seq', 40, true);
ALTER TABLE ONLY projh_bg_749116ba_blue.bills
    ADD CONSTRAINT bills_pkey PRIMARY KEY (id);
ALTER TABLE ONLY projh_bg_749116ba_blue.visits
    ADD CONSTRAINT visits_pkey PRIMARY KEY (id);
ALTER TABLE ONLY projh_bg_749116ba_green.dirty_0
    ADD CONSTRAINT dirty_0_pkey PRIMARY KEY (id);
ALTER TABLE ONLY projh_bg_749116ba_green.dirty_1
    ADD CONSTRAINT dirty_1_pkey PRIMARY KEY (id);
ALTER TABLE ONLY projh_bluegreen.fact
    ADD CONSTRAINT fact_pkey PRIMARY KEY (run, n);
ALTER TABLE ONLY projh_bluegreen.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);
ALTER TABLE ONLY projh_bluegreen.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (run);
ALTER TABLE ONLY projh_bluegreen.stream
    ADD CONSTRAINT stream_pkey PRIMARY KEY (run);
ALTER TABLE ONLY public.bills
    ADD CONSTRAINT bills_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.people
    ADD CONSTRAINT people_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.visits
    ADD CONSTRAINT visits_pkey PRIMARY KEY (id, at);
ALTER TABLE ONLY public.visits_default
    ADD CONSTRAINT visits_default_pkey PRIMARY KEY (id, at);
ALTER TABLE ONLY public.visits_p2025_01
    ADD CONSTRAINT visits_p2025_01_pkey PRIMARY KEY (id, at);
ALTER TABLE ONLY public.visits_p2025_03
    ADD CONSTRAINT visits_p2025_03_pkey PRIMARY KEY (id, at);
ALTER TABLE ONLY public.visits_p2025_05
    ADD CONSTRAINT visits_p2025_05_pkey PRIMARY KEY (id, at);
CREATE UNIQUE INDEX visits_code_at ON projh_bg_749116ba_blue.visits USING btree (code, at);
CREATE INDEX visits_person_at ON projh_bg_749116ba_blue.visits USING btree (person, at);
CREATE UNIQUE INDEX run_under_way ON projh_bluegreen.run USING btree (plan_name) WHERE (ended_at IS NULL);
CREATE UNIQUE INDEX visits_code_at ON ONLY public.visits USING btree (number, at);
CREATE INDEX visits_part ON ONLY public.visits USING btree (((1 / (number - 39))));
CREATE INDEX visits_default_expr_idx ON public.visits_default USING btree (((1 / (number - 39))));
CREATE INDEX visits_note ON ONLY public.visits USING btree (note);
CREATE INDEX visits_default_note_idx ON public.visits_default USING btree (note);
CREATE UNIQUE INDEX visits_default_number_at_idx ON public.visits_default USING btree (number, at);
CREATE INDEX visits_person_at ON ONLY public.visits USING btree (person, at);
CREATE INDEX visits_default_person_at_idx ON public.visits_default USING btree (person, at);
CREATE INDEX visits_p2025_01_expr_idx ON public.visits_p2025_01 USING btree (((1 / (number - 39))));
CREATE INDEX visits_p2025_01_note_idx ON public.visits_p2025_01 USING btree (note);
CREATE UNIQUE INDEX visits_p2025_01_number_at_idx ON public.visits_p2025_01 USING btree (number, at);
CREATE INDEX visits_p2025_01_person_at_idx ON public.visits_p2025_01 USING btree (person, at);
CREATE INDEX visits_p2025_03_expr_idx ON public.visits_p2025_03 USING btree (((1 / (number - 39))));
CREATE INDEX visits_p2025_03_note_idx ON public.visits_p2025_03 USING btree (note);
CREATE UNIQUE INDEX visits_p2025_03_number_at_idx ON public.visits_p2025_03 USING btree (number, at);
CREATE INDEX visits_p2025_03_person_at_idx ON public.visits_p2025_03 USING btree (person, at);
CREATE INDEX visits_p2025_05_expr_idx ON public.visits_p2025_05 USING btree (((1 / (number - 39))));
CREATE INDEX visits_p2025_05_note_idx ON public.visits_p2025_05 USING btree (note);
CREATE UNIQUE INDEX visits_p2025_05_number_at_idx ON public.visits_p2025_05 USING btree (number, at);
CREATE INDEX visits_p2025_05_person_at_idx ON public.visits_p2025_05 USING btree (person, at);
ALTER INDEX public.visits_part ATTACH PARTITION public.visits_default_expr_idx;
ALTER INDEX public.visits_note ATTACH PARTITION public.visits_default_note_idx;
ALTER INDEX public.visits_code_at ATTACH PARTITION public.visits_default_number_at_idx;
ALTER INDEX public.visits_person_at ATTACH PARTITION public.visits_default_person_at_idx;
ALTER INDEX public.visits_pkey ATTACH PARTITION public.visits_default_pkey;
ALTER INDEX public.visits_part ATTACH PARTITION public.visits_p2025_01_expr_idx;
ALTER INDEX public.visits_note ATTACH PARTITION public.visits_p2025_01_note_idx;
ALTER INDEX public.visits_code_at ATTACH PARTITION public.visits_p2025_01_number_at_idx;
ALTER INDEX public.visits_person_at ATTACH PARTITION public.visits_p2025_01_person_at_idx;
ALTER INDEX public.visits_pkey ATTACH PARTITION public.visits_p2025_01_pkey;
ALTER INDEX public.visits_part ATTACH PARTITION public.visits_p2025_03_expr_idx;
ALTER INDEX public.visits_note ATTACH PARTITION public.visits_p2025_03_note_idx;
ALTER INDEX public.visits_code_at ATTACH PARTITION public.visits_p2025_03_number_at_idx;
ALTER INDEX public.visits_person_at ATTACH PARTITION public.visits_p2025_03_person_at_idx;
ALTER INDEX public.visits_pkey ATTACH PARTITION public.visits_p2025_03_pkey;
ALTER INDEX public.visits_part ATTACH PARTITION public.visits_p2025_05_expr_idx;
ALTER INDEX public.visits_note ATTACH PARTITION public.visits_p2025_05_note_idx;
ALTER INDEX public.visits_code_at ATTACH PARTITION public.visits_p2025_05_number_at_idx;
ALTER INDEX public.visits_person_at ATTACH PARTITION public.visits_p2025_05_person_at_idx;
ALTER INDEX public.visits_pkey ATTACH PARTITION public.visits_p2025_05_pkey;
ALTER TABLE ONLY projh_bluegreen.fact
    ADD CONSTRAINT fact_run_fkey FOREIGN KEY (run) REFERENCES projh_bluegreen.run(run);
ALTER TABLE ONLY projh_bluegreen.stream
    ADD CONSTRAINT stream_run_fkey FOREIGN KEY (run) REFERENCES projh_bluegreen.run(run);
ALTER TABLE public.visits
    ADD CONSTRAINT visits_person FOREIGN KEY (person) REFERENCES public.people(id) ON DELETE CASCADE;
COMMENT ON CONSTRAINT visits_person ON public.visits IS 'whose visit';
ALTER TABLE projh_bg_749116ba_blue.visits ENABLE ROW LEVEL SECURITY;
CREATE POLICY visits_all ON projh_bg_749116ba_blue.visits USING ((code < 1000000));
ALTER TABLE public.visits ENABLE ROW LEVEL SECURITY;
CREATE POLICY visits_all ON public.visits USING ((number < 1000000));
ALTER TABLE public.visits_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.visits_p2025_01 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.visits_p2025_03 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.visits_p2025_05 ENABLE ROW LEVEL SECURITY;
