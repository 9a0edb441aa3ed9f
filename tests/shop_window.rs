//! What a newcomer and a packager see first: help with examples, the manual, completions, and the figures of the README.

use std::path::Path;
use std::process::Command;

const COMMANDS: [&str; 8] =
    ["check", "execute", "status", "rollback", "finish", "schema", "completions", "man"];

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
    assert!(one.contains("another orchestrator holds this run"), "no exit codes:\n{one}");
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
