//! Rows that gateways keep, also in Redis: they are used, and whatever happens to Redis, no answer is wrong.

use crate::changing::Scene;
use crate::restored::{copied, restore, send};
use serde_json::json;
use std::time::Duration;
use waybill_integration_tests::{Client, Cluster, Counts, RedisServer, Valve};
use waybill_test_kit::eventually;

const USABLE: &str = "waybill_redis_usable";

/// Starts two gateways with one Redis.
async fn scene(redis: &str) -> Scene {
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let scene = Scene::on(cluster, &[format!("--redis-url=redis://{redis}")]).await;
    scene.all_have(USABLE, 1).await;
    scene
}

/// Returns how often a gateway found an entry there.
async fn found(scene: &Scene, gateway: usize, kind: &str, result: &str) -> u64 {
    let metric = format!("waybill_cache_reads_total{{kind=\"{kind}\",result=\"{result}\"}}");
    scene.cluster.gateways[gateway].metric(&metric).await
}

/// Waits until gateways have found rows in all these places. Nothing changes any more, so each takes what it or another one has kept.
async fn use_kept(scene: &Scene, path: String, places: &[&str]) {
    let list = format!("/v1/files?chatroom_id={}", scene.room);
    for (kind, path, clients) in [("file", path, &scene.anna), ("shared", list, &scene.ben)] {
        for place in places {
            eventually("the gateways to use what was kept", || async {
                let _ = (clients[0].get(&path).await.expect(200), clients[1].get(&path).await.expect(200));
                let found = found(scene, 0, kind, place).await + found(scene, 1, kind, place).await;
                (found > 0).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_wrong_whatever_happens_to_redis() {
    let mut redis = RedisServer::start().await;
    let way = Valve::start(&redis.addr().to_string()).await;
    let scene = scene(&way.addr().to_string()).await;
    let load = scene
        .load(async |load| {
            load.checked(300).await;
            redis.copy_data().await;
            load.checked(300).await;
            redis.kill();
            scene.all_have(USABLE, 0).await;
            load.checked(300).await;
            redis.restart_with_copy().await;
            scene.all_have(USABLE, 1).await;
            load.checked(500).await;
            redis.hang();
            scene.all_have(USABLE, 0).await;
            load.checked(300).await;
            redis.go_on();
            scene.all_have(USABLE, 1).await;
            for _ in 0..5 {
                assert!(redis.command(&["FLUSHALL"]).await.is_some());
                load.checked(100).await;
            }
            way.slow_down(Duration::from_millis(500));
            scene.all_have(USABLE, 0).await;
            load.checked(300).await;
            way.open();
            scene.all_have(USABLE, 1).await;
            load.checked(300).await;
            way.cut();
            scene.all_have(USABLE, 0).await;
            load.checked(300).await;
            way.open();
            scene.all_have(USABLE, 1).await;
            load.checked(300).await;
        })
        .await;
    use_kept(&scene, load.path(), &["process", "redis"]).await;
    scene.cluster.finish().await;
}

/// Without Redis, each gateway keeps rows for itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_wrong_without_redis() {
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let scene = Scene::on(cluster, &[]).await;
    let load = scene
        .load(async |load| {
            for _ in 0..4 {
                load.checked(250).await;
            }
        })
        .await;
    use_kept(&scene, load.path(), &["process"]).await;
    scene.cluster.finish().await;
}

/// An association that expires leaves a page that is kept, also a later one, without an event.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_page_is_not_used_after_an_association_of_its_place_expired() {
    let redis = RedisServer::start().await;
    let scene = scene(&redis.addr().to_string()).await;
    let (anna, ben) = (&scene.anna[0], &scene.ben[0]);
    let soon = chrono::Utc::now() + chrono::Duration::seconds(12);
    let mut last = None;
    for (name, expires_at) in [("brief.txt", Some(soon.to_rfc3339())), ("b.txt", None), ("c.txt", None)] {
        let file = anna.small_file(name).await.text("file_id");
        let share = json!({ "chatroom_id": scene.room, "access_type": "PRIVATE", "expires_at": expires_at });
        last = Some(anna.post(&format!("/v1/files/{file}/associations"), &share).await.expect(201));
    }
    let list = format!("/v1/files?limit=2&chatroom_id={}", scene.room);
    let first = ben.get_after(&list, &last.unwrap()).await.expect(200);
    let second = format!("{list}&cursor={}", first.text("next_cursor"));
    let names = async || {
        let page = ben.get(&second).await.expect(200);
        let items = page.body["items"].as_array().unwrap().iter();
        items.map(|item| item["original_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["brief.txt"]);
    let before = found(&scene, 0, "shared", "process").await;
    eventually("the page to be kept", || async {
        assert_eq!(names().await, ["brief.txt"]);
        (found(&scene, 0, "shared", "process").await > before).then_some(())
    })
    .await;
    assert!(chrono::Utc::now() < soon, "the machine is too slow for this test");
    eventually("the page to be empty", || async { names().await.is_empty().then_some(()) }).await;
    assert!(chrono::Utc::now() >= soon);
    scene.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_write_to_redis_can_neither_read_nor_change_rows() {
    let redis = RedisServer::start().await;
    let scene = scene(&redis.addr().to_string()).await;
    let mut paths = Vec::new();
    for name in ["a-secret-name.txt", "another-name.txt"] {
        let made = scene.anna[0].small_file(name).await;
        let path = format!("/v1/files/{}", made.text("file_id"));
        eventually("the file to be kept", || async {
            scene.anna[0].get_after(&path, &made).await.expect(200);
            scene.ben[0].get(&path).await.refused(404, "not_found");
            (scene.anna[1].get(&path).await.expect(200).body["original_name"] == name
                && found(&scene, 1, "file", "redis").await > 0)
                .then_some(())
        })
        .await;
        paths.push((path, name));
    }
    let keys = redis.command(&["KEYS", "waybill:*"]).await.unwrap();
    let keys: Vec<&str> = keys.lines().filter(|line| line.starts_with("waybill:")).collect();
    assert!(keys.len() >= 2, "{keys:?}");
    redis.copy_data().await;
    for (_, name) in &paths {
        assert!(!redis.has_stored(name), "{name} is in Redis");
    }
    // The values are swapped, and some are replaced by other bytes.
    for pair in keys.windows(2) {
        assert_eq!(redis.command(&["COPY", pair[0], pair[1], "REPLACE"]).await.as_deref(), Some(":1\r\n"));
    }
    assert_eq!(redis.command(&["SET", keys[0], "{}"]).await.as_deref(), Some("+OK\r\n"));
    let mut gateways = scene.cluster;
    // A new process has no entries of its own.
    let args = [format!("--redis-url=redis://{}", redis.addr())];
    gateways.replace_gateway(1, &args).await;
    for (path, name) in &paths {
        assert_eq!(scene.anna[1].get(path).await.expect(200).body["original_name"], *name);
        scene.ben[1].get(path).await.refused(404, "not_found");
    }
    gateways.finish().await;
}

/// Answers of a gateway about a file, until they are as expected.
async fn shows(client: &Client, path: &str, expected: Option<&str>) {
    eventually("the answer to match the stream", || async {
        let answer = client.get(path).await;
        let is_shown = match expected {
            Some(name) => answer.status == 200 && answer.body["display_name"] == name,
            None => answer.status == 404,
        };
        is_shown.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_a_lost_history_are_not_used_after_a_restore() {
    let redis = RedisServer::start().await;
    let cluster = Cluster::start(Counts::default()).await;
    let mut scene = Scene::on(cluster, &[format!("--redis-url=redis://{}", redis.addr())]).await;
    let (anna, ben) = (scene.anna[0].clone(), scene.ben[0].clone());
    let made = anna.small_file("first.txt").await;
    let path = format!("/v1/files/{}", made.text("file_id"));
    anna.get_after(&path, &made).await.expect(200);
    let share = json!({ "chatroom_id": scene.room, "access_type": "PRIVATE" });
    let shared = anna.post(&format!("{path}/associations"), &share).await.expect(201);
    let named = anna.patch(&path, &json!({ "display_name": "kept.txt" })).await.expect(204);
    ben.get_after(&path, &shared).await.expect(200);
    ben.get_after(&path, &named).await.expect(200);
    for grows_past_the_checkpoint in [false, true] {
        scene.cluster.backing.settled().await;
        let copy = copied(&mut scene.cluster).await;
        // These events are lost. All rows are kept as of the last one.
        let lost = send(&anna, 1).await;
        let lost = format!("/v1/files/{}", lost[0]);
        let renamed = eventually("the file to be renamed", || async {
            let renamed = anna.patch(&path, &json!({ "display_name": "lost.txt" })).await;
            (renamed.status == 204).then_some(renamed)
        })
        .await;
        anna.get_after(&lost, &renamed).await.expect(200);
        for client in [&anna, &ben] {
            assert_eq!(client.get_after(&path, &renamed).await.expect(200).body["display_name"], "lost.txt");
        }
        scene.cluster.backing.settled().await;
        if grows_past_the_checkpoint {
            scene.cluster.projectors[0].kill();
        }
        restore(&mut scene.cluster, &copy).await;
        if grows_past_the_checkpoint {
            send(&anna, 10).await;
            scene.cluster.projectors[0].restart().await;
        }
        shows(&anna, &lost, None).await;
        shows(&anna, &path, Some("kept.txt")).await;
        shows(&ben, &path, Some("kept.txt")).await;
        for client in [&anna, &ben] {
            client.get(&lost).await.refused(404, "not_found");
            assert_eq!(client.get(&path).await.expect(200).body["display_name"], "kept.txt");
        }
    }
    let revoked = anna.delete(&format!("/v1/associations/{}", shared.text("id"))).await.expect(204);
    ben.get_after(&path, &revoked).await.refused(404, "not_found");
    scene.cluster.backing.settled().await;
    scene.cluster.finish().await;
}
