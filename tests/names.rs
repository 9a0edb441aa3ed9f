//! Names: what clients name (indexes, constraints, sequences, triggers, statistics) has its name on whichever table is live.

use tokio_postgres::Client;

use crate::support::{Cluster, stage};

const TABLES: &str = r"
create table public.parent (id int primary key);
insert into public.parent select generate_series(1, 10);
create function public.noted() returns trigger language plpgsql as $$ begin return null; end $$;
do $$ declare t text; made text; begin
  foreach t in array array['plain', 'parts'] loop
    select replace('
      create sequence public.t_n_seq; create table public.t (id bigint constraint t_key primary key, n int default nextval(''public.t_n_seq''), rank int not null, parent int, note text,
        constraint t_parent foreign key (parent) references public.parent deferrable,
        constraint t_positive check (rank > 0));
      create index t_note on public.t (note) with (fillfactor = 90);
      create trigger t_noted after insert on public.t for each row execute function public.noted();
      create constraint trigger t_later after insert on public.t deferrable for each row execute function public.noted();
      create statistics public.t_stats (ndistinct) on rank, parent from public.t;
      insert into public.t (id, rank, parent, note) select g, g, g % 10 + 1, g::text from generate_series(1, 200) g;
      comment on index public.t_note is ''n''; comment on constraint t_parent on public.t is ''n'';
      comment on constraint t_key on public.t is ''n''; comment on trigger t_noted on public.t is ''n'';
      alter sequence public.t_n_seq owned by public.t.n;
      comment on statistics public.t_stats is ''n''; comment on sequence public.t_n_seq is ''n''', 't_', t || '_') into made;
    execute regexp_replace(made, 'public\.t\M', 'public.' || t, 'g');
  end loop;
end $$;
alter table public.plain cluster on plain_note;";

const PLAN: &str = "
version: 1
name: names
settings: {workers: 1, soak: 1h}
tables:
  - table: public.plain
  - table: public.parts
    partition_by: {hash: id, partitions: 2}
";

/// By both tables. None of it changes a definition: that would end the way back.
const USES: &str = "
insert into public.T (id, rank) values (1, 1) on conflict on constraint T_key do update set note = 'again';
begin; set constraints public.T_parent deferred; update public.T set parent = 11 where id = 2; insert into public.parent values (11);
  set constraints T_parent immediate; update public.T set parent = 1 where id = 2; delete from public.parent where id = 11; commit;
begin; set constraints T_later deferred; insert into public.T (id, rank) values (1000, 1000); commit;
delete from public.T where id = 1000;
select nextval('T_n_seq'), setval('public.T_n_seq', currval('T_n_seq')), 1 / (pg_get_serial_sequence('T', 'n') = 'public.T_n_seq')::int;
comment on index public.T_note is 'n'; comment on constraint T_parent on public.T is 'n';
comment on constraint T_key on public.T is 'n'; comment on trigger T_noted on public.T is 'n';
comment on statistics public.T_stats is 'n'; comment on sequence public.T_n_seq is 'n'";

const USES_OF_PLAIN: &str = "
reindex index public.plain_note; cluster public.plain using plain_note";

async fn use_names(client: &Client, when: &str) {
    for table in ["plain", "parts"] {
        let uses = USES.replace("T_", &format!("{table}_")).replace("'T'", &format!("'{table}'"));
        let uses = uses.replace("public.T ", &format!("public.{table} "));
        let uses = format!("{uses};{}", if table == "plain" { USES_OF_PLAIN } else { "" });
        for statement in uses.split(';') {
            if let Err(error) = client.batch_execute(statement).await {
                panic!("{when}: {statement}: {:?}", error.as_db_error());
            }
        }
    }
}

/// The names of both tables' objects, without those of partitions.
async fn names(client: &Client) -> String {
    let sql = "select string_agg(x, ' ' order by x) from pg_class t, lateral (
        select 'i ' || i.indexrelid::regclass from pg_index i where i.indrelid = t.oid
        union all select 'c ' || conname from pg_constraint where conrelid = t.oid and contype <> 'n'
        union all select 'g ' || tgname from pg_trigger where tgrelid = t.oid and not tgisinternal
        union all select 's ' || stxname from pg_statistic_ext where stxrelid = t.oid
        union all select 'd ' || pg_get_serial_sequence(t.oid::regclass::text, 'n')) as n(x)
        where t.oid in ('public.plain'::regclass, 'public.parts'::regclass)";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_use_the_same_names_through_a_swap_back_and_another_swap() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, TABLES, PLAN).await;
    let before = names(&client).await;
    let expect = async |when: &str| {
        use_names(&client, when).await;
        assert_eq!(names(&client).await, before, "{when}");
    };
    expect("before").await;
    for round in ["the first swap", "the second swap"] {
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        expect(round).await;
        if round == "the first swap" {
            program.run("rollback", &[]).expect_code(6);
            running.finish().expect_code(6);
            expect("the swap back").await;
        } else {
            program.run("finish", &["--yes"]).expect_code(0);
            running.finish().expect_code(0);
        }
    }
    expect("the end").await;
}
