//! Permissions on a schema, and objects of others that depend on its tables.

use crate::{Database, ReadModelError, SchemaName};
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::BoxFuture;

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Returns what would be lost if the schema of `live` were replaced: views of its tables, and its owner if it is not
/// the current role.
///
/// # Errors
/// [`ReadModelError`].
pub fn strangers(live: &Database) -> BoxFuture<'_, Result<Vec<String>, ReadModelError>> {
    Box::pin(async move {
        let schema = live.schema();
        let text = format!(
            "SELECT 'view ' || c.oid::regclass::text AS name FROM pg_depend d \
         JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid \
         JOIN pg_class c ON c.oid = r.ev_class \
         JOIN pg_class t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid \
         WHERE t.relnamespace = '{schema}'::regnamespace AND c.oid <> t.oid \
         UNION SELECT 'owner ' || pg_get_userbyid(nspowner) FROM pg_namespace \
         WHERE nspname = '{schema}' AND pg_get_userbyid(nspowner) <> current_user ORDER BY 1"
        );
        let found: Vec<Named> = sql_query(text)
            .load(&mut live.connection().await?)
            .await
            .map_err(ReadModelError::query("searching for views of the tables"))?;
        Ok(found.into_iter().map(|found| found.name).collect())
    })
}

/// Grants all roles the permissions on `beside` that they have on the schema of `live`, on its tables and functions, and on
/// its later tables.
///
/// # Errors
/// [`ReadModelError`].
pub fn copy_rights<'a>(live: &'a Database, beside: &'a SchemaName) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        let schema = live.schema();
        let role = "CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role";
        let text = format!(
        "DO $$
        DECLARE
            given RECORD;
        BEGIN
            FOR given IN SELECT a.privilege_type AS what, {role} FROM pg_namespace n, aclexplode(n.nspacl) a
                WHERE n.nspname = '{schema}' AND a.grantee <> n.nspowner
            LOOP
                EXECUTE format('GRANT %s ON SCHEMA {beside} TO %s', given.what, given.role);
            END LOOP;
            FOR given IN SELECT c.relname AS of, a.privilege_type AS what, {role} FROM pg_class c, aclexplode(c.relacl) a
                WHERE c.relnamespace = '{schema}'::regnamespace AND a.grantee <> c.relowner AND c.relkind IN ('r', 'p')
                AND to_regclass(format('{beside}.%I', c.relname)) IS NOT NULL
            LOOP
                EXECUTE format('GRANT %s ON {beside}.%I TO %s', given.what, given.of, given.role);
            END LOOP;
            FOR given IN SELECT format('%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS of, {role}
                FROM pg_proc p, aclexplode(p.proacl) a
                WHERE p.pronamespace = '{schema}'::regnamespace AND a.grantee <> p.proowner
                AND EXISTS (SELECT FROM pg_proc n WHERE n.pronamespace = '{beside}'::regnamespace
                    AND n.proname = p.proname AND n.proargtypes = p.proargtypes)
            LOOP
                EXECUTE format('GRANT EXECUTE ON FUNCTION {beside}.%s TO %s', given.of, given.role);
            END LOOP;
            FOR given IN SELECT a.privilege_type AS what, {role} FROM pg_default_acl d, aclexplode(d.defaclacl) a
                WHERE d.defaclnamespace = '{schema}'::regnamespace AND d.defaclobjtype = 'r'
                AND pg_get_userbyid(d.defaclrole) = current_user AND a.grantee <> d.defaclrole
            LOOP
                EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA {beside} GRANT %s ON TABLES TO %s', given.what, given.role);
            END LOOP;
        END
        $$"
    );
        let mut connection = live.connection().await?;
        connection.batch_execute(&text).await.map_err(ReadModelError::query("granting permissions on the new tables"))
    })
}
