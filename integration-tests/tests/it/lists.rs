//! Orders of lists of files, and the pages of each.

use serde_json::{Value, json};
use uuid::Uuid;
use waybill_integration_tests::{Answer, Client, Stack};

/// Requests a list page by page, and returns the names in order.
async fn names(client: &Client, query: &str, after: &Answer) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get_after(&format!("/v1/files?limit=2&{query}{cursor}"), after).await.expect(200);
        let items = page.body["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{query}: {}", page.body);
        found.extend(items.iter().map(|item| item["original_name"].as_str().unwrap().to_owned()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Each order has its pages, also with names whose folded form is long and with files of the same size.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_user_and_of_a_company_are_sorted_by_time_name_and_size() {
    let stack = Stack::start().await;
    let admin = stack.client();
    let user = stack.client_for(admin.principal.company_id, &[]);
    // Folding makes 18 letters of this one. PostgreSQL refuses entries of an index that are too long.
    let long = format!("{}.txt", "\u{fdfa}".repeat(251));
    let (mut files, mut last) = (Vec::new(), None);
    for (name, bytes) in [("B.txt", 3), ("a.txt", 20), ("\u{e4}.txt", 3), (long.as_str(), 1), ("c.txt", 3)] {
        let query = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let sent = user.post_file(&format!("mime_type=text/plain&name={query}"), "x".repeat(bytes)).await.expect(201);
        files.push(sent.text("file_id"));
        last = Some(sent);
    }
    let last = last.unwrap();
    let by_name = ["a.txt", "B.txt", "c.txt", "\u{e4}.txt", &long];
    let by_time = ["B.txt", "a.txt", "\u{e4}.txt", &long, "c.txt"];
    let reversed = |names: [&str; 5]| names.into_iter().rev().map(str::to_owned).collect::<Vec<_>>();
    for lists in [&user, &admin] {
        assert_eq!(names(lists, "sort=name", &last).await, by_name);
        assert_eq!(names(lists, "sort=-name", &last).await, reversed(by_name));
        assert_eq!(names(lists, "sort=created_at", &last).await, by_time);
        assert_eq!(names(lists, "sort=-created_at", &last).await, reversed(by_time));
        let by_size = names(lists, "sort=size_bytes", &last).await;
        assert_eq!((by_size.len(), by_size[0].as_str(), by_size[4].as_str()), (5, long.as_str(), "a.txt"));
        assert_eq!(names(lists, "sort=-size_bytes", &last).await, by_size.into_iter().rev().collect::<Vec<_>>());
        assert_eq!(names(lists, "sort=name&name=.TXT", &last).await, by_name);
    }
    // A new name has its place.
    let renamed = user.patch(&format!("/v1/files/{}", files[4]), &json!({ "display_name": "0.txt" })).await.expect(204);
    assert_eq!(names(&user, "sort=name", &renamed).await[0], "c.txt");

    let page = user.get("/v1/files?limit=2&sort=name").await.expect(200).text("next_cursor");
    for sort in ["-name", "size_bytes", "created_at"] {
        user.get(&format!("/v1/files?limit=2&sort={sort}&cursor={page}")).await.refused(400, "cursor_invalid");
    }
    user.get("/v1/files?sort=shoe_size").await.refused(400, "query_invalid");
    stack.finish().await;
}

/// Files are found by declared metadata, as it was sent with the upload or changed later, together with labels.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_found_by_declared_metadata() {
    let stack = Stack::start().await;
    let client = stack.client();
    let mut paths = Vec::new();
    for (name, metadata) in [
        ("a.txt", json!({ "case_no": 4711, "project": "north: 1", "color": "red" })),
        ("b.txt", json!({ "case_no": "4711", "project": ["south", "west"] })),
        ("c.txt", json!({ "case_no": "4711 b", "project": "x".repeat(101) })),
        ("d.txt", json!(null)),
    ] {
        let started = client.start_with(5, json!({ "name": name, "metadata": metadata })).await.expect(201);
        let upload = started.text("upload_id");
        client.put_chunk(&upload, 0, "hello").await.expect(200);
        client.complete(&upload, &json!({})).await.expect(200);
        paths.push(format!("/v1/files/{upload}"));
    }
    let label = client.patch(&paths[1], &json!({ "labels": ["signed"] })).await.expect(204);
    let found = async |query: &str, after: &Answer| names(&client, &format!("sort=name&{query}"), after).await;
    for (query, expected) in [
        ("metadata=case_no:4711", vec!["a.txt", "b.txt"]),
        ("metadata=case_no:4711&label=signed", vec!["b.txt"]),
        ("metadata=case_no:4711&name=a", vec!["a.txt"]),
        ("metadata=project:west", vec!["b.txt"]),
        ("metadata=project:north:%201", vec!["a.txt"]),
        ("metadata=project:", vec![]),
    ] {
        assert_eq!(found(query, &label).await, expected, "{query}");
    }
    let long = "x".repeat(101);
    assert_eq!(found(&format!("metadata=project:{long}"), &label).await, Vec::<String>::new());
    // A change of the metadata replaces its terms, and keeps those of the labels.
    let changed = client.patch(&paths[1], &json!({ "metadata": { "case_no": 12 } })).await.expect(204);
    assert_eq!(found("metadata=case_no:4711", &changed).await, ["a.txt"]);
    assert_eq!(found("metadata=case_no:12&label=signed", &changed).await, ["b.txt"]);
    let removed = client.patch(&paths[1], &json!({ "metadata": null })).await.expect(204);
    assert_eq!(found("metadata=case_no:12", &removed).await, Vec::<String>::new());
    assert_eq!(found("label=signed", &removed).await, ["b.txt"]);
    for refused in ["color:red", "case_no", "project:%00", ":"] {
        client.get(&format!("/v1/files?metadata={refused}")).await.refused(400, "query_invalid");
    }
    assert_eq!(names(&stack.client(), "metadata=case_no:4711", &removed).await, Vec::<String>::new());
    stack.finish().await;
}

/// The list of a chatroom can be read from its end.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_chatroom_are_listed_from_both_ends() {
    let stack = Stack::start().await;
    let client = stack.client();
    // The first upload registers the company.
    client.small_file("elsewhere.txt").await;
    let (room, admin) = (Uuid::now_v7(), format!("/v1/admin/companies/{}", client.principal.company_id));
    client.put(&format!("{admin}/chatrooms/{room}"), &json!({})).await.expect(204);
    let mut last = None;
    for name in ["a.txt", "b.txt", "c.txt", "d.txt", "e.txt"] {
        let query = format!("name={name}&mime_type=text/plain&chatroom_id={room}");
        last = Some(client.post_file(&query, "hello").await.expect(201));
    }
    let list = format!("chatroom_id={room}&sort");
    let listed = client.get_after(&format!("/v1/files?{list}=created_at"), &last.unwrap()).await.expect(200);
    let second = &listed.body["items"][1]["association"]["id"];
    let pinned = client.patch(&format!("/v1/associations/{}", text(second)), &json!({ "is_pinned": true })).await;
    let pinned = pinned.expect(204);
    let from_the_end = ["a.txt", "c.txt", "d.txt", "e.txt", "b.txt"];
    assert_eq!(names(&client, &format!("{list}=created_at"), &pinned).await, from_the_end);
    let from_the_begin: Vec<_> = from_the_end.into_iter().rev().collect();
    assert_eq!(names(&client, &format!("{list}=-created_at"), &pinned).await, from_the_begin);
    client.get(&format!("/v1/files?{list}=name")).await.refused(400, "query_invalid");
    let page = client.get(&format!("/v1/files?limit=2&{list}=created_at")).await.expect(200).text("next_cursor");
    client.get(&format!("/v1/files?limit=2&{list}=-created_at&cursor={page}")).await.refused(400, "cursor_invalid");
    stack.finish().await;
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
