//! Upload links: people without an account send files with them.

use crate::protocols::{PROTOCOLS, Sent, begin, send};
use crate::random::{bytes, sha256};
use crate::real_clients::{Given, browser, free_origin};
use crate::sharing::{Method as Keep, Room};
use futures_util::future::join_all;
use reqwest::{Client as Http, Method};
use serde_json::{Value, json};
use uuid::Uuid;
use waybill_event_log::{Expect, NewEvent, append, read_events};
use waybill_integration_tests::{Client, Cluster, Counts, Options, Stack};
use waybill_schema::events::{QuotaReserved, ReservedItem, ReservedLink};
use waybill_schema::{Actor, Causation, Entity, Envelope, LinkId, Routing, Subject, Timestamp, UploadId};
use waybill_test_kit::eventually;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

struct Link {
    id: String,
    url: String,
    client: Client,
}

async fn link(owner: &Client, mut more: Value) -> Link {
    let body = more.as_object_mut().unwrap();
    body.entry("max_files").or_insert(json!(100));
    body.entry("max_bytes").or_insert(json!(1 << 30));
    let made = owner.post("/v1/upload-links", &more).await.expect(201);
    let token = made.text("token");
    Link { id: made.text("id"), url: format!("{}{}", owner.url(), made.text("url")), client: owner.with_link(token) }
}

fn file(name: &str, mime_type: &str, content: &[u8]) -> Sent {
    Sent {
        kind: name.to_owned(),
        class: String::new(),
        made_with: String::new(),
        name: name.to_owned(),
        mime_type: mime_type.to_owned(),
        by: String::new(),
        content: content.to_vec(),
    }
}

