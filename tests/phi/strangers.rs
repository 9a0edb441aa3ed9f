//! What others have made before `phi.sql`, or beside it, is not adopted: whoever can create objects in schema public gets no key.

use tokio_postgres::Client;

use crate::support::Cluster;

const UP: &str = include_str!("../../sql/project-h/phi.sql");
const DOWN: &str = include_str!("../../sql/project-h/phi.down.sql");

/// Code, message and hint of the error.
async fn refused(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap();
    format!("{} {} {}", error.code().code(), error.message(), error.hint().unwrap_or_default())
}

async fn is(client: &Client, sql: &str) -> bool {
    client
        .query_one(&format!("select {sql}"), &[])
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// A database in which mallory can create whatever the owner of no database and no role can.
async fn staged(cluster: &Cluster) -> Client {
    let client = cluster.client("postgres").await;
    let roles = "create role mallory; create role installer createrole;
        grant create on schema public to mallory; grant create on database postgres to mallory;
        grant create on schema public to installer with grant option; grant create on database postgres to installer;
        create function public.sees() returns trigger language plpgsql security definer as 'begin return new; end';
        alter function public.sees() owner to mallory; grant execute on function public.sees() to public";
    client.batch_execute(roles).await.unwrap();
    client
}

const BEFORE: [(&str, &str, &str); 5] = [
    (
        "create function public.get_encryption_key(key_id uuid) returns text language sql return 'x'; \
         grant execute on function public.get_encryption_key to mallory",
        "drop function public.get_encryption_key",
        "function public.get_encryption_key(uuid) (owner: mallory)",
    ),
    (
        "create function public.encrypt_phi(text, text) returns bytea language sql return ''::bytea",
        "drop function public.encrypt_phi",
        "function public.encrypt_phi(text,text) (owner: mallory)",
    ),
    ("create schema phi", "drop schema phi", "schema phi (owner: mallory)"),
    (
        "reset role; create schema phi; grant all on schema phi to mallory; set role mallory; \
         create table phi.keys (key_id uuid primary key, state text, secret text, digest bytea, changed_at timestamptz); \
         create trigger sees after insert on phi.keys for each row execute function public.sees()",
        "reset role; drop schema phi cascade",
        "(owner: mallory)",
    ),
    (
        "reset role; create schema phi; grant all on schema phi to mallory; set role mallory; create type phi.key_state as enum ('active')",
        "reset role; drop schema phi cascade",
        "type phi.key_state",
    ),
];

#[tokio::test]
async fn what_was_there_before_is_not_adopted() {
    let cluster = Cluster::start();
    let client = staged(&cluster).await;
    for (made, dropped, named) in BEFORE {
        client.batch_execute(&format!("set role mallory; {made}; reset role")).await.unwrap();
        for role in ["postgres", "installer"] {
            let said = refused(&client, &format!("set role {role}; {UP}")).await;
            assert!(said.starts_with("55000") && said.contains(named) && said.contains("drop it"), "{said}");
            client.batch_execute("reset role").await.unwrap();
            assert!(is(&client, "to_regrole('phi_keeper') is null").await, "nothing was begun: {made}");
        }
        client.batch_execute(&format!("set role mallory; {dropped}; reset role")).await.unwrap();
    }
    // A function that would be chosen before one of the server's is not called.
    client
        .batch_execute(
            "set role mallory; create function public.format(text, name) returns text language plpgsql as
               $$begin raise exception 'called as %', current_user; end$$;
             create function public.convert_to(text, text) returns bytea language plpgsql immutable as
               $$begin raise exception 'called with %', $1; end$$;
             create function public.hmac(bytea, bytea, varchar) returns bytea language sql return ''::bytea; reset role",
        )
        .await
        .unwrap();
    // From version 16 on, a role with CREATEROLE can use roles that it has made.
    for role in ["installer", "postgres", "installer"] {
        client.batch_execute(&format!("set role {role}; {UP} reset role")).await.unwrap();
    }
    let mac = "phi.mac('a', 'b') = public.hmac('a'::bytea, 'b'::bytea, 'sha256'::text)";
    assert!(is(&client, mac).await);
    assert!(!is(&client, "has_function_privilege('mallory', 'get_encryption_key(uuid)', 'execute')").await);
    assert!(is(&client, "current_setting('search_path') = '\"$user\", public'").await);
    client.batch_execute(&format!("{DOWN} {DOWN} {DOWN}")).await.unwrap();
    assert!(is(&client, "to_regnamespace('phi') is null and to_regrole('phi_keeper') is null").await);
}

/// Where each statement ends: not between dollar quotes, nor in a comment.
fn ends(text: &str) -> Vec<usize> {
    let (mut ends, mut at, mut quote) = (Vec::new(), 0, None::<&str>);
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.trim_start().starts_with("--") {
            continue;
        }
        for tag in line.split_whitespace().map(|word| word.trim_matches(|c| ",;'(".contains(c))) {
            let is_tag = tag.len() > 1 && tag.starts_with('$') && tag.ends_with('$');
            match quote {
                Some(open) if is_tag && open == tag => quote = None,
                None if is_tag => quote = Some(tag),
                _ => {}
            }
        }
        if quote.is_none() && line.trim_end().ends_with(';') {
            ends.push(at);
        }
    }
    ends
}

