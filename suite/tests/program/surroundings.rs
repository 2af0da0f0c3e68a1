//! Poor surroundings: a reader that goes away, no home, a terminal and a locale that can do little.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{PROGRAM, copy, folder, is_installed, output, spawn, stderr, succeeded, tiny_run};
use crate::skip::skipped;

/// Runs the program for a reader of one line.
fn read_one_line(here: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("sh");
    // the exit code of the program, not that of its reader
    let script = "exec 3>&1; { \"$0\" \"$@\"; echo \"code $?\" >&3; } | head -n 1 >/dev/null";
    command.args(["-c", script, PROGRAM]).args(args).current_dir(here);
    output(&mut command)
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    let reports: [&[&str]; 7] = [
        &["report", "run", "--full"],
        &["report", "run", "--format", "html"],
        &["watch", "run"],
        &["suites", "keys"],
        &["run", "quickstart", "--out", "x", "--dry-run"],
        &["run", "--help"],
        &["doctor"],
    ];
    for args in reports {
        let read = read_one_line(here, args);
        let said = stderr(&read);
        assert!(!said.contains("panicked") && !said.contains("error:"), "{args:?}: {said}");
        assert_eq!(String::from_utf8_lossy(&read.stdout), "code 0\n", "{args:?}: {said}");
    }
}

#[test]
fn a_dumb_terminal_a_plain_locale_and_no_home_are_enough() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    let poor = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(here);
        command.env("LC_ALL", "C").env("TERM", "dumb").env_remove("HOME").env_remove("XDG_CACHE_HOME");
        output(&mut command)
    };
    for args in [
        &["report", "run"][..],
        &["watch", "run"],
        &["run", "tiny.toml", "--out", "new", "--methods", "Random init", "--threads", "1"],
        &["data", "generate", "solids", "--out", "s.h5", "--side", "16", "--objects", "2", "--views", "2"],
    ] {
        let done = poor(args);
        succeeded(&done);
        for text in [&done.stdout, &done.stderr] {
            assert!(!text.contains(&b'\x1b'), "{args:?}: {}", String::from_utf8_lossy(text));
        }
    }
    assert!(poor(&["watch", "run"]).stdout.is_ascii());
}

/// A window of 40 columns, which `script` makes.
#[test]
fn a_window_of_40_columns_is_never_exceeded() {
    if !is_installed("script") {
        return skipped("no `script` on this machine: no window was opened");
    }
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    for args in ["report run", "watch run --once", "report run --full"] {
        let mut command = Command::new("script");
        let line = format!("stty cols 40 rows 30; {PROGRAM} {args}");
        command.args(["-qec", &line, "/dev/null"]).current_dir(here).env("TERM", "xterm");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = spawn(&mut command).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&shown.stdout);
        let text = console::strip_ansi_codes(&text).into_owned();
        let wide = |line: &&str| console::measure_text_width(line.trim_end()) > 40;
        let wide: Vec<&str> = text.lines().filter(wide).collect();
        // a path is as long as it is
        let wide: Vec<&&str> = wide.iter().filter(|line| line.contains(' ') && !line.contains('/')).collect();
        assert!(shown.status.success() && wide.is_empty(), "{args}: {wide:#?}");
    }
}
