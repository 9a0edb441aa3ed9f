-- A company of several schemas: keys of three columns and of uuids, xml and json, a hierarchy of schemas that
-- reference each other in a circle, domains, computed columns, exclusion, not valid and disabled things.
create schema people;
create schema sales;
create schema production;
create extension if not exists btree_gist;
create domain people.name as varchar(50) not null;
create domain people.flag as boolean default false;
create table people.entity (entity_id serial primary key, rowguid uuid not null default gen_random_uuid(), modified timestamptz not null default now());
create table people.person (
  entity_id int primary key references people.entity,
  kind char(2) not null check (kind in ('SC', 'IN', 'EM')),
  first_name people.name,
  last_name people.name,
  styled people.flag,
  demographics xml,
  extra jsonb not null default '{}',
  full_name text generated always as (first_name::text || ' ' || last_name::text) stored
);
create index on people.person using gin (extra jsonb_path_ops);
create table people.address (address_id int primary key, line text, place point, modified timestamptz default clock_timestamp());
create table people.lives (
  entity_id int references people.entity,
  address_id int references people.address,
  kind smallint,
  primary key (entity_id, address_id, kind)
);
create table sales.territory (territory_id int primary key, name people.name, capital int, cost money not null default 0);
create table sales.city (city_id int primary key, territory_id int not null references sales.territory deferrable initially deferred);
alter table sales.territory add constraint capital foreign key (capital) references sales.city deferrable initially deferred;
create table sales.seller (
  entity_id int primary key references people.person,
  territory_id int references sales.territory,
  quota numeric,
  bonus numeric not null default 0,
  constraint bonus_is_paid check (bonus >= 0)
);
create table sales.history (
  entity_id int references sales.seller,
  territory_id int references sales.territory,
  during daterange not null,
  primary key (entity_id, territory_id, during),
  constraint one_at_a_time exclude using gist (entity_id with =, during with &&) deferrable
);
comment on constraint one_at_a_time on sales.history is 'nobody is in two territories';
create table production.product (
  product_id int primary key,
  number text not null unique deferrable initially deferred,
  parent int references production.product,
  weight double precision,
  flags bit(4) default b'0000',
  dimensions int[] check (array_length(dimensions, 1) <= 3)
);
alter table production.product add constraint heavy check (weight < 1000) not valid;
create table production.document (path text primary key, body bytea, summary text, level int generated always as (length(path) - length(replace(path, '/', ''))) stored);
alter table production.document alter body set storage external, alter summary set compression pglz;
alter table production.document set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_enabled = false);
create table production.product_document (product_id int references production.product, path text references production.document on update cascade, primary key (product_id, path));
create view people.employees as select p.entity_id, p.full_name, e.rowguid from people.person p join people.entity e using (entity_id) where kind = 'EM';
create view sales.quotas with (security_barrier) as
  select s.entity_id, e.full_name, s.quota, t.name as territory from sales.seller s join people.employees e using (entity_id) left join sales.territory t using (territory_id);
create view sales.best as table sales.quotas order by quota desc nulls last limit 10;
create view sales.summary as select territory, sum(quota) filter (where quota > 0) over () as total, (select count(*) from sales.history) as moves from sales.quotas;
create function sales.note() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger noted after insert on sales.history referencing new table as fresh for each statement execute function sales.note();
create constraint trigger later after update of quota on sales.seller deferrable initially deferred for each row when (new.quota < 0) execute function sales.note();
create trigger off after update on sales.seller for each row execute function sales.note();
alter table sales.seller disable trigger off;
create trigger always after delete on sales.seller for each row execute function sales.note();
alter table sales.seller enable always trigger always;
comment on table sales.seller is 'who sells';
comment on column sales.quotas.quota is 'a year';

insert into people.entity select from generate_series(1, 400);
insert into people.person (entity_id, kind, first_name, last_name, demographics, extra)
  select n, (array['SC', 'IN', 'EM'])[n % 3 + 1], 'first ' || n, 'last ' || n, xmlelement(name survey, n), jsonb_build_object('n', n) from generate_series(1, 400) n;
insert into people.address select n, 'line ' || n, point(n, -n) from generate_series(1, 200) n;
insert into people.lives select n, n % 200 + 1, n % 3 from generate_series(1, 400) n;
begin;
insert into sales.territory select n, 'territory ' || n, n * 10, n from generate_series(1, 10) n;
insert into sales.city select n, n / 10 from generate_series(10, 109) n;
commit;
insert into sales.seller select n, n % 10 + 1, n * 100, 0 from generate_series(1, 60) n;
insert into sales.history select n % 60 + 1, n % 10 + 1, daterange(date '2020-01-01' + n * 30, date '2020-01-01' + n * 30 + 29) from generate_series(1, 300) n;
insert into production.product select n, 'P-' || n, nullif(n / 3, 0), n / 7.0, n::bit(4), array[n, 1] from generate_series(1, 150) n;
insert into production.document select '/a/' || n, decode(repeat(md5(n::text), 200), 'hex'), repeat('summary ', n) from generate_series(1, 60) n;
insert into production.product_document select n, '/a/' || (n % 60 + 1) from generate_series(1, 150) n;
