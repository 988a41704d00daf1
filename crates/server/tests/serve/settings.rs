//! Settings are documented, and unknown ones are errors.

use std::fs;

use crate::running::{checkout, output, postroom};

#[test]
fn help_and_manual_list_every_setting() {
    let manual = fs::read_to_string(checkout().join("docs/configuration.md")).unwrap();
    let help = String::from_utf8(output(&["serve", "--help"]).stdout).unwrap();
    let flags: Vec<&str> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .map(|rest| rest.split(' ').next().unwrap())
        .collect();
    assert!(flags.contains(&"data-dir") && flags.len() >= 11, "{flags:?}");
    for flag in flags {
        let variable = format!("POSTROOM_{}", flag.replace('-', "_").to_uppercase());
        assert!(help.contains(&format!("[env: {variable}]")), "{variable} is not in --help");
        assert!(manual.contains(&format!("| `--{flag}`")), "--{flag} is not in the manual");
        assert!(manual.contains(&format!("| `{variable}` |")), "{variable} is not in the manual");
    }
}

#[test]
fn the_manual_lists_no_setting_that_is_not_there() {
    let manual = fs::read_to_string(checkout().join("docs/configuration.md")).unwrap();
    let help = String::from_utf8(output(&["serve", "--help"]).stdout).unwrap();
    let rows: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("| `--")).collect();
    assert!(!rows.is_empty());
    for row in rows {
        let flag = row.split('`').next().unwrap();
        assert!(help.contains(&format!("--{flag} <")), "--{flag} is not in --help");
    }
}

#[test]
fn unknown_settings_name_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("postroom.toml");
    fs::write(&file, "data_dir = \"x\"").unwrap();
    let by_file = output(&["serve", "--config", file.to_str().unwrap()]);
    let by_flag = output(&["serve", "--snyc", "never"]);
    let by_variable = postroom().arg("serve").env("POSTROOM_AMPQ_PORT", "1").output().unwrap();
    for (outcome, expected) in [
        (by_file, "data_dir is not a setting; the nearest is data-dir"),
        (by_flag, "'--sync'"),
        (by_variable, "POSTROOM_AMPQ_PORT is not a setting; the nearest is POSTROOM_AMQP_PORT"),
    ] {
        assert_eq!(outcome.status.code(), Some(2));
        let said = String::from_utf8(outcome.stderr).unwrap();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_fault_that_is_not_in_the_build_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = postroom()
        .args([
            "serve",
            "--amqp-port",
            "0",
            "--http-port",
            "0",
            "--data-dir",
            folder.path().to_str().unwrap(),
        ])
        .env("POSTROOM_PLANTED_FAULT", "no-such-fault")
        .output()
        .unwrap();
    assert_eq!(outcome.status.code(), Some(1));
    let said = String::from_utf8(outcome.stderr).unwrap();
    assert!(said.contains("POSTROOM_PLANTED_FAULT is set, but this build has no fault"), "{said}");
}

#[test]
fn version_and_no_arguments() {
    let version = String::from_utf8(output(&["--version"]).stdout).unwrap();
    assert_eq!(version, concat!("postroom ", env!("CARGO_PKG_VERSION"), "\n"));
    let nothing = output(&[]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("Usage: postroom"));
}
