//! Settings of listeners that depend on each other.

use crate::CommandError;
use waybill_gateway::{GatewaySettings, HostListener};
use waybill_service_kit::Tls;

/// Returns the listener for the host product, if it has one. `tls` has the certificate of the listener for users.
pub(crate) fn of_host(settings: &GatewaySettings, tls: Option<Tls>) -> Result<Option<HostListener>, CommandError> {
    let tls = match (&settings.host_client_ca_file, settings.host_addr, tls) {
        (None, _, tls) => tls,
        (Some(authorities), Some(_), Some(tls)) => Some(tls.requiring_clients_of(authorities)?),
        (Some(_), _, _) => {
            return Err("WAYBILL_HOST_CLIENT_CA_FILE also needs WAYBILL_HOST_ADDR, WAYBILL_TLS_CERT_FILE and \
                        WAYBILL_TLS_KEY_FILE"
                .into());
        }
    };
    Ok(settings.host_addr.map(|addr| HostListener { addr, tls }))
}
