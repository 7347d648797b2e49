//! Files of many kinds, made by real programs, with the types that browsers declare, sent with every protocol. Ordinary
//! files are accepted, and executable files are refused. `scripts/test-corpus` makes the files and runs this test.

use crate::protocols::{PROTOCOLS, Sent, send};
use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use waybill_integration_tests::Stack;

/// Number of parallel uploads.
const CONCURRENCY: usize = 8;

fn corpus() -> Option<Vec<Sent>> {
    let folder = PathBuf::from(std::env::var_os("WAYBILL_TEST_CORPUS")?);
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all = Vec::new();
    for kind in manifest["kinds"].as_array().unwrap() {
        let content = std::fs::read(folder.join(text(&kind["file"]))).unwrap();
        let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in kind["declared"].as_array().unwrap() {
            declared.entry(text(&one["type"])).or_default().push(text(&one["by"]));
        }
        all.extend(declared.into_iter().map(|(mime_type, by)| Sent {
            kind: text(&kind["kind"]),
            class: text(&kind["class"]),
            made_with: text(&kind["made_with"]),
            name: text(&kind["name"]),
            mime_type,
            by: by.join(", "),
            content: content.clone(),
        }));
    }
    Some(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a2_every_kind_of_file_is_taken_by_every_protocol_and_what_would_run_by_none() {
    let Some(corpus) = corpus() else {
        eprintln!("skipped: scripts/test-corpus makes the files");
        return;
    };
    let stack = Stack::start().await;
    let client = stack.client();
    let all: Vec<(usize, &str)> =
        (0..corpus.len()).flat_map(|file| PROTOCOLS.iter().map(move |protocol| (file, *protocol))).collect();
    // A form cannot contain a part that is itself multipart (docs/file-types.md).
    let cannot_be_read =
        |(file, protocol): &(usize, &str)| *protocol == "form" && corpus[*file].mime_type.starts_with("multipart/");
    let all: Vec<(usize, &str)> = all.into_iter().filter(|sent| !cannot_be_read(sent)).collect();
    let mut refused: BTreeMap<usize, BTreeMap<&str, String>> = BTreeMap::new();
    let results = stream::iter(all).map(|(file, protocol)| {
        let (client, corpus) = (&client, &corpus);
        async move { (file, protocol, send(client, &corpus[file], protocol).await) }
    });
    let results: Vec<_> = results.buffer_unordered(CONCURRENCY).collect().await;
    for (file, protocol, code) in results {
        if let Some(code) = code {
            refused.entry(file).or_default().insert(protocol, code);
        }
    }
    let none = BTreeMap::new();
    let wrong: Vec<String> = (0..corpus.len())
        .filter(|file| {
            let codes = refused.get(file).unwrap_or(&none);
            match corpus[*file].class.as_str() {
                "allowed" => !codes.is_empty(),
                _ => codes.len() != PROTOCOLS.len() || codes.values().any(|code| code != "type_refused"),
            }
        })
        .map(|file| format!("{} as {:?}: {:?}", corpus[file].kind, corpus[file].mime_type, refused.get(&file)))
        .collect();
    write_table(&corpus, &refused);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

/// Writes docs/file-kinds.md if `WAYBILL_WRITE_DOCS` is set.
fn write_table(corpus: &[Sent], refused: &BTreeMap<usize, BTreeMap<&str, String>>) {
    if std::env::var_os("WAYBILL_WRITE_DOCS").is_none() {
        return;
    }
    let mut text = format!(
        "# Kinds of files\n\nEach row is a file that the named program made. It was declared as browsers of the named \
         systems declare it,\nand sent with {} protocols: {}.\n`scripts/test-corpus` makes the files and checks this table; \
         `WAYBILL_WRITE_DOCS=1 scripts/test-corpus` writes it.\n[File types](file-types.md) explains the rules.\n\n\
         | kind | made with | declared type | by | result |\n|---|---|---|---|---|\n",
        PROTOCOLS.len(),
        PROTOCOLS.join(", ")
    );
    for (index, file) in corpus.iter().enumerate() {
        let codes = refused.get(&index);
        let result = match (codes, file.class.as_str()) {
            (None, _) => "accepted by all".to_owned(),
            (Some(codes), class) if codes.len() == PROTOCOLS.len() => format!("refused by all: {class}"),
            (Some(codes), _) => format!("{codes:?}"),
        };
        let declared = if file.mime_type.is_empty() { "none".to_owned() } else { format!("`{}`", file.mime_type) };
        text.push_str(&format!("| {} | {} | {declared} | {} | {result} |\n", file.kind, file.made_with, file.by));
    }
    std::fs::write("../docs/file-kinds.md", text).unwrap();
}