/// A run that was cut short after any of its statements is executed again, as either role.
#[tokio::test]
async fn it_is_executed_again_after_a_run_that_was_cut_short() {
    let cluster = Cluster::start();
    staged(&cluster).await;
    let ends = ends(UP);
    assert!(ends.len() > 20, "{ends:?}");
    for (number, end) in ends.into_iter().enumerate() {
        let role = ["installer", "postgres"][number % 2];
        let database = format!("cut{number}");
        cluster.psql("postgres", &format!("create database {database}"));
        let client = cluster.client(&database).await;
        let grants = format!(
            "grant create on schema public to installer with grant option; grant create on database {database} to installer; set role {role}"
        );
        client.batch_execute(&grants).await.unwrap();
        client.batch_execute(&UP[..end]).await.unwrap_or_else(|error| panic!("{end}: {error:?}"));
        client.batch_execute("reset all").await.unwrap();
        client
            .batch_execute(&format!("set role {role}; {UP}"))
            .await
            .unwrap_or_else(|error| panic!("{end}: {error:?}"));
        assert!(
            is(&client, "pg_get_userbyid(nspowner) = 'phi_keeper' from pg_namespace where nspname = 'phi'")
                .await
        );
    }
}

#[tokio::test]
async fn what_came_since_is_found_by_the_next_execution() {
    let cluster = Cluster::start();
    let client = staged(&cluster).await;
    client.batch_execute(UP).await.unwrap();
    client
        .batch_execute("grant usage, create on schema phi to mallory; grant trigger on phi.keys to mallory")
        .await
        .unwrap();
    for (made, dropped, named) in [
        (
            "create trigger sees after insert on phi.keys for each row execute function public.sees()",
            "drop trigger sees on phi.keys",
            "trigger sees on table phi.keys",
        ),
        (
            "create function phi.note(text, text) returns void language sql return null::void",
            "drop function phi.note(text, text)",
            "function phi.note(text,text) (owner: mallory)",
        ),
        // An earlier version gave it to phi_keeper, whoever had made it.
        (
            "create function public.decrypt_phi(bytea, text) returns text language sql security definer return 'x'; reset role; \
             alter function public.decrypt_phi(bytea, text) owner to phi_keeper",
            "drop function public.decrypt_phi(bytea, text)",
            "function public.decrypt_phi(bytea,text) (owner: phi_keeper)",
        ),
    ] {
        client.batch_execute(&format!("set role mallory; {made}; reset role")).await.unwrap();
        let said = refused(&client, UP).await;
        assert!(said.starts_with("55000") && said.contains(named), "{said}");
        client.batch_execute(dropped).await.unwrap();
    }
    // Privileges are somebody's decision, so they are told.
    client.batch_execute("grant execute on function get_encryption_key to mallory").await.unwrap();
    client.batch_execute(UP).await.unwrap();
    assert!(cluster.log().contains("these roles can get keys, or change them: mallory"));
    client.batch_execute("revoke execute on function get_encryption_key from mallory").await.unwrap();
}
