//! Mistakes that need no server to be found: in the plan's file, and on the command line.

use crate::support::Bluegreen;

const PLAN: &str = "version: 1\nname: visits\ntables:\n  - table: app.visits\n";

/// A plan's file: its bytes, and what is said of it.
const FILES: &[(&[u8], &[&str])] = &[
    (b"", &["plan.yaml:1:1: the plan is empty", "begin with `version: 1`"]),
    (b"# nothing yet\n", &["the plan is empty"]),
    (b"version: 1\nname: [\n", &["plan.yaml:2:", "this is not valid YAML"]),
    (b"version: 1\nname: x\ntables:\n\t- table: t\n", &["plan.yaml:4:", "indent with spaces"]),
    (b"just text\n", &["`the plan` must be a map"]),
    (b"version: 1\nname: caf\xe9\n", &["not UTF-8", "line 2", "save it as UTF-8"]),
    (b"\xff\xfev\0e\0r\0", &["not UTF-8", "save it as UTF-8"]),
    (b"version: 1\nname: x\ntabels: []\n", &["plan.yaml:3:1: `tabels` is not a key", "did you mean `tables`?"]),
    (b"version: 1\nname: x\ntables: t\n", &["plan.yaml:3:9: `tables` must be a list"]),
    (b"version: one\nname: x\ntables: [{table: t}]\n", &["plan.yaml:1:10: `version` must be 1, not `one`"]),
    (
        b"version: 1\nname: ${NOT_SET}\ntables: [{table: t}]\n",
        &["plan.yaml:2:7: the environment variable `NOT_SET` is not set", "set it, or give a default"],
    ),
    (
        b"version: 1\nname: x\ntables:\n  - table: \"App\".\"Visits\"\n",
        &["plan.yaml:4:", "quote the value as a whole"],
    ),
    (
        b"version: 1\nname: x\ntables: [{table: app.t}, {table: app.t}]\n",
        &["plan.yaml:3:34: `app.t` is in this plan twice", "into one entry"],
    ),
    (
        b"version: 1\nname: x\ntables: [{table: t, partition_by: {range: n, bounds: [1, 9, 5], default: false}}]\n",
        &["the bound `5` is below the one before it", "ascending order"],
    ),
];

#[test]
fn a_plan_that_cannot_be_read_is_told_where_and_why() {
    for (bytes, words) in FILES {
        let program = Bluegreen::alone();
        std::fs::write(program.folder().join("plan.yaml"), bytes).unwrap();
        for command in ["check", "execute", "status", "rollback"] {
            program.say(&[command, "plan.yaml"]).expect_code(2).expect_words(words);
        }
    }
}

#[test]
fn a_file_as_editors_of_other_systems_save_it_is_read() {
    let program = Bluegreen::alone();
    program.write_plan(&format!("\u{feff}{}", PLAN.replace('\n', "\r\n")));
    program.say(&["check", "plan.yaml"]).expect_code(1).expect_words(&["cannot reach PostgreSQL"]);
}

/// What is typed, and what is said of it.
const TYPED: &[(&[&str], &[&str])] = &[
    (&["check", "plna.yaml"], &["plna.yaml: there is no such file", "did you mean `plan.yaml`?"]),
    (&["check", "nowhere/plan.yaml"], &["there is no such file", "there is no directory nowhere either"]),
    (&["check", "folder"], &["folder: is a directory"]),
    (&["rollback", "./folder"], &["is a directory"]),
    (&["check", "plan.yaml/x"], &["plan.yaml/x: cannot be read: Not a directory"]),
    (&["status", "visits.yaml"], &["there is no such file"]),
    (&["check"], &["<PLAN>", "Usage: projh-bluegreen check"]),
    (&["plan.yaml", "check"], &["unrecognized subcommand 'plan.yaml'", "Usage:"]),
    (&["chek", "plan.yaml"], &["similar", "'check'"]),
    (&["check", "plan.yaml", "--databse-url=x"], &["'--database-url'"]),
    (&["execute", "plan.yaml", "--until", "verfy"], &["possible values: prepare, copy", "'verify'"]),
    (&["execute", "plan.yaml"], &["without a terminal", "--yes"]),
    (&["finish", "visits"], &["without a terminal", "--yes"]),
    (&["completions", "fishy"], &["possible values: bash", "'fish'"]),
    (&["rollback"], &["<PLAN_OR_RUN>"]),
];

