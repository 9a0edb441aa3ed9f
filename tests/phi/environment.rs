//! Keys in a variable of the environment: no command of the plan gets it, whether the program has loaded them or not.

use super::{BLUE, Keys, plan};
use crate::support::waiting::until;
use crate::support::{Bluegreen, Cluster};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_of_the_plan_gets_the_variable() {
    let keys = Keys::new();
    let of = |program: Bluegreen| {
        let program = program.env("PROJH_KEYS", &keys.document());
        let told = program.folder().join("told");
        let tell = format!(
            "[sh, -c, '(env | grep -q ^PROJH_KEYS= && echo with keys; echo told) >> {}']",
            told.display()
        );
        let text = plan(&keys, "1h, reconnect_for: 10s").replace("file: keys.yaml", "env: PROJH_KEYS");
        program.write_plan(&format!("{text}hooks:\n  - {tell}\n"));
        (program, told)
    };
    let lines = |told: &std::path::Path| std::fs::read_to_string(told).unwrap_or_default();

    // No server is reached, so that no keys are loaded.
    let (program, told) = of(Bluegreen::alone());
    program.execute(&["--yes"]);
    until("the hook is told of the error", async || !lines(&told).is_empty()).await;
    assert!(!lines(&told).contains("with keys"));

    // A rollback before the swap loads none either.
    let cluster = Cluster::start();
    cluster.client("postgres").await.batch_execute(BLUE).await.unwrap();
    let (program, told) = of(Bluegreen::new(&cluster, "postgres"));
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    let before = lines(&told).len();
    program.run("rollback", &[]).expect_code(6);
    until("the hook is told of the end", async || lines(&told).len() > before).await;
    assert!(!lines(&told).contains("with keys"));
}
