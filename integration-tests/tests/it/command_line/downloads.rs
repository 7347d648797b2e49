//! `waybill get`: resumed downloads and their checksum.

use crate::random::bytes;
use serde_json::json;
use waybill_integration_tests::{CommandLine, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_it_stopped_and_is_checked() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let content = bytes(720, 3_000_000);
    let posted = client.post_file("name=a.bin&mime_type=application/octet-stream", content.clone()).await.expect(201);
    let id = posted.text("file_id");
    let target = home.path().join("copy.bin");
    let args = [id.clone(), "--output".to_owned(), target.display().to_string()];
    let part = home.path().join(format!(".waybill-{id}.part"));
    let own = home.path().join("copy.bin.part");
    std::fs::write(&own, b"of a browser").unwrap();
    std::fs::write(&part, &content[..1_234_567]).unwrap();
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!((got.code, &got.event("resumed")["offset_bytes"]), (Some(0), &json!(1_234_567)), "{got:?}");
    assert!(std::fs::read(&target).unwrap() == content);

    // The saved beginning belongs to another file: the download fails, and deletes it.
    std::fs::remove_file(&target).unwrap();
    std::fs::write(&part, bytes(721, 1_000)).unwrap();
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!(got.code, Some(1), "{got:?}");
    assert!(!target.exists() && !part.exists());

    // An existing file is not overwritten.
    std::fs::write(&target, b"mine").unwrap();
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!((got.code, std::fs::read(&target).unwrap()), (Some(1), b"mine".to_vec()));
    assert_eq!(std::fs::read(&own).unwrap(), b"of a browser", "a file of another program was changed");

    // If two processes download the same file, only one of them continues.
    std::fs::remove_file(&target).unwrap();
    let held = std::fs::File::create(&part).unwrap();
    held.lock().unwrap();
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!((got.code, &got.event("failed")["resumable"]), (Some(75), &json!(true)), "{got:?}");
    drop(held);
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert!(got.code == Some(0) && std::fs::read(&target).unwrap() == content && !part.exists(), "{got:?}");
    stack.finish().await;
}
