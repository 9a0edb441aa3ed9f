//! An edit of the plan during the soak, and types that somebody changes meanwhile.

use crate::support::{Bluegreen, Cluster, Finished, stage};

const T: &str = "create type mood as enum ('a', 'b'); create type pair as (x int, y int);
    create table t (id int primary key, at date not null, m mood, p pair, note text);
    insert into t select g, date '2026-01-01' + g % 59, 'a', (g, g)::pair, 'n' from generate_series(1, 300) g; analyze t;";

fn plan(settings: &str) -> String {
    format!(
        "
version: 1
name: edited
settings: {{workers: 1, {settings}}}
tables:
  - table: public.t
    partition_by: {{range: at, every: 1 month, ahead: 1}}
    primary_key: [id, at]
"
    )
}

fn hint(finished: &Finished) -> String {
    finished.events_of("error")[0]["hint"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_without_its_soak_does_not_close_the_way_back_unasked() {
    let cluster = Cluster::start();
    let (_client, program) = stage(&cluster, T, &plan("soak: 2h")).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let status = program.run_for_people("status", &[]).expect_code(0);
    assert!(status.stdout.contains("; then the swap can be undone no longer"), "{}", status.stdout);
    for settings in ["", "soak: 1s"] {
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        program.write_plan(&plan(settings));
        let refused = program.execute(&["--yes"]).expect_code(2);
        assert!(refused.error().contains("could not be undone any more"), "{}", refused.error());
    }
    program.run("rollback", &[]).expect_code(6);
    let nothing = program.run("finish", &["--yes"]).expect_code(2);
    assert!(nothing.error().contains("the swap was undone on "), "{}", nothing.error());

    program.write_plan(&plan("soak: 2h"));
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.write_plan(&plan("workers: 2").replace("workers: 1, ", ""));
    program.execute(&["--yes"]).expect_code(2);
    program.run("set", &["soak=0s"]).expect_code(0);
    program.execute(&["--yes"]).expect_code(0);
    assert!(program.run("status", &[]).stdout.contains("no longer written"));
}

/// Clients write; before the stream has passed it, the type is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_is_changed_under_the_stream_is_named_with_the_row() {
    for (write, alter, put_right, column) in [
        (
            "update t set m = 'b' where id = 7",
            "alter type mood rename value 'b' to 'bb'",
            "update t set m = m where id = 7",
            "the type public.mood of column m",
        ),
        (
            "update t set note = 'other' where id = 7",
            "alter type pair add attribute z int",
            "update t set note = 'again' where id = 7",
            "the type public.pair of column p",
        ),
    ] {
        let cluster = Cluster::start();
        let (client, program) = stage(&cluster, T, &plan("soak: 2h")).await;
        let says = |stopped: &Finished, what: &str| {
            let said = format!("{} / {}", stopped.error(), hint(stopped));
            assert!(said.contains(column) && said.contains("(ALTER TYPE)"), "{said}");
            assert!(said.contains("key digest") && said.contains(what), "{said}");
        };
        // Before the swap the stream cannot get past it.
        program.execute(&["--yes", "--until", "verify"]).expect_code(0);
        client.batch_execute(write).await.unwrap();
        client.batch_execute(alter).await.unwrap();
        says(&program.execute(&["--yes", "--until", "verify"]).expect_code(1), "begin again");
        program.run("rollback", &[]).expect_code(6);
        let back = match column.contains("mood") {
            true => "alter type mood rename value 'bb' to 'b'",
            false => "alter type pair drop attribute z",
        };
        client.batch_execute(back).await.unwrap();

        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        client.batch_execute("alter type mood add value if not exists 'c'").await.unwrap();
        client.batch_execute("update t set m = 'c' where id = 9").await.unwrap();
        program.run("verify", &[]).expect_code(0);
        client.batch_execute(write).await.unwrap();
        client.batch_execute(alter).await.unwrap();
        says(&program.execute(&["--yes"]).expect_code(1), "An UPDATE of the rows");
        client.batch_execute(put_right).await.unwrap();
        let mended = program.spawn("execute", &["--yes"]);
        mended.wait_for("soaking");
        mended.terminate();
        mended.finish().expect_code(7);
        program.run("rollback", &[]).expect_code(6);
    }
}

/// What the other run keeps of a materialized view has the view's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_materialized_view_of_two_plans_names_the_run_that_has_to_end_first() {
    let cluster = Cluster::start();
    let tables = "create table t (id int primary key, at date not null); create table u (id int primary key, at date not null);
        insert into t values (1, '2026-01-15'); insert into u values (1, '2026-01-15');
        create materialized view mj as select t.id, u.at from t join u using (id);";
    let (_client, program) = stage(&cluster, tables, &plan("soak: 2h")).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let other = plan("").replace("public.t", "public.u").replace("edited", "second");
    let second = Bluegreen::new(&cluster, "postgres").plan(&other);
    let refused = second.run("check", &[]).expect_code(3);
    let said = refused.stdout.as_str();
    assert!(
        said.contains("keeps of a materialized view") && said.contains("projh-bluegreen finish "),
        "{said}"
    );
    assert!(!said.contains("rename one of them"), "{said}");
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    second.run("check", &[]).expect_code(0);
}
