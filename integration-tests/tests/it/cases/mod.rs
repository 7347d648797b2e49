//! Problems that users of other upload backends reported, and requests of published clients that failed. Each test is
//! named after its case. `browser_pages` and `field_clients` have the cases of browsers and of clients in other
//! languages, and `corpus` has kinds of files.

mod bodies;
mod browsers;
mod downloads;
mod names_and_types;
mod resumption;
mod uppy;

use reqwest::{Client as Http, Response};
use waybill_integration_tests::Stack;

const MIB: usize = 1_024 * 1_024;

async fn get(stack: &Stack, link: &str, headers: &[(&str, &str)]) -> Response {
    let request = Http::new().get(format!("{}{link}", stack.url()));
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}