async fn described(url: &str) -> (u16, Value) {
    let answer = Http::new().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_uploads_with_a_link_and_no_token() {
    let origin = free_origin();
    let args = vec![format!("--allowed-origins={origin}")];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let room = Room::of(&stack).await;
    let made = link(&room.anna, json!({ "chatroom_id": room.chatroom, "label": "Fotos", "ask_name": true })).await;
    let given = Given::new(&stack, 750, (20 << 20) + 3);
    let link_token = made.client.token();
    let metadata = json!({ "filename": "holiday.bin", "sender_name": "Zoë" });
    let more = json!({ "link": link_token, "token": "", "metadata": metadata });
    let report = browser(&stack, "tus", &origin, &given, more).await;
    let id = report["url"].as_str().unwrap_or_else(|| panic!("{report}")).rsplit('/').next().unwrap().to_owned();
    // The file belongs to the owner of the link, and the members of the chatroom see it.
    let file = room.anna.file_with_status(&id, "COMPLETED").await;
    assert_eq!((&file["hash"], &file["upload_link_id"]), (&json!(sha256(&given.content)), &json!(made.id)));
    assert_eq!(
        (&file["uploaded_by"], &file["metadata"]["sender_name"]),
        (&json!(room.anna.principal.user_id), &json!("Zoë"))
    );
    let listed = room.ben.get(&room.listing()).await.expect(200);
    assert_eq!(listed.body["items"][0]["id"], id);
    // The audit says with which link each byte was sent.
    for entity in
        [Entity::UploadLifecycle(UploadId(id.parse().unwrap())), Entity::UploadChunks(UploadId(id.parse().unwrap()))]
    {
        let events = read_events(stack.log(), Subject::new(room.anna.principal.company_id, entity), 0).await.unwrap();
        let actors = events.iter().map(|event| event.envelope.actor.to_string());
        let people: Vec<String> = actors.filter(|actor| !actor.starts_with("worker:")).collect();
        assert!(
            !people.is_empty() && people.iter().all(|actor| *actor == format!("service:link:{}", made.id)),
            "{people:?}"
        );
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_uploads_by_every_protocol_and_does_nothing_else() {
    let stack = Stack::start().await;
    let owner = stack.client();
    let own = owner.small_file("own.txt").await.text("file_id");
    let running = owner.start(100).await.expect(201).text("upload_id");
    let made = link(&owner, json!({})).await;
    for protocol in PROTOCOLS {
        let sent = file(&format!("{protocol}.bin"), "", &bytes(7, 300_000));
        assert_eq!(send(&made.client, &sent, protocol).await, None, "{protocol}");
    }
    let shown = eventually("the files to be counted", || async {
        let shown = owner.get(&format!("/v1/upload-links/{}", made.id)).await.expect(200).body;
        (shown["received_files"] == PROTOCOLS.len()).then_some(shown)
    })
    .await;
    assert_eq!(shown["received_bytes"], 300_000 * PROTOCOLS.len());
    let (status, left) = described(&made.url).await;
    assert_eq!((status, &left["left_files"]), (200, &json!(100 - PROTOCOLS.len())));

    // No other route is open, not even for the files of the link.
    let api =
        Http::new().get(format!("{}/openapi.json", stack.url())).send().await.unwrap().json::<Value>().await.unwrap();
    let mut refused = 0;
    for (path, operations) in api["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            let is_open =
                operation.get("security").is_none() || ["uploads", "parts", "uppy", "resumable uploads"].contains(&tag);
            let is_upload = path == "/v1/files" && method == "post";
            if is_open || is_upload || path.starts_with("/v1/ws") || tag == "progress" || tag == "websocket" {
                continue;
            }
            let path = path.replace("{id}", &own).replace("{company}", &owner.principal.company_id.to_string());
            let path: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { own.as_str() } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = made.client.request(method.clone(), &path).json(&json!({})).send().await.unwrap();
            let status = answer.status().as_u16();
            let code = answer.bytes().await.unwrap();
            let is_refused = method == Method::HEAD || String::from_utf8_lossy(&code).contains("link_forbidden");
            assert!(status == 403 && is_refused, "{method} {path}: {status}");
            refused += 1;
        }
    }
    assert!(refused > 30, "{refused}");
    made.client.get("/v1/files").await.refused(403, "link_forbidden");
    made.client.get(&format!("/v1/files/{own}/content")).await.refused(403, "link_forbidden");
    // tus reads files from the URL of the upload.
    let sent = begin(&made.client, &file("sent.bin", "", b"secret"), "bytes").await.unwrap();
    owner.file_with_status(&sent, "COMPLETED").await;
    made.client.get(&format!("/tus/{sent}")).await.refused(403, "link_forbidden");
    // An upload of the owner is not one of the link.
    made.client.get(&format!("/v1/uploads/{running}")).await.refused(404, "not_found");
    made.client.put_chunk(&running, 0, vec![0; 100]).await.refused(404, "not_found");
    // A guess.
    let token = made.client.token();
    let guess = format!("{}AA", &token[..token.len() - 2]);
    if guess != token {
        owner.with_link(guess.clone()).start(1).await.refused(401, "token_invalid");
        assert_eq!(described(&format!("{}/u/{guess}", stack.url())).await.0, 404);
    }
    stack.client().get(&format!("/v1/upload-links/{}", made.id)).await.refused(404, "not_found");
    stack.finish().await;
}

/// Requests that arrive at the same time at two gateways never exceed the limits of a link.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_starts_at_the_limit_of_a_link_are_counted_exactly() {
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let owner = cluster.client();
    let urls: Vec<String> = cluster.gateways.iter().map(|gateway| format!("http://{}", gateway.addr())).collect();
    for (limits, fit) in [(json!({ "max_files": 7 }), 7), (json!({ "max_bytes": 1_050 }), 10)] {
        let made = link(&owner, limits).await;
        let starts = (0..50_usize).map(|n| {
            let client = made.client.at(urls[n % 2].clone());
            async move {
                client
                    .send_until_done(|| {
                        client.request(Method::POST, "/v1/uploads").json(&json!({ "name": "a", "size_bytes": 100 }))
                    })
                    .await
            }
        });
        let answers = join_all(starts).await;
        let started: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(started.len(), fit);
        let others = answers.iter().filter(|answer| answer.status != 201);
        others.for_each(|answer| assert_eq!((answer.status, &answer.body["code"]), (413, &json!("link_exhausted"))));
        // The place of a cancelled upload is free again.
        made.client.delete(&format!("/v1/uploads/{}", started[0].text("upload_id"))).await.expect(204);
        let again = || async { (made.client.start(100).await.status == 201).then_some(()) };
        eventually("the cancelled upload to be given back", again).await;
        made.client.start(100).await.refused(413, "link_exhausted");
    }
    cluster.finish().await;
}

/// The same for the limit of a user, which counts files, open uploads, and what others send with links of the user.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_starts_at_the_limit_of_a_user_are_counted_exactly() {
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let admin = cluster.client();
    let company = admin.principal.company_id;
    let user = cluster.user_of(company);
    let urls: Vec<String> = cluster.gateways.iter().map(|gateway| format!("http://{}", gateway.addr())).collect();
    let file = user.post_file("name=a.txt", vec![1; 250]).await.expect(201).text("file_id");
    let path = |what: &str| format!("/v1/admin/companies/{company}{what}");
    let of_user = path(&format!("/users/{}/quota", user.principal.user_id));
    admin.put(&path("/user-quota"), &json!({ "user_limit_bytes": 1_300 })).await.expect(200);
    let link = link(&user, json!({})).await;
    let starts = (0..50_usize).map(|n| {
        let client = if n % 3 == 0 { link.client.at(urls[n % 2].clone()) } else { user.at(urls[n % 2].clone()) };
        async move {
            let facts = json!({ "name": "a", "size_bytes": 100 });
            client.send_until_done(|| client.request(Method::POST, "/v1/uploads").json(&facts)).await
        }
    });
    let answers = join_all(starts).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 10);
    let others = answers.iter().filter(|answer| answer.status != 201);
    others.for_each(|answer| assert_eq!((answer.status, &answer.body["code"]), (413, &json!("user_limit_exceeded"))));
    let quota = user.get("/v1/quota/user").await.expect(200).body;
    let expected = json!({ "user_limit_bytes": 1_300, "user_used_bytes": 250, "user_reserved_bytes": 1_000 });
    assert_eq!(quota, expected);
    assert_eq!(admin.get(&of_user).await.expect(200).body, expected);
    // Others have limits of their own, and a single user can have another one.
    admin.start(1_300).await.expect(201);
    admin.put(&of_user, &json!({ "user_limit_bytes": 1_350 })).await.expect(200);
    user.start(100).await.expect(201);
    user.start(100).await.refused(413, "user_limit_exceeded");
    // A purged file gives its bytes back.
    admin.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
    eventually("the bytes to be given back", || async { (user.start(100).await.status == 201).then_some(()) }).await;
    user.put(&of_user, &json!({ "user_limit_bytes": null })).await.refused(403, "role_required");
    admin.put(&path("/user-quota"), &json!({ "user_limit_bytes": u64::MAX })).await.refused(422, "limit_invalid");
    let unknown = path(&format!("/users/{}/quota", Uuid::now_v7()));
    admin.put(&unknown, &json!({ "user_limit_bytes": 1 })).await.refused(404, "not_found");
    cluster.finish().await;
}

