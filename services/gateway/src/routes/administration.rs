//! Extractor for the routes of the host product: the company in the path, and the permission to manage it.

use crate::application::administration::{Administration, administer};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use waybill_http_kit::{Principal, Problem, RequestId};

impl FromRequest for Administration {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (principal, id) = (Principal::from_request(request, payload), RequestId::extract(request));
        let company = request.match_info().get("company").unwrap_or_default().to_owned();
        async move {
            let (principal, id) = (principal.await?, id.await.map_err(|_| Problem::internal())?);
            administer(&principal, id, &company)
        }
        .boxed_local()
    }
}
