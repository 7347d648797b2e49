//! Attacks with the user of PostgreSQL of a role that was taken over.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use waybill_integration_tests::{Stack, servers_in};
use waybill_read_model::Rights;

/// SQLSTATE `insufficient_privilege` as PostgreSQL words it.
const REFUSED: &str = "permission denied";

async fn refused(connection: &mut AsyncPgConnection, statement: &str) {
    let answer = connection.batch_execute(statement).await;
    let said = answer.expect_err(statement).to_string();
    // "must be owner of table …", "must be superuser …"
    assert!(said.contains(REFUSED) || said.contains("must be "), "{statement}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l9_provision_creates_the_users_and_grants_them_no_more_than_they_need() {
    let stack = Stack::start().await;
    let number = uuid::Uuid::now_v7().simple();
    let names = [format!("reader_{number}"), format!("writer_{number}")];
    let more = [
        format!("--database-reader={}", names[0]),
        "--database-reader-password=it's".to_owned(),
        format!("--database-writer={}", names[1]),
        "--database-writer-password=secret".to_owned(),
    ];
    // The second run changes nothing.
    for _ in 0..2 {
        let args = servers_in(&stack.arguments("provision", &more), true);
        let program = waybill_test_kit::settings("WAYBILL_TEST_BIN");
        let ended = std::process::Command::new(program).arg("provision").args(args).args(&more).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let host = stack.database_url().rsplit_once('@').unwrap().1.to_owned();
    let login = async |name: &str, password: &str| {
        let mut connection =
            AsyncPgConnection::establish(&format!("postgres://{name}:{password}@{host}")).await.unwrap();
        connection.batch_execute("SET search_path = waybill; SELECT count(*) FROM file").await.unwrap();
        connection
    };
    let (mut reader, mut writer) = (login(&names[0], "it's").await, login(&names[1], "secret").await);
    writer.batch_execute("DELETE FROM member WHERE false").await.unwrap();
    refused(&mut reader, "DELETE FROM member WHERE false").await;
    for connection in [&mut reader, &mut writer] {
        refused(connection, "DROP TABLE member").await;
    }
    drop((reader, writer));
    let mut owner = AsyncPgConnection::establish(stack.database_url()).await.unwrap();
    for name in names {
        owner.batch_execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await.unwrap();
    }
    drop(owner);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l9_no_role_can_create_change_or_drop_tables_and_readers_cannot_write() {
    let stack = Stack::start().await;
    stack.client().small_file("a.txt").await;
    let as_user = async |rights| {
        let mut connection = AsyncPgConnection::establish(&stack.database_url_for(rights)).await.unwrap();
        connection.batch_execute("SET search_path = waybill").await.unwrap();
        connection
    };
    let (mut reader, mut writer) = (as_user(Rights::Read).await, as_user(Rights::Write).await);
    for connection in [&mut reader, &mut writer] {
        for statement in [
            "CREATE TABLE waybill.mine (id int)",
            "CREATE SCHEMA mine",
            "DROP TABLE file",
            "ALTER TABLE file DROP COLUMN hash",
            "CREATE INDEX mine ON storage_quota (company_id)",
            "TRUNCATE storage_quota",
            "DROP SCHEMA waybill CASCADE",
            "ALTER TABLE file DISABLE TRIGGER ALL",
            "CREATE ROLE mine",
            "COPY storage_quota TO '/tmp/mine'",
            "UPDATE __diesel_schema_migrations SET run_on = now()",
        ] {
            refused(connection, statement).await;
        }
        connection.batch_execute("SELECT count(*) FROM file").await.unwrap();
    }
    for statement in [
        "UPDATE file SET display_name = 'b'",
        "DELETE FROM file",
        "INSERT INTO member SELECT * FROM member",
        "UPDATE projection_checkpoint SET seq = 0",
        "UPDATE download_token SET revoked_at = NULL",
    ] {
        refused(&mut reader, statement).await;
    }
    drop((reader, writer));
    stack.finish().await;
}
