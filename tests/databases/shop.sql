-- A shop: names in mixed case, keys of two columns, a tree of employees, money as numeric, pictures.
create table "Category" ("CategoryId" smallint primary key, "Name" varchar(15) not null, "Picture" bytea);
create table "Supplier" ("SupplierId" serial primary key, "Company" varchar(40) not null, "Country" char(2));
create table "Product" (
  "ProductId" serial primary key,
  "Name" varchar(40) not null,
  "SupplierId" int references "Supplier" on delete set null,
  "CategoryId" smallint references "Category",
  "UnitPrice" numeric(10, 2) not null default 0 check ("UnitPrice" >= 0),
  "InStock" smallint default 0,
  "Discontinued" boolean not null default false
);
create index "ProductsByName" on "Product" ("Name" varchar_pattern_ops) include ("UnitPrice");
create unique index on "Product" (lower("Name"), "SupplierId") where not "Discontinued";
create table "Employee" (
  "EmployeeId" int generated always as identity (start 100) primary key,
  "Name" text not null,
  "ReportsTo" int constraint "FK_Boss" references "Employee" deferrable initially deferred,
  "Hired" date,
  "Region" text collate "C"
);
create table "Customer" ("CustomerId" char(5) primary key, "Company" text not null, "Fax" varchar(24));
create table "Order" (
  "OrderId" bigint primary key,
  "CustomerId" char(5) not null references "Customer" on update cascade,
  "EmployeeId" int references "Employee" on delete set null,
  "Ordered" timestamptz not null default now(),
  "Freight" real
);
create table "OrderLine" (
  "OrderId" bigint references "Order" on delete cascade,
  "ProductId" int references "Product",
  "Quantity" smallint not null check ("Quantity" > 0),
  "Discount" real not null default 0,
  primary key ("OrderId", "ProductId")
);
create view "Invoices" as
  select o."OrderId", c."Company", sum(p."UnitPrice" * l."Quantity") as "Total"
  from "Order" o join "Customer" c using ("CustomerId") join "OrderLine" l using ("OrderId") join "Product" p using ("ProductId")
  group by o."OrderId", c."Company";
create view "Big invoices" as select * from "Invoices" where "Total" > 1000 with cascaded check option;
alter view "Invoices" set (security_barrier);
comment on view "Invoices" is 'one line an order';
comment on column "Product"."InStock" is 'as of the last count; the word "none" is NULL';
create role shop_clerk;
create role shop_auditor;
grant select, update ("InStock") on "Product" to shop_clerk with grant option;
grant select on "Product" to shop_auditor;
grant insert ("Name", "InStock") on "Product" to shop_auditor with grant option;
grant usage on sequence "Product_ProductId_seq" to shop_auditor;
grant usage on sequence "Product_ProductId_seq" to shop_clerk with grant option;
create materialized view "Cheap" as select "ProductId", "Name" from "Product" where "UnitPrice" < 20;
grant select on "Cheap" to shop_clerk with grant option;
grant select ("Name") on "Cheap" to shop_auditor with grant option;
create function "Label"("Product") returns text language sql stable as 'select $1."Name" || $1."UnitPrice"';
revoke execute on function "Label"("Product") from public;
grant execute on function "Label"("Product") to shop_clerk with grant option;
create role shop_trainee;
set role shop_clerk;
grant select on "Cheap" to shop_trainee;
grant execute on function "Label"("Product") to shop_trainee;
grant select, update ("InStock") on "Product" to shop_trainee;
grant usage on sequence "Product_ProductId_seq" to shop_trainee;
reset role;
set role shop_auditor;
grant insert ("Name") on "Product" to shop_trainee;
grant select ("Name") on "Cheap" to shop_trainee;
reset role;
grant select on "Big invoices" to shop_clerk;
-- Whoever may read the table keeps that on the one that has left, for calls that wait for the swap.
create function "In stock"() returns bigint language sql stable begin atomic select count(*) from "Product"; end;

insert into "Category" select n, 'category ' || n, decode(md5(n::text), 'hex') from generate_series(1, 8) n;
insert into "Supplier" ("Company", "Country") select 'supplier ' || n, 'DE' from generate_series(1, 20) n;
insert into "Product" ("Name", "SupplierId", "CategoryId", "UnitPrice", "Discontinued")
  select 'product ' || n, n % 20 + 1, n % 8 + 1, n * 1.05, n % 7 = 0 from generate_series(1, 80) n;
insert into "Employee" ("Name", "ReportsTo", "Hired")
  select 'employee ' || n, nullif(99 + n / 2, 99), date '1990-01-01' + n from generate_series(1, 9) n;
insert into "Customer" select 'C' || lpad(n::text, 4, '0'), 'company ' || n from generate_series(1, 90) n;
insert into "Order" select n, 'C' || lpad((n % 90 + 1)::text, 4, '0'), n % 9 + 100, timestamptz '2024-01-01 UTC' + n * interval '1 hour', n / 3.0
  from generate_series(1, 800) n;
insert into "OrderLine" select n % 800 + 1, n % 79 + 1, n % 5 + 1, 0 from generate_series(1, 2000) n on conflict do nothing;
