//! Generates `docs/configuration.md` from the settings of `waybill serve`. The tests compare it, `docs/openapi.json` and
//! `docs/websocket-frames.json` with the code.

use clap::{Arg, Command};
#[cfg(test)]
use waybill_schema::ErrorCode;

const INTRODUCTION: &str = "\
# Configuration

You can give every setting of `waybill serve`, `provision`, `replay` and `doctor` as an environment variable or as an option of
the same name (`WAYBILL_NATS_URL` is `--nats-url`). `waybill doctor` checks whether the servers in these settings meet the
requirements of Waybill. Each role reads only the settings that it needs, so you can give all settings to all roles. `scripts/up`
and `docker-compose.yml` set them for you.

This page is generated from the code. A test fails if the page is out of date; `WAYBILL_WRITE_DOCS=1` generates it again.
";

/// Returns the page for the settings of `serve`.
pub(crate) fn page(serve: &Command) -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut heading = None;
    for arg in serve.get_arguments().filter(|arg| arg.get_env().is_some()) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let title = heading.unwrap_or("More");
            page.push_str(&format!("\n## {title}\n\n| variable | what it sets | default |\n|---|---|---|\n"));
        }
        page.push_str(&row(arg));
    }
    page
}

fn row(arg: &Arg) -> String {
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match defaults.join(",") {
        none if none.is_empty() => String::new(),
        value => format!("`{value}`"),
    };
    format!("| `{variable}` | {help} | {default} |\n")
}

/// Head of the table of error codes in `docs/errors.md`.
#[cfg(test)]
const ERROR_CODES: &str = "| code | status | meaning | further members |\n|---|---|---|---|\n";

/// Returns the table of error codes.
#[cfg(test)]
fn error_codes() -> String {
    let row = |code: &ErrorCode| {
        let statuses: Vec<_> = code.statuses().iter().map(ToString::to_string).collect();
        let cells = [format!("`{code}`"), statuses.join(", "), code.meaning().to_owned(), code.members().to_owned()];
        let row = cells.map(|cell| if cell.is_empty() { String::new() } else { format!(" {cell}") }).join(" |");
        format!("|{row} |\n")
    };
    ErrorCode::ALL.iter().map(row).fold(ERROR_CODES.to_owned(), |table, row| table + &row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use serde_json::Value;
    use std::path::Path;

    #[test]
    fn the_page_is_what_the_code_says() {
        let mut command = crate::Cli::command();
        command.build();
        let page = page(command.find_subcommand("serve").unwrap());
        // `cargo test` runs in the directory of the package.
        let path = Path::new("../../docs/configuration.md");
        if std::env::var_os("WAYBILL_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "docs/configuration.md differs from the code; set WAYBILL_WRITE_DOCS=1 to write it");
    }

    /// Compares a JSON document in `docs/` with the code. Objects are compared without the order of their members, which
    /// depends on the features with which serde_json is built.
    fn compare_document(name: &str, document: &Value) {
        let path = Path::new("../../docs").join(name);
        let written =
            || serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap_or(Value::Null);
        if std::env::var_os("WAYBILL_WRITE_DOCS").is_some() && written() != *document {
            std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(document).unwrap())).unwrap();
        }
        assert!(written() == *document, "docs/{name} differs from the code; set WAYBILL_WRITE_DOCS=1 to write it");
    }

    /// The document of `waybill serve all`.
    #[test]
    fn the_openapi_document_is_what_the_code_says() {
        let text = waybill_gateway::openapi([waybill_fanout::api()]);
        compare_document("openapi.json", &serde_json::from_str(&text).unwrap());
    }

    #[test]
    fn the_schemas_of_the_frames_are_what_the_code_says() {
        compare_document("websocket-frames.json", &waybill_api::frames::json_schemas());
    }

    /// The table of error codes. The rest of the page is written by hand.
    #[test]
    fn the_table_of_error_codes_is_what_the_code_says() {
        let path = Path::new("../../docs/errors.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        let (before, rest) = page.split_once(ERROR_CODES).unwrap();
        let after = rest.split_once("\n\n").map_or("\n", |(_, after)| after);
        let expected = format!("{before}{}\n{after}", error_codes());
        if std::env::var_os("WAYBILL_WRITE_DOCS").is_some() && page != expected {
            std::fs::write(path, &expected).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == expected, "docs/errors.md differs from the code; set WAYBILL_WRITE_DOCS=1 to write it");
    }

    #[test]
    fn every_setting_is_explained() {
        let mut command = crate::Cli::command();
        command.build();
        let serve = command.find_subcommand("serve").unwrap();
        let unexplained: Vec<_> = serve.get_arguments().filter(|arg| arg.get_help().is_none()).collect();
        assert!(unexplained.is_empty(), "{unexplained:?}");
    }
}
