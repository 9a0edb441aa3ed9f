//! The keys of what is around the swap: `steps` and `gates`.

use std::time::Duration;

use super::super::shape::{MapShape, Shape};
use super::super::steps::StepTime;
use super::{DAY, TEXT, key, required};

pub(super) static STEP: MapShape = MapShape {
    what: "a step",
    keys: &[
        required("name", TEXT, "is what reports and the journal call it"),
        required("when", Shape::Word(StepTime::WORDS), "is when it is executed"),
        required("up", SCRIPT, "is what it does: SQL, or {file: a path relative to the plan}"),
        key("down", SCRIPT, "is what undoes it: SQL, or {file: a path relative to the plan}"),
        key("one_way", Shape::Bool, "accepts that nothing undoes it"),
        key(
            "transactional",
            Shape::Bool,
            "is whether it is one transaction (true, unless a statement cannot be executed in one)",
        ),
    ],
    later: &[],
    rules: &[
        r#"{"if": {"required": ["one_way"], "properties": {"one_way": {"const": true}}}, "then": {"properties": {"down": false}},
            "else": {"anyOf": [{"required": ["down"]}, {"properties": {"when": {"const": "finish"}}}]}}"#,
    ],
};

pub(super) const SCRIPT: Shape = Shape::Either(&[TEXT, Shape::Map(&FILE)]);

static FILE: MapShape = MapShape {
    what: "a file",
    keys: &[required("file", TEXT, "is its path, relative to the plan")],
    later: &[],
    rules: &[],
};

pub(super) static GATE: MapShape = MapShape {
    what: "a gate",
    keys: &[
        required("name", TEXT, "is what reports call it"),
        key("sql", TEXT, "is a statement whose first column must be true"),
        key(
            "command",
            Shape::List { of: &TEXT, min: 1 },
            "is a program with its arguments, which must end with exit code 0",
        ),
        key(
            "compare",
            Shape::Map(&COMPARE),
            "is a statement whose times are compared with those before the swap",
        ),
        key("expect", TEXT, "is what `compare` must give, as in p95 <= 0.5 * before; also max and mean"),
        key(
            "interval",
            Shape::Duration { min: Duration::from_millis(100), max: DAY },
            "is how often it is asked during the soak (30s)",
        ),
        key(
            "failures",
            Shape::Integer { min: 1, max: 1_000 },
            "is how many times in a row it must fail there before the run is rolled back (3)",
        ),
        key(
            "timeout",
            Shape::Duration { min: Duration::from_millis(100), max: DAY },
            "is how long an answer may take (10s)",
        ),
    ],
    later: &[],
    rules: &[
        r#"{"oneOf": [{"required": ["sql"]}, {"required": ["command"]}, {"required": ["compare", "expect"]}]}"#,
        r#"{"if": {"required": ["expect"]}, "then": {"required": ["compare"]}}"#,
    ],
};

static COMPARE: MapShape = MapShape {
    what: "`compare`",
    keys: &[
        required("sql", TEXT, "is the statement, with $1, $2, ... for what `values` gives"),
        key("values", TEXT, "is a query whose rows are the parameters of one execution each"),
        key("samples", Shape::Integer { min: 1, max: 100_000 }, "is the number of executions (100)"),
    ],
    later: &[],
    rules: &[],
};
