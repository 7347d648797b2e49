//! Cancellation and concurrent requests.

use super::{PARTIAL, SOON, is_file, is_gone, open, stored};
use crate::random::bytes;
use crate::speaker::{Speaker, id_of};
use reqwest::Method;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use waybill_integration_tests::Stack;
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

/// Reads from a raw connection until it is closed or, after the first bytes, silent for [`SOON`].
fn ending(mut socket: TcpStream) -> String {
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) if !answer.is_empty() && error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => panic!("the server did not end the request: {error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_1_a_cancelled_upload_is_gone_with_its_space() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let company = draft.client.principal.company_id;
    for length in [Some(1_000), None] {
        let upload = open(&draft, length).await;
        draft.append(&upload, 0, false, vec![0; 400]).await.expect(204);
        assert!(stack.reserved_bytes(company).await >= 400);
        draft.delete(&upload).await.expect(204);
        is_gone(&draft, &upload, 400).await;
        draft.delete(&upload).await.expect(204);
        stack.nothing_reserved(company).await;
    }
    eventually("the bytes to be deleted", || async {
        stack.store().list(&format!("s/{company}/")).await.unwrap().is_empty().then_some(())
    })
    .await;
    draft.delete("/tus/01997000-0000-7000-8000-000000000000").await.expect(404);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_2_conc_4_5_running_appends_end_with_the_upload() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(1_000)).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1"), PARTIAL];
    let running = draft.begin("PATCH", &upload, &headers, 1_000, &[0; 400]);
    stored(&draft.client, &upload, 400).await;
    draft.delete(&upload).await.expect(204);
    let answer = ending(running);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    is_gone(&draft, &upload, 400).await;
    stack.nothing_reserved(draft.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conc_1_whichever_parallel_append_was_acknowledged_is_in_the_file() {
    const LENGTH: usize = 100_000;
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for round in 0..8 {
        let contents: Vec<Vec<u8>> = (0..6).map(|number| bytes(2_100 + 10 * round + number, LENGTH)).collect();
        let upload = open(&draft, Some(LENGTH + 1)).await;
        let append = async |content: &Vec<u8>| {
            let request = draft.client.request(Method::PATCH, &upload).header("Upload-Draft-Interop-Version", "9");
            let request =
                request.header("Upload-Offset", "0").header("Upload-Complete", "?0").header(PARTIAL.0, PARTIAL.1);
            request.body(content.clone()).send().await.map(|response| response.status().as_u16()).ok()
        };
        let answers = futures_util::future::join_all(contents.iter().map(append)).await;
        let head = draft.head(&upload).await.expect(204);
        let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
        let rest = vec![0; LENGTH + 1 - offset];
        draft.append(&upload, offset, true, rest).await.expect(200);
        draft.client.file_with_status(&id_of(&upload), "COMPLETED").await;
        let file = draft.client.content(&id_of(&upload)).await;
        assert!(
            contents.iter().any(|content| content[..offset] == file[..offset]),
            "the file mixes two appends: {answers:?}"
        );
        for (content, answer) in contents.iter().zip(&answers) {
            assert!(*answer != Some(204) || file[..LENGTH] == content[..], "acknowledged bytes are lost: {answers:?}");
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conc_1_an_append_and_a_cancellation_at_once_leave_nothing_behind() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let company = draft.client.principal.company_id;
    for _ in 0..5 {
        let upload = open(&draft, Some(100_000)).await;
        let request = draft.client.request(Method::PATCH, &upload).header("Upload-Draft-Interop-Version", "9");
        let request = request.header("Upload-Offset", "0").header("Upload-Complete", "?0").header(PARTIAL.0, PARTIAL.1);
        let (appended, deleted) = tokio::join!(request.body(vec![0; 90_000]).send(), draft.delete(&upload));
        deleted.expect(204);
        if let Ok(appended) = appended {
            assert!([204, 409, 410].contains(&appended.status().as_u16()), "{appended:?}");
        }
        draft.head(&upload).await.expect(410);
    }
    stack.nothing_reserved(company).await;
    eventually("the bytes to be deleted", || async {
        stack.store().list(&format!("s/{company}/")).await.unwrap().is_empty().then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conc_2_3_4_5_incr_1_whoever_asks_ends_the_hanging_append_and_goes_on_from_the_answer() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_070, 10_000);
    let upload = open(&draft, Some(content.len())).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1"), PARTIAL];
    let mut hanging = draft.begin("PATCH", &upload, &headers, content.len(), &content[..3_000]);
    // Bytes are recorded while the request is still running.
    stored(&draft.client, &upload, 3_000).await;
    hanging.write_all(&content[3_000..4_000]).unwrap();
    let head = draft.head(&upload).await.expect(204).with("Upload-Complete", "?0");
    let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
    assert!((3_000..=4_000).contains(&offset), "{offset}");
    // The older request can no longer append bytes. Its client may find the connection closed.
    let late = hanging.write_all(&[0; 5_000]);
    assert!(late.is_ok() || late.is_err());
    let ended = ending(hanging);
    assert!(ended.is_empty() || ended.starts_with("HTTP/1.1 409 "), "{ended}");
    draft.head(&upload).await.expect(204).with("Upload-Offset", &offset.to_string());
    // A newer append that knows the offset takes over without a HEAD.
    let at = offset.to_string();
    let headers = [("Upload-Offset", at.as_str()), ("Upload-Complete", "?1"), PARTIAL];
    let hanging = draft.begin("PATCH", &upload, &headers, content.len() - offset, &content[offset..5_000]);
    stored(&draft.client, &upload, 5_000).await;
    draft.append(&upload, 5_000, true, content[5_000..].to_vec()).await.expect(200).with("Upload-Complete", "?1");
    let ended = ending(hanging);
    assert!(ended.is_empty() || ended.starts_with("HTTP/1.1 409 "), "{ended}");
    is_file(&draft.client, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conc_3_an_offset_that_was_told_is_taken_however_close_an_older_append_was() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let (mut refused, mut accepted_late) = (Vec::new(), 0);
    for round in 0..30 {
        let upload = open(&draft, (round % 2 == 0).then_some(10_000)).await;
        let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?0"), PARTIAL];
        // The bytes may be anywhere between the socket and the store when the next request arrives.
        let hanging = draft.begin("PATCH", &upload, &headers, 8_000, &[0; 3_000]);
        let head = draft.head(&upload).await.expect(204);
        let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
        let mut next = draft.append(&upload, offset, false, "x").await;
        // On a busy machine, the server can accept the connection of the hanging request after the next request, which
        // makes the hanging request the newer one.
        if next.status == 409 && next.json()["code"] == "superseded" {
            accepted_late += 1;
            let head = draft.head(&upload).await.expect(204);
            let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
            next = draft.append(&upload, offset, false, "x").await;
        }
        if next.status != 204 {
            refused.push((round, offset, next.status, next.header("Upload-Offset").map(str::to_owned)));
        }
        drop(hanging);
    }
    assert!(refused.is_empty(), "the server refused an offset that it had returned: {refused:?}");
    assert!(accepted_late <= 3, "{accepted_late} of 30 requests were superseded");
    stack.finish().await;
}