#[test]
fn what_is_typed_wrong_is_told_with_what_is_right() {
    for (args, words) in TYPED {
        let program = Bluegreen::alone().plan(PLAN);
        std::fs::create_dir(program.folder().join("folder")).unwrap();
        program.say(args).expect_code(2).expect_words(words);
        let told = program.say(&[*args, &["--json"]].concat()).expect_code(2);
        assert_eq!(
            (told.events_of("error").len(), told.events_of("end").len()),
            (1, 1),
            "{args:?}: {}",
            told.stdout
        );
    }
}

/// The whole of what is wrong, but no password.
#[test]
fn a_machine_is_told_what_is_wrong_with_the_command_line_in_one_line() {
    let program = Bluegreen::alone().plan(PLAN);
    let message = |args: &[&str]| {
        let told = program.say(args).expect_code(2);
        told.events_of("error")[0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(message(&["--json", "check"]), "the following required arguments were not provided: <PLAN>");
    let message = message(&["--json", "check", "plan.yaml", "postgres://u:sesame@h/d"]);
    assert!(message.contains("unexpected argument ...") && !message.contains("sesame"), "{message}");
}

#[test]
fn a_plan_may_name_a_connection_that_is_not_set_where_the_command_line_has_one() {
    let plan = PLAN.replace("tables:", "database: {url: '${NOT_SET}'}\ntables:");
    let program = Bluegreen::alone().plan(&plan);
    let words = ["plan.yaml:3:17: the environment variable `NOT_SET` is not set"];
    program.say(&["check", "plan.yaml"]).expect_code(2).expect_words(&words);
    let given = ["check", "plan.yaml", "--database-url", "postgres:///db?host=/nowhere"];
    program.say(&given).expect_code(1).expect_words(&["cannot reach PostgreSQL at /nowhere/"]);
    // But not a plan that has a mistake of its own.
    program.write_plan(&plan.replace("${NOT_SET}", "${NOT SET}"));
    program.say(&given).expect_code(2).expect_words(&["does not name an environment variable"]);
}

/// A setting of the connection: the variable and its value, and what is said of it.
const SETTINGS: &[(&str, &str, &[&str])] = &[
    ("PGPORT", "54e2", &["PGPORT: `54e2` is not a port", "1 to 65535"]),
    ("PGSSLMODE", "verifyfull", &["PGSSLMODE: `verifyfull`", "verify-full"]),
    ("PGCONNECT_TIMEOUT", "soon", &["PGCONNECT_TIMEOUT: `soon` is not a whole number"]),
    ("PGTARGETSESSIONATTRS", "standby", &["PGTARGETSESSIONATTRS: `standby`", "primary"]),
    ("PGCHANNELBINDING", "yes", &["PGCHANNELBINDING: `yes`", "require"]),
    ("PGSERVICE", "mine", &["there is no service `mine` in", "PGSERVICEFILE"]),
    ("PGREQUIREPEER", "postgres", &["PGREQUIREPEER: requirepeer is not supported"]),
    ("DATABASE_URL", "postgres://u:p@h:x/d", &["DATABASE_URL: ", "a port is not a number"]),
    ("DATABASE_URL", "postgres://u:p@h/d?sslmod=require", &["`sslmod`; did you mean `sslmode`?"]),
    ("DATABASE_URL", "postgres://u:p@[::1/d", &["DATABASE_URL: an IPv6 address lacks its `]`"]),
    ("DATABASE_URL", "db.example:5432/d", &["DATABASE_URL: ", "write postgres://user@host"]),
    ("DATABASE_URL", "mysql://u@h/d", &["DATABASE_URL: its URL scheme is unknown"]),
    ("DATABASE_URL", "postgres://u:sesame/x@h/d", &["must be written %40"]),
    ("DATABASE_URL", "postgres://u:p@h/d?sslmode=requir", &["sslmode in DATABASE_URL: `requir`"]),
];

#[test]
fn a_connection_that_is_set_wrong_is_told_by_the_setting() {
    for (variable, value, words) in SETTINGS {
        let program = Bluegreen::alone().plan(PLAN).env("HOME", "/nowhere").env(variable, value);
        let said = program.say(&["check", "plan.yaml"]).expect_code(2).expect_words(words);
        assert!(!said.stderr.contains("sesame"), "{}", said.stderr);
    }
}
