//! A run that is undone by its id in another directory uses the keys of its plan's directory.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{BLUE, Keys, plan};
use crate::support::{Bluegreen, Cluster, stage};

/// `rollback` of the only run, by its plan's name, in a directory below.
fn rolled_back_elsewhere(program: &Bluegreen) {
    let elsewhere = program.folder().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    // Other keys, which are found there.
    let others = elsewhere.join("keys.yaml");
    std::fs::write(&others, Keys::new().document()).unwrap();
    std::fs::set_permissions(&others, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut rollback = Command::new(env!("CARGO_BIN_EXE_projh-bluegreen"));
    program.set_up(&mut rollback);
    let done = rollback.args(["rollback", "phi", "--json"]).current_dir(&elsewhere).output().unwrap();
    assert_eq!(done.status.code(), Some(6), "{}", String::from_utf8_lossy(&done.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_keys_is_that_of_the_plans_directory() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(&cluster, BLUE, &plan(&keys, "1h")).await;
    keys.write(&program);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("update patients set history = null where id = 1").await.unwrap();
    rolled_back_elsewhere(&program);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_with_a_path_is_that_of_the_plans_directory() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let text = plan(&keys, "1h").replace("{file: keys.yaml}", "{command: [./bin/give, keys]}");
    let (_client, program) = stage(&cluster, BLUE, &text).await;
    keys.write(&program);
    let (bin, give) = (program.folder().join("bin"), program.folder().join("bin/give"));
    std::fs::create_dir(bin).unwrap();
    let script = format!("#!/bin/sh\ncat '{}'\n", program.folder().join("keys.yaml").display());
    std::fs::write(&give, script).unwrap();
    std::fs::set_permissions(&give, std::fs::Permissions::from_mode(0o700)).unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    rolled_back_elsewhere(&program);
}