/// A process that dies after a reservation leaves it open. The sweep gives it back to the link, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_without_an_upload_is_given_back() {
    let args = vec!["--worker-sweep-ms=200".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let owner = stack.client();
    owner.small_file("first.txt").await;
    let made = link(&owner, json!({ "max_files": 1 })).await;
    let company = owner.principal.company_id;
    let link = ReservedLink { link_id: LinkId(made.id.parse().unwrap()), expires_at: Timestamp(i64::MAX / 2) };
    let item = ReservedItem {
        upload_id: UploadId(Uuid::now_v7()),
        session_id: None,
        bytes_total: 5,
        user_id: Some(owner.principal.user_id),
        link: Some(link),
    };
    let reserved = NewEvent {
        subject: Subject::new(company, Entity::Quota),
        envelope: Envelope {
            time: waybill_service_kit::now(),
            actor: Actor::Service("test".to_owned()),
            causation: Causation::Request(Uuid::now_v7()),
            address: None,
            routing: Routing::default(),
        },
        event: QuotaReserved { items: vec![item], until: Timestamp(0) }.into(),
        expect: Expect::Any,
        message_id: None,
    };
    append(stack.log(), reserved).await.unwrap();
    eventually("the reservation to be given back", || async {
        (made.client.start(1).await.status == 201).then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_accepts_only_what_its_owner_permits() {
    let stack = Stack::start().await;
    let owner = stack.client();
    let terms = json!({ "mime_types": ["image/*"], "max_file_bytes": 1_000, "ask_name": true });
    let made = link(&owner, terms).await;
    let (_, shown) = described(&made.url).await;
    assert_eq!(
        (&shown["mime_types"], &shown["max_file_bytes"], &shown["ask_name"]),
        (&json!(["image/*"]), &json!(1_000), &json!(true))
    );
    let start = |mut facts: Value| {
        let body = facts.as_object_mut().unwrap();
        body.entry("name").or_insert(json!("a.png"));
        body.entry("size_bytes").or_insert(json!(10));
        body.entry("metadata").or_insert(json!({ "sender_name": "Zoë" }));
        let client = made.client.clone();
        async move { client.post("/v1/uploads", &facts).await }
    };
    start(json!({})).await.expect(201);
    start(json!({ "metadata": {} })).await.refused(422, "link_name_required");
    start(json!({ "metadata": { "sender_name": " " } })).await.refused(422, "link_name_required");
    start(json!({ "size_bytes": 1_001 })).await.refused(413, "file_too_large");
    start(json!({ "name": "a.pdf" })).await.refused(415, "type_refused");
    start(json!({ "chatroom_id": Uuid::now_v7() })).await.refused(403, "link_forbidden");

    // The content counts, too.
    let made = link(&owner, json!({ "mime_types": ["image/*"] })).await;
    let pdf = [b"%PDF-1.7\n".as_slice(), &[b'x'; 2_000]].concat();
    for protocol in ["bytes", "chunks"] {
        let refused = send(&made.client, &file("a.png", "image/png", &pdf), protocol).await;
        assert_eq!(refused.as_deref(), Some("type_refused"), "{protocol}");
        let good = send(&made.client, &file("a.png", "image/png", &[PNG, &[0; 2_000]].concat()), protocol).await;
        assert_eq!(good, None, "{protocol}");
    }
    for body in [
        json!({ "max_files": 0, "max_bytes": 1 }),
        json!({ "max_files": 10_001, "max_bytes": 1 }),
        json!({ "max_files": 1, "max_bytes": 1, "expires_in_s": 0 }),
        json!({ "max_files": 1, "max_bytes": 1, "expires_in_s": 7_776_001 }),
        json!({ "max_files": 1, "max_bytes": 1, "mime_types": ["image"] }),
        json!({ "max_files": 1, "max_bytes": 1, "label": "a\nb" }),
    ] {
        owner.post("/v1/upload-links", &body).await.refused(422, "link_invalid");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_and_what_has_started_continues() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let made = link(&room.anna, json!({ "chatroom_id": room.chatroom })).await;
    let upload = made.client.start(5).await.expect(201).text("upload_id");
    room.ben.delete(&format!("/v1/upload-links/{}", made.id)).await.refused(404, "not_found");
    room.anna.delete(&format!("/v1/upload-links/{}", made.id)).await.expect(204);
    room.anna.delete(&format!("/v1/upload-links/{}", made.id)).await.expect(204);
    made.client.start(5).await.refused(410, "link_ended");
    assert_eq!(described(&made.url).await.0, 410);
    made.client.put_chunk(&upload, 0, "hello").await.expect(200);
    made.client.complete(&upload, &json!({})).await.expect(200);
    room.ben.file_with_status(&upload, "COMPLETED").await;
    let listed = room.anna.get("/v1/upload-links").await.expect(200);
    assert_eq!(listed.body["items"][0]["id"], made.id);
    assert!(listed.body["items"][0]["revoked_at"].is_string());

    // The time of the start counts, also for a repeated request and for the parts of a file.
    let short = link(&room.anna, json!({ "expires_in_s": 2 })).await;
    let key = Uuid::now_v7().to_string();
    let start = || {
        let request = short.client.request(Method::POST, "/v1/uploads").header("Idempotency-Key", &key);
        request.json(&json!({ "name": "a.txt", "size_bytes": 5 }))
    };
    let started = short.client.send(start()).await.expect(201).text("upload_id");
    let tus = |method: Method, path: &str| short.client.request(method, path).header("Tus-Resumable", "1.0.0");
    let mut parts = Vec::new();
    for part in ["hel", "lo"] {
        let created = tus(Method::POST, "/tus/").header("Upload-Concat", "partial").header("Upload-Length", part.len());
        let created = created.send().await.unwrap();
        assert_eq!(created.status(), 201);
        let path = created.headers()["location"].to_str().unwrap().to_owned();
        let path = path.strip_prefix(stack.url()).unwrap_or(&path).to_owned();
        let patched = tus(Method::PATCH, &path).header("Upload-Offset", 0);
        let patched =
            patched.header("Content-Type", "application/offset+octet-stream").body(part).send().await.unwrap();
        assert_eq!(patched.status(), 204);
        parts.push(path);
    }
    eventually("the link to expire", || async { (short.client.start(5).await.status == 410).then_some(()) }).await;
    short.client.put_chunk(&started, 0, "hello").await.expect(200);
    assert_eq!(short.client.send(start()).await.expect(201).text("upload_id"), started);
    let whole = tus(Method::POST, "/tus/").header("Upload-Concat", format!("final;{}", parts.join(" ")));
    let whole = whole.send().await.unwrap();
    assert_eq!(whole.status(), 201);
    let id = whole.headers()["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned();
    room.anna.file_with_status(&id, "COMPLETED").await;
    assert_eq!(room.anna.content(&id).await, b"hello");

    // A member who leaves the chatroom cannot let others send files there.
    let made = link(&room.anna, json!({ "chatroom_id": room.chatroom })).await;
    room.carl
        .post("/v1/upload-links", &json!({ "max_files": 1, "max_bytes": 1, "chatroom_id": room.chatroom }))
        .await
        .refused(404, "not_found");
    room.keep(Keep::Delete, &room.member(&room.anna)).await;
    eventually("the link to end", || async { (made.client.start(5).await.status == 410).then_some(()) }).await;
    made.client.start(5).await.refused(410, "link_ended");
    assert_eq!(described(&made.url).await.0, 410);
    let made = link(&room.ben, json!({})).await;
    room.keep(Keep::Delete, &format!("/users/{}", room.ben.principal.user_id)).await;
    eventually("the link to end", || async { (made.client.start(5).await.status == 410).then_some(()) }).await;
    made.client.start(5).await.refused(410, "link_ended");
    let outcome = begin(&made.client, &file("a.txt", "", b"x"), "bytes").await;
    assert_eq!(outcome, Err("link_ended".to_owned()));
    stack.finish().await;
}
