//! Origins and preflight requests of browsers.

use reqwest::{Client as Http, Method};
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a13_a_socket_is_open_to_pages_of_its_own_origin() {
    let stack = Stack::start().await;
    let client = stack.client();
    let connect = async |origin: String| {
        let request = client.request(Method::GET, "/v1/progress").header("Origin", origin);
        let request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
        let request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Protocol", "waybill.v1");
        request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").send().await.unwrap().status().as_u16()
    };
    assert_eq!(connect(stack.url().to_owned()).await, 101);
    assert_eq!(connect("https://app.example".to_owned()).await, 101, "the configured origin is refused");
    assert_eq!(connect("https://evil.example".to_owned()).await, 403);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_preflights_allow_whatever_header_a_page_has_and_answers_show_theirs() {
    let stack = Stack::start().await;
    for (path, method, headers) in [
        ("/tus/", "POST", "authorization,baggage,sentry-trace,tus-resumable,upload-length"),
        ("/v1/files", "POST", "traceparent,tracestate,x-datadog-trace-id,idempotency-key"),
        ("/v1/files/a/content", "GET", "if-range,range,if-none-match,cache-control,x-something-of-tomorrow"),
        ("/v1/progress/tickets", "POST", "authorization,traceparent"),
    ] {
        let ask = async |origin: &str| {
            let request = Http::new().request(Method::OPTIONS, format!("{}{path}", stack.url()));
            let request = request.header("Origin", origin).header("Access-Control-Request-Method", method);
            request.header("Access-Control-Request-Headers", headers).send().await.unwrap()
        };
        let answer = ask("https://app.example").await;
        assert!(answer.status().is_success(), "{path}");
        let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
        for header in headers.split(',') {
            assert!(allowed.split(',').any(|allowed| allowed.trim() == header), "{header} of {path}: {allowed}");
        }
        assert!(!ask("https://evil.example").await.headers().contains_key("access-control-allow-origin"));
    }
    let request = Http::new().get(format!("{}/v1/files", stack.url())).header("Origin", "https://app.example");
    let answer = request.send().await.unwrap();
    let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_ascii_lowercase();
    for header in ["content-range", "content-disposition", "retry-after", "waybill-position", "upload-limit", "etag"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == header), "{header}: {exposed}");
    }
    stack.finish().await;
}
