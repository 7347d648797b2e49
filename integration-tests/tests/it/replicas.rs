//! A replica of PostgreSQL that stops, hangs or lags behind.

use crate::changing::Scene;
use diesel_async::SimpleAsyncConnection;
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_integration_tests::{Backing, Client, Cluster, Counts, Valve, free_addr};
use waybill_read_model::Rights;
use waybill_test_kit::{StandbyServer, TestDatabase, eventually, eventually_within, settings};

/// A copy of the tables that does not follow its primary. The names of its files say that they come from it.
struct Replica {
    database: TestDatabase,
    valve: Valve,
}

impl Replica {
    async fn of(backing: &Backing) -> Self {
        let database = TestDatabase::create().await;
        let program = |name: &str| Command::new(format!("{}/{name}", settings("WAYBILL_TEST_PG_BINDIR")));
        let dumped =
            program("pg_dump").args(["--no-owner", "--no-privileges", "--dbname", backing.database_url()]).output();
        let dumped = dumped.unwrap();
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        let mut load = program("psql");
        load.args(["--quiet", "--set=ON_ERROR_STOP=1", "--dbname", database.url()]);
        let mut load = load.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        load.stdin.take().unwrap().write_all(&dumped.stdout).unwrap();
        assert!(load.wait().unwrap().success());
        let mut connection = database.database("waybill").connection().await.unwrap();
        connection.batch_execute("UPDATE file SET original_name = 'replica'").await.unwrap();
        let (_, place) = database.url().rsplit_once('@').unwrap();
        let valve = Valve::start(place.split_once('/').unwrap().0).await;
        Self { database, valve }
    }

    /// Returns the URL of the copy through a proxy that can stop.
    fn url(&self) -> String {
        let (login, place) = self.database.url().rsplit_once('@').unwrap();
        let (_, name) = place.split_once('/').unwrap();
        format!("{login}@{}/{name}", self.valve.addr())
    }
}

/// Returns the names of the files that a user sees. The answer must come soon, whatever the replica does.
async fn names(client: &Client) -> Vec<String> {
    let asked = Instant::now();
    let listed = client.get("/v1/files").await.expect(200);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let items = listed.body["items"].as_array().unwrap();
    items.iter().map(|item| item["original_name"].as_str().unwrap().to_owned()).collect()
}

async fn answers(client: &Client, what: &str, expected: &[&str]) {
    eventually(what, || async { (names(client).await == expected).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_hangs_or_lags_delays_no_query_and_no_revocation() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client().without_keep_alive();
    let company = client.principal.company_id;
    let ben = cluster.backing.client_for(&cluster.url(), company, &[]).without_keep_alive();
    let (room, admin) = (Uuid::now_v7(), format!("/v1/admin/companies/{company}"));
    for path in [
        String::new(),
        format!("/users/{}", ben.principal.user_id),
        format!("/chatrooms/{room}"),
        format!("/chatrooms/{room}/members/{}", ben.principal.user_id),
    ] {
        client.put(&format!("{admin}{path}"), &json!({})).await;
    }
    let query = format!("name=first&mime_type=text/plain&chatroom_id={room}");
    let first = client.post_file(&query, "hello").await.expect(201);
    let path = format!("/v1/files/{}", first.text("file_id"));
    eventually("Ben to see the file", || async { (ben.get_after(&path, &first).await.status == 200).then_some(()) })
        .await;
    cluster.backing.projected().await;
    let replica = Replica::of(&cluster.backing).await;
    let args = [format!("--database-replica-url={}", replica.url()), "--replica-max-lag-s=30".to_owned()];
    cluster.replace_gateway(0, &args).await;

    answers(&client, "the replica to answer", &["replica"]).await;
    replica.valve.close();
    answers(&client, "the primary to answer for a replica that hangs", &["first"]).await;
    replica.valve.open();
    answers(&client, "the replica to answer again", &["replica"]).await;
    replica.valve.cut();
    answers(&client, "the primary to answer for a replica that has stopped", &["first"]).await;
    replica.valve.open();
    answers(&client, "the replica to answer once more", &["replica"]).await;

    // The copy does not get these events. It may still be asked, because its lag is tolerated.
    assert_eq!(ben.get(&path).await.expect(200).body["original_name"], "replica");
    let content = format!("{path}/content");
    let member = format!("{admin}/chatrooms/{room}/members/{}", ben.principal.user_id);
    let removed = client.delete(&member).await.expect(204);
    let since = Instant::now();
    eventually("the file to be hidden", || async { (ben.get(&content).await.status == 404).then_some(()) }).await;
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    assert_eq!(ben.get(&path).await.status, 404);
    // A query that names a position goes to the primary.
    let listed = client.get_after("/v1/files", &removed).await.expect(200);
    assert_eq!(listed.body["items"][0]["original_name"], "first");

    let args = [format!("--database-replica-url={}", replica.url()), "--replica-max-lag-s=1".to_owned()];
    cluster.replace_gateway(0, &args).await;
    let second = client.small_file("second").await;
    assert_eq!(client.get_after("/v1/files", &second).await.expect(200).body["items"].as_array().unwrap().len(), 2);
    cluster.backing.projected().await;
    answers(&client, "the primary to answer for a replica that lags", &["second", "first"]).await;
    for _ in 0..20 {
        assert_eq!(names(&client).await, ["second", "first"]);
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_wrong_with_a_replica_that_lags_by_up_to_30_s_hangs_or_stops() {
    const USABLE: &str = "waybill_replica_usable";
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let mut standby = StandbyServer::start(free_addr().port()).await;
    let url = standby.url_of(&cluster.backing.database_url_for(Rights::Read));
    let args = [format!("--database-replica-url={url}"), "--replica-max-lag-s=30".to_owned()];
    let scene = Scene::on(cluster, &args).await;
    scene.all_have(USABLE, 1).await;
    scene
        .load(async |load| {
            load.checked(500).await;
            // The lag grows. The replica is asked until it is 30 s.
            standby.pause().await;
            eventually_within(Duration::from_secs(90), "the lag to be too long", || async {
                load.checked(100).await;
                (scene.cluster.gateways[0].metric(USABLE).await == 0).then_some(())
            })
            .await;
            scene.all_have(USABLE, 0).await;
            load.checked(300).await;
            standby.resume().await;
            scene.all_have(USABLE, 1).await;
            load.checked(300).await;
            standby.stop();
            scene.all_have(USABLE, 0).await;
            load.checked(300).await;
            standby.restart().await;
            scene.all_have(USABLE, 1).await;
            load.checked(300).await;
            standby.hang();
            load.checked(300).await;
            standby.go_on();
            scene.all_have(USABLE, 1).await;
            load.checked(300).await;
        })
        .await;
    scene.cluster.finish().await;
}
