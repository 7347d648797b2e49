//! Reads the claims of a verified token by the names that are configured for its issuer.

use super::config::IssuerConfig;
use super::principal::{Principal, Role};
use serde_json::Value;
use waybill_schema::Timestamp;

/// Difference of clocks that is tolerated, in seconds.
pub(super) const LEEWAY_S: u32 = 5;

/// Returns the owner of a token with these claims. Returns `None` if the issuer may not issue such a token.
pub(super) fn principal(claims: &Value, config: &IssuerConfig, now: Timestamp) -> Option<Principal> {
    let text = |name: &str| claim(claims, name).and_then(Value::as_str);
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64).map(|s| Timestamp(s.saturating_mul(1_000)));
    let client = text("azp").or_else(|| text("client_id"));
    if !config.clients.is_empty() && !client.is_some_and(|client| config.clients.iter().any(|known| known == client)) {
        return None;
    }
    let company_id = match config.company {
        Some(company) => company,
        None => text(&config.claims.company)?.parse().ok()?,
    };
    if config.companies.as_ref().is_some_and(|companies| !companies.contains(&company_id)) {
        return None;
    }
    let issued_at = seconds("iat");
    if let Some(max_age_s) = config.max_age_s {
        let leeway_ms = i64::from(LEEWAY_S) * 1_000;
        let age_ms = now.0.saturating_sub(issued_at?.0);
        if !(-leeway_ms..=i64::from(max_age_s) * 1_000 + leeway_ms).contains(&age_ms) {
            return None;
        }
    }
    Some(Principal {
        link: None,
        user_id: text(&config.claims.user)?.parse().ok()?,
        company_id,
        roles: roles(claim(claims, &config.claims.roles), config)?,
        issued_at,
        expires_at: seconds("exp")?,
    })
}

/// Returns the claim with this name, or at this JSON pointer.
fn claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// Returns the roles that the issuer may assert. Returns `None` if the claim is neither a list of texts nor a text.
fn roles(claim: Option<&Value>, config: &IssuerConfig) -> Option<Vec<Role>> {
    let names: Vec<&str> = match claim {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(names)) => names.split(' ').collect(),
        Some(Value::Array(names)) => names.iter().map(Value::as_str).collect::<Option<_>>()?,
        Some(_) => return None,
    };
    let known = config.roles.iter().filter(|(_, name)| names.contains(&name.as_str()));
    Some(known.map(|(role, _)| *role).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;
    use waybill_schema::CompanyId;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn claims(more: Value) -> Value {
        let mut claims = json!({ "sub": Uuid::from_u128(1), "company_id": Uuid::from_u128(2), "exp": 2_000_000 });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    }

    fn config(more: Value) -> IssuerConfig {
        let mut config = json!({ "issuer": "i", "audience": "a", "jwks_url": "https://i.example" });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn an_issuer_asserts_only_the_roles_that_it_may_under_their_names() {
        let config = config(json!({
            "roles": { "admin": "waybill-admin" }, "claims": { "roles": "/realm_access/roles" },
        }));
        let roles = |roles: Value| {
            principal(&claims(json!({ "realm_access": { "roles": roles } })), &config, NOW).map(|found| found.roles)
        };
        assert_eq!(roles(json!(["waybill-admin", "service", "admin"])), Some(vec![Role::Admin]));
        assert_eq!(roles(json!("openid waybill-admin")), Some(vec![Role::Admin]));
        assert_eq!(roles(json!(["service", "auditor"])), Some(Vec::new()));
        assert_eq!(roles(json!(null)), Some(Vec::new()));
        assert_eq!(roles(json!({ "admin": true })), None);
    }

    #[test]
    fn an_issuer_speaks_only_for_its_companies() {
        let (own, other) = (Uuid::from_u128(2), Uuid::from_u128(3));
        let found = |more| principal(&claims(json!({})), &config(more), NOW).map(|found| found.company_id);
        assert_eq!(found(json!({ "companies": [own] })), Some(CompanyId(own)));
        assert_eq!(found(json!({ "companies": [other] })), None);
        assert_eq!(found(json!({ "company": other })), Some(CompanyId(other)));
    }

    #[test]
    fn tokens_of_other_clients_and_old_tokens_are_refused() {
        let is_good = |more, token| principal(&claims(token), &config(more), NOW).is_some();
        let clients = json!({ "clients": ["web"] });
        assert!(is_good(clients.clone(), json!({ "azp": "web" })));
        assert!(is_good(clients.clone(), json!({ "client_id": "web" })));
        assert!(!is_good(clients.clone(), json!({ "azp": "else", "client_id": "web" })));
        assert!(!is_good(clients, json!({})));
        let age = json!({ "max_age_s": 100 });
        assert!(is_good(age.clone(), json!({ "iat": 999_900 })));
        assert!(!is_good(age.clone(), json!({ "iat": 999_800 })));
        assert!(!is_good(age.clone(), json!({ "iat": 1_000_100 })));
        assert!(!is_good(age, json!({})));
    }
}
