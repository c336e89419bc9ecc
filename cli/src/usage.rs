//! Reads the command line, and words the errors of an invalid one.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Parser};

use crate::args::Args;

/// The flag that is not suggested for a typing error unless the user has begun to write it: it
/// takes all security away.
const NEVER_SUGGESTED: &str = "--plaintext";
/// How an argument begins that means that flag.
const MEANS_IT: &str = "--plain";

/// Reads a command line, the program's name first.
///
/// # Errors
/// The command line is invalid, or asks for `--help` or `--version`.
pub fn read<I, T>(line: I) -> Result<Args, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    Args::try_parse_from(line).map_err(|error| match error.kind() {
        ErrorKind::UnknownArgument => suggest(error),
        ErrorKind::MissingRequiredArgument => name_alternatives(error),
        _ => error,
    })
}

/// Removes suggestions that look similar but don't help, and names the command that has the flag.
fn suggest(mut error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (typed, suggested) = (
        text(ContextKind::InvalidArg),
        text(ContextKind::SuggestedArg),
    );
    if suggested == NEVER_SUGGESTED && !typed.starts_with(MEANS_IT) {
        error.remove(ContextKind::SuggestedArg);
    }
    let mut owners = Vec::new();
    let program = Args::command();
    find_owners(&program, program.get_name(), &typed, &mut owners);
    if !owners.is_empty() {
        error.remove(ContextKind::SuggestedArg);
        let tip = format!("'{typed}' belongs to '{}'", owners.join("' and '"));
        let tip = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}

/// Names the alternatives to flags that are missing.
fn name_alternatives(mut error: clap::Error) -> clap::Error {
    const CREDENTIALS: [&str; 3] = ["--cert ", "--key ", "--peer "];
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let mut missing = missing.clone();
    let is_about = |flag: &String| CREDENTIALS.iter().any(|start| flag.starts_with(start));
    if !missing.iter().any(is_about) {
        return error;
    }
    for flag in missing
        .iter_mut()
        .filter(|flag| flag.starts_with("--peer "))
    {
        flag.push_str(" or --peers <FILE>");
    }
    error.insert(ContextKind::InvalidArg, ContextValue::Strings(missing));
    let tip =
        format!("{NEVER_SUGGESTED} takes the place of all credentials, and all security away");
    error.insert(
        ContextKind::Suggested,
        ContextValue::StyledStrs(vec![tip.into()]),
    );
    error
}

/// Collects the commands that have this flag.
fn find_owners(command: &Command, path: &str, flag: &str, owners: &mut Vec<String>) {
    let mut flags = command.get_arguments().filter_map(|arg| arg.get_long());
    if flags.any(|long| flag.strip_prefix("--") == Some(long)) {
        owners.push(path.to_owned());
    }
    for below in command.get_subcommands() {
        let path = format!("{path} {}", below.get_name());
        find_owners(below, &path, flag, owners);
    }
}
