//! What a newcomer and a packager see first: help with examples, the manual, completions, and the figures of the README.

use std::path::Path;
use std::process::{Command, Stdio};

const COMMANDS: [&str; 14] = [
    "check",
    "execute",
    "swap",
    "pause",
    "resume",
    "verify",
    "status",
    "rollback",
    "finish",
    "find",
    "phi",
    "schema",
    "completions",
    "man",
];

fn says(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_projh-bluegreen")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn every_command_has_help_with_an_example() {
    let all = says(&["--help"]);
    for command in COMMANDS {
        assert!(all.contains(&format!("\n  {command} ")), "{command} is missing:\n{all}");
        let help = says(&[command, "--help"]);
        assert!(help.contains("Example"), "no example:\n{help}");
        assert!(
            help.contains(&format!("  projh-bluegreen {command}")),
            "an example of something else:\n{help}"
        );
    }
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let one = says(&["man"]);
    assert!(one.starts_with(".ie") && one.contains(".TH projh-bluegreen 1"), "{one}");
    let notes = one.split_once(".SH NOTES\n.nf\n").unwrap().1.split_once("\n.fi\n").unwrap().0;
    assert!(notes.contains("another orchestrator holds this run"), "no exit codes:\n{one}");
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(says(&["man", "--dir", dir.path().to_str().unwrap()]), "");
    for command in COMMANDS {
        let page = std::fs::read_to_string(dir.path().join(format!("projh-bluegreen-{command}.1")));
        assert!(page.unwrap().contains("Example"), "{command}");
    }
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = says(&["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
}

/// Presses Tab after these words.
#[test]
fn bash_completes_below_the_first_word() {
    let script = says(&["completions", "bash"]);
    for (words, wanted) in [
        (&["projh-bluegreen", "exe"][..], "execute"),
        (&["projh-bluegreen", "execute", "--dr"], "--dry-run"),
        (&["projh-bluegreen", "status", "--w"], "--watch"),
        (&["projh-bluegreen", "execute", "plan.yaml", "--until", "ver"], "verify"),
    ] {
        let press = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; \
             $(complete -p projh-bluegreen | sed 's/.*-F \\([^ ]*\\).*/\\1/') projh-bluegreen \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[*]}}\"",
            words.join(" "),
            words.len() - 1,
        );
        let pressed = Command::new("bash").args(["-c", &press]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&pressed.stdout).trim(), wanted, "{words:?}");
    }
}

#[test]
fn who_stops_reading_a_script_ends_nothing_badly() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_projh-bluegreen"));
    program.args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = program.spawn().unwrap();
    drop(program.stdout.take());
    let output = program.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn the_readme_names_every_command_and_says_of_exit_codes_what_help_says() {
    let (readme, help) = (page("README.md"), says(&["--help"]));
    for command in COMMANDS {
        assert!(readme.contains(&format!("projh-bluegreen {command}")), "{command}");
    }
    let codes =
        help.lines().skip_while(|line| *line != "Exit codes:").skip(1).take_while(|line| !line.is_empty());
    let codes: Vec<(&str, &str)> = codes.map(|line| line.trim().split_once("  ").unwrap()).collect();
    assert_eq!(codes.len(), 9);
    for (code, meaning) in codes {
        assert!(readme.contains(&format!("| {code} | {meaning} |")), "{code}: {meaning}");
    }
}

/// What `cargo deny check licenses` asks, without it: one of the licences that a package offers is on the list.
#[test]
fn every_package_has_a_licence_that_deny_toml_allows() {
    let deny = page("deny.toml");
    let allowed = deny.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
    let allowed: Vec<&str> = allowed.split('"').skip(1).step_by(2).collect();
    assert!(allowed.contains(&"MIT"), "{allowed:?}");
    let mut cargo = Command::new(env!("CARGO"));
    // What this machine has built is there; what other platforms need may not be.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo.args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence, &allowed), "{}: {licence}", package["name"]);
    }
}

/// SPDX's `AND` binds closer than `OR`; a part in parentheses first. A `/` is an old `OR`.
fn is_allowed(licence: &str, allowed: &[&str]) -> bool {
    let licence = licence.replace('/', " OR ");
    if let (Some(from), Some(to)) = (licence.find('('), licence.find(')')) {
        let inner = if is_allowed(&licence[from + 1..to], allowed) { allowed[0] } else { "none" };
        return is_allowed(&format!("{}{inner}{}", &licence[..from], &licence[to + 1..]), allowed);
    }
    let all = |part: &str| part.split(" AND ").all(|one| allowed.contains(&one.trim()));
    licence.split(" OR ").any(all)
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed = ["MIT", "ISC"];
    let yes = ["MIT", "GPL-3.0 OR MIT", "MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC", "Apache-2.0/MIT"];
    let no = ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR BSD) AND ISC", "none"];
    assert!(yes.iter().all(|licence| is_allowed(licence, &allowed)));
    assert!(!no.iter().any(|licence| is_allowed(licence, &allowed)));
}
