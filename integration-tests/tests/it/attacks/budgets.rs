//! Users who create as much as they can: associations, open uploads, events and searches.

use crate::sharing::{Method as Keep, Room};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;
use waybill_integration_tests::{Answer, Options, Stack};
use waybill_object_store::ObjectStore;
use waybill_schema::CompanyId;
use waybill_test_kit::eventually;

/// Starts a stack with additional arguments.
async fn stack_with(args: &[&str]) -> Stack {
    Stack::with(Options { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Options::default() }).await
}

fn number_of_items(answer: &Answer) -> usize {
    answer.body["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_cost_points_by_kind_and_one_user_does_not_spend_those_of_another() {
    let stack = stack_with(&["--rate-per-user=1", "--burst-per-user=20"]).await;
    let company = CompanyId(Uuid::now_v7());
    let [greedy, reader, searcher] = [(); 3].map(|()| stack.client_for(company, &[]));
    let served = async |answers: Vec<Answer>| {
        let (served, refused): (Vec<Answer>, _) = answers.into_iter().partition(|answer| answer.status < 300);
        for refused in refused {
            refused.refused(429, "too_many_requests");
        }
        served.len()
    };
    // A command costs 5 points and a read costs 1. Points come back while requests wait for up to five seconds.
    let nothing = json!({});
    let commands = served(join_all((0..10).map(|_| greedy.post("/v1/sessions", &nothing))).await).await;
    assert!((5..=6).contains(&commands), "{commands}");
    let reads = served(join_all((0..40).map(|_| reader.get("/v1/quota"))).await).await;
    assert!((25..=30).contains(&reads), "{reads}");
    // A search costs what it takes, in addition to the points of a list.
    let searches = served(join_all((0..15).map(|_| searcher.get("/v1/files?name=a"))).await).await;
    assert!((1..=12).contains(&searches), "{searches}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h8_fifty_parallel_requests_share_a_file_once_with_a_chatroom() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = room.anna.small_file("a.txt").await;
    let path = format!("/v1/files/{}", file.text("file_id"));
    let shares = format!("{path}/associations");
    room.anna.get_after(&path, &file).await.expect(200);
    let named: serde_json::Map<String, Value> =
        (0..200).map(|_| (Uuid::now_v7().to_string(), json!(["view", "download"]))).collect();
    let body = json!({ "chatroom_id": room.chatroom, "permissions": { "users": named } });
    let answers = join_all((0..50).map(|_| room.anna.post(&shares, &body))).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert!(created >= 1 && answers.iter().all(|answer| [200, 201].contains(&answer.status)), "{answers:?}");
    let id = answers[0].text("id");
    assert!(answers.iter().all(|answer| answer.text("id") == id));
    for answer in &answers {
        let listed = room.anna.get_after(&shares, answer).await.expect(200);
        assert_eq!(number_of_items(&listed), 1);
    }
    // Ben may share the file, but he may not change the association of Anna.
    let wide = json!({ "permissions": { "everyone": ["view", "share"] } });
    let last = room.anna.patch(&format!("/v1/associations/{id}"), &wide).await.expect(204);
    room.ben.get_after(&path, &last).await.expect(200);
    let narrow = json!({ "chatroom_id": room.chatroom, "permissions": { "everyone": ["view"] } });
    let refused = room.ben.post(&shares, &narrow).await.refused(409, "association_exists");
    assert_eq!(refused.text("association_id"), id);
    // The association begins again after it was revoked, and a repeated request does not begin it again.
    let keyed = async |body: &Value| {
        let request = room.anna.request(reqwest::Method::POST, &shares).header("Idempotency-Key", "1");
        room.anna.send(request.json(body)).await
    };
    let plain = json!({ "chatroom_id": room.chatroom });
    assert_eq!(keyed(&plain).await.expect(200).text("id"), id);
    let revoked = room.anna.delete(&format!("/v1/associations/{id}")).await.expect(204);
    keyed(&plain).await.expect(201);
    assert_eq!(number_of_items(&room.anna.get_after(&shares, &revoked).await.expect(200)), 0);
    room.ben.get(&path).await.refused(404, "not_found");
    let again = room.anna.post(&shares, &plain).await.expect(201);
    assert_eq!(again.text("id"), id);
    room.ben.get_after(&path, &again).await.expect(200);
    // The association that the upload created is the one of its place.
    let inside = room.file("b.txt").await;
    let of_upload = inside.text("file_id");
    let shares = format!("/v1/files/{of_upload}/associations");
    room.anna.get_after(&shares, &inside).await.expect(200);
    assert_eq!(room.anna.post(&shares, &plain).await.expect(200).text("id"), of_upload);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h8_a_file_can_be_shared_with_so_many_places_and_is_listed_once_in_each() {
    let stack = stack_with(&["--associations-per-file", "3"]).await;
    let room = Room::of(&stack).await;
    let file = room.file("a.txt").await;
    let shares = format!("/v1/files/{}/associations", file.text("file_id"));
    room.anna.get_after(&shares, &file).await.expect(200);
    // The second association names the chatroom together with its thread.
    let both = json!({ "chatroom_id": room.chatroom, "thread_id": room.thread });
    let last = room.anna.post(&shares, &both).await.expect(201);
    for client in [&room.anna, &room.ben, &room.admin] {
        assert_eq!(number_of_items(&client.get_after(&room.listing(), &last).await.expect(200)), 1);
    }
    let only_thread = json!({ "thread_id": room.thread });
    let third = room.anna.post(&shares, &only_thread).await.expect(201);
    let threads = format!("/v1/files?thread_id={}", room.thread);
    assert_eq!(number_of_items(&room.ben.get_after(&threads, &third).await.expect(200)), 1);
    let other = Uuid::now_v7();
    room.keep(Keep::Put, &format!("/chatrooms/{other}")).await;
    let joined = room.keep(Keep::Put, &format!("/chatrooms/{other}/members/{}", room.anna.principal.user_id)).await;
    room.anna.get_after("/v1/quota", &joined).await.expect(200);
    let fourth = json!({ "chatroom_id": other });
    room.anna.post(&shares, &fourth).await.refused(409, "associations_exhausted");
    let association = format!("/v1/associations/{}", third.text("id"));
    let revoked = room.anna.delete(&association).await.expect(204);
    room.anna.get_after("/v1/quota", &revoked).await.expect(200);
    room.anna.post(&shares, &fourth).await.expect(201);
    // The association of a chatroom that was deleted and opened again begins again.
    room.keep(Keep::Delete, &format!("/chatrooms/{other}")).await;
    room.keep(Keep::Put, &format!("/chatrooms/{other}")).await;
    room.keep(Keep::Put, &format!("/chatrooms/{other}/members/{}", room.anna.principal.user_id)).await;
    eventually("the chatroom to be there again", || async {
        let listed = room.anna.get(&format!("/v1/files?chatroom_id={other}")).await;
        (listed.status == 200 && number_of_items(&listed) == 0).then_some(())
    })
    .await;
    let again = room.anna.post(&shares, &fourth).await.expect(201);
    let listed = room.anna.get_after(&format!("/v1/files?chatroom_id={other}"), &again).await.expect(200);
    assert_eq!(number_of_items(&listed), 1);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m8_one_user_can_neither_reserve_the_quota_of_the_company_nor_open_any_number_of_uploads() {
    let stack =
        stack_with(&["--default-quota-bytes", "1000", "--max-file-bytes", "400", "--open-uploads-per-user", "4"]).await;
    let room = Room::of(&stack).await;
    // A user can reserve half of the quota.
    let starts = join_all((0..8).map(|_| room.anna.start(300))).await;
    let started: Vec<&Answer> = starts.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(started.len(), 1, "{starts:?}");
    for answer in starts.iter().filter(|answer| answer.status != 201) {
        assert_eq!((answer.status, answer.body["code"].as_str()), (413, Some("user_space_exceeded")), "{answer:?}");
    }
    room.anna.start(200).await.expect(201);
    room.ben.start(300).await.expect(201);
    // Small uploads count, too.
    for _ in 0..2 {
        room.anna.start(0).await.expect(201);
    }
    room.anna.start(0).await.refused(429, "too_many_uploads");
    room.ben.start(0).await.expect(201);
    // An admin ends all of them with one request.
    let all = room.path(&format!("/users/{}/uploads", room.anna.principal.user_id));
    room.ben.delete(&all).await.refused(403, "role_required");
    let stranger = stack.client_for(waybill_schema::CompanyId(Uuid::now_v7()), &[waybill_http_kit::Role::Admin]);
    stranger.delete(&all).await.refused(404, "not_found");
    let cancelled = room.admin.delete(&all).await.expect(200);
    assert_eq!((cancelled.body["cancelled"].as_u64(), cancelled.body["open"].as_u64()), (Some(4), Some(0)));
    let upload = started[0].text("upload_id");
    room.anna.put_chunk(&upload, 0, vec![0; 300]).await.refused(410, "upload_ended");
    eventually("the space to be free", || async {
        let again = room.anna.start(400).await;
        (again.status == 201).then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h5_a_user_who_changes_metadata_in_a_loop_waits_and_can_still_upload_and_read() {
    let stack = stack_with(&["--event-bytes-per-user", "1", "--event-burst-per-user", "20000"]).await;
    let room = Room::of(&stack).await;
    let file = room.file("a.txt").await;
    let path = format!("/v1/files/{}", file.text("file_id"));
    room.anna.get_after(&path, &file).await.expect(200);
    let change = |n: usize| json!({ "metadata": { "x": format!("{n}{}", "y".repeat(5_900)) } });
    let changed =
        join_all((0..20).map(|n| room.anna.send(room.anna.request(reqwest::Method::PATCH, &path).json(&change(n)))))
            .await;
    assert!(changed.iter().filter(|answer| answer.status == 204).count() <= 3, "{changed:?}");
    let refused = room.anna.request(reqwest::Method::PATCH, &path).json(&change(20)).send().await.unwrap();
    assert!(refused.headers()["Retry-After"].to_str().unwrap().parse::<u32>().unwrap() > 1);
    room.anna.patch(&path, &change(20)).await.refused(429, "event_budget_exhausted");
    room.anna.get(&path).await.expect(200);
    for _ in 0..50 {
        room.anna.small_file("b.txt").await;
    }
    // The others have budgets of their own.
    room.admin.patch(&path, &change(21)).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m7_urls_for_parts_of_uppy_do_not_bring_more_bytes_than_the_file_has() {
    let stack = stack_with(&["--worker-sweep-ms=200"]).await;
    let client = stack.client();
    let part = vec![7; 5 * 1_024 * 1_024];
    let create = async |size: &str| {
        let body = json!({ "filename": "a.bin", "type": "application/octet-stream", "metadata": { "size": size } });
        let created = client.post("/uppy/s3/multipart", &body).await.expect(200);
        let url = format!("/uppy/s3/multipart/{}/NUMBER?key={}", created.text("uploadId"), created.text("key"));
        (url, created)
    };
    let put = async |url: &str| {
        let request = reqwest::Client::new().put(url).body(part.clone());
        request.send().await.map(|answer| answer.status().as_u16())
    };
    // A small file has one part, whose length is signed.
    let (url, _) = create("1").await;
    client.get(&url.replace("NUMBER", "2")).await.refused(400, "parts_invalid");
    let signed = client.get(&url.replace("NUMBER", "1")).await.expect(200);
    assert!(!matches!(put(&signed.text("url")).await, Ok(200)));
    // The parts of a larger file are counted, even if the client asks for all URLs first and then for nothing more.
    let (url, created) = create("6000000").await;
    client.get(&url.replace("NUMBER", "3")).await.refused(400, "parts_invalid");
    let first = client.get(&url.replace("NUMBER", "1")).await.expect(200);
    let second = client.get(&url.replace("NUMBER", "2")).await.expect(200);
    for signed in [first, second] {
        assert_eq!(put(&signed.text("url")).await.unwrap(), 200);
    }
    let upload = format!("/v1/uploads/{}", created.text("file_id"));
    eventually("the upload to be rejected", || async {
        (client.get(&upload).await.body["status"] == "FAILED").then_some(())
    })
    .await;
    eventually("the parts to be deleted", || async {
        stack.store().list_multiparts(&created.text("key")).await.unwrap().is_empty().then_some(())
    })
    .await;
    stack.finish().await;
}
