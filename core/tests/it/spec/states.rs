//! States of a connection: the table, from which the specification's section is made.

use core::fmt::Write as _;
use std::fs;
use std::path::Path;

use countersign_core::{
    Config, Disconnect, EndReason, Event, Input, Instant, Link, LinkState, Loss, OutOfOrder, Role,
    Step,
};

const BEGIN: &str = "<!-- states:begin -->\n";
const END: &str = "<!-- states:end -->\n";
/// Set to anything, this makes the test write the section instead of comparing it.
const REWRITE: &str = "COUNTERSIGN_REWRITE_LIFE";

/// The table and the diagram.
fn section() -> String {
    let mut out = String::from("| |");
    for input in Input::ALL {
        write!(out, " {input} |").expect("memory");
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(Input::ALL.len()));
    for state in LinkState::ALL {
        write!(out, "\n| **{state}** |").expect("memory");
        for input in Input::ALL {
            match state.step(input) {
                Step::To(next) => write!(out, " {next} |").expect("memory"),
                Step::Stay => out.push_str(" - |"),
                Step::Invalid => out.push_str(" |"),
            }
        }
    }
    out.push_str("\n\n```mermaid\nstateDiagram-v2\n    [*] --> Offline\n");
    for state in LinkState::ALL {
        for next in LinkState::ALL {
            let inputs: Vec<&str> = Input::ALL
                .into_iter()
                .filter(|input| state.step(*input) == Step::To(next))
                .map(Input::name)
                .collect();
            if !inputs.is_empty() {
                writeln!(out, "    {state} --> {next}: {}", inputs.join(", ")).expect("memory");
            }
        }
    }
    out.push_str("    Ended --> [*]\n```\n");
    out
}

#[test]
fn the_specification_has_the_table_of_the_code() {
    // [LIFE-1]
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let spec = fs::read_to_string(&path).expect("the specification");
    let (before, rest) = spec.split_once(BEGIN).expect("the marker of its begin");
    let (there, after) = rest.split_once(END).expect("the marker of its end");
    if std::env::var_os(REWRITE).is_some() {
        let text = format!("{before}{BEGIN}{}{END}{after}", section());
        fs::write(&path, text).expect("writable");
    } else {
        assert_eq!(there, section(), "set {REWRITE} to bring it up to date");
    }
}

#[test]
fn what_is_not_allowed_changes_nothing() {
    // [LIFE-1]
    let mut link = Link::new(
        &Config::default().single_connection(),
        Role::Opener,
        [0; 16],
    )
    .expect("fits");
    let now = Instant::ZERO;
    let refused = |input, state| Err(OutOfOrder { input, state });
    assert_eq!(
        link.handle_secured(now, None),
        refused(Input::Secured, LinkState::Offline)
    );
    assert_eq!(link.state(), LinkState::Offline);
    link.handle_opened(now).expect("offline");
    assert_eq!(
        link.handle_opened(now),
        refused(Input::Opened, LinkState::Securing)
    );
    link.handle_secured(now, None).expect("securing");
    assert_eq!(
        link.handle_secured(now, None),
        refused(Input::Secured, LinkState::Greeting)
    );
    link.handle_lost(now, Disconnect::Security);
    assert_eq!(link.state(), LinkState::Ended);
    assert_eq!(link.end_reason(), Some(&EndReason::Lost(Loss::Security)));
    assert_eq!(
        link.handle_opened(now),
        refused(Input::Opened, LinkState::Ended)
    );
    link.close(now, countersign_core::CloseMode::Drain);
    assert_eq!(link.poll_event(), Some(Event::Ended));
    assert_eq!(link.poll_event(), None);
}
