//! Detects requests that no person made in order to download the file: link previews of chat and mail programs, and
//! browsers that prefetch. These requests get a short page instead of the file, and do not count as downloads.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, REFERRER_POLICY, USER_AGENT, VARY};

/// Headers that browsers send when they prefetch: `Sec-Purpose` and its predecessors.
const PURPOSES: [&str; 4] = ["Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"];

/// Parts of the user agents, in lower case, of programs that show link previews.
const PREVIEWERS: [&str; 34] = [
    "bot/",
    "bot-",
    "bot;",
    "bot)",
    "bot ",
    "robot",
    "spider",
    "crawler",
    "facebookexternalhit",
    "facebookcatalog",
    "meta-externalagent",
    "whatsapp/",
    "skypeuripreview",
    "microsoftpreview",
    "ms-office",
    "microsoft office",
    "bingpreview",
    "slack-imgproxy",
    "google-pagerenderer",
    "googleimageproxy",
    "google-read-aloud",
    "viber",
    "vkshare",
    "embedly",
    "iframely",
    "quora link preview",
    "outbrain",
    "pinterest/",
    "mattermost",
    "rocket.chat",
    "zulipurlpreview",
    "synapse",
    "mastodon",
    "linkpreview",
];

/// Phone manufacturers whose names contain one of [`PREVIEWERS`]. Their user agents belong to people.
const NOT_PREVIEWERS: [&str; 1] = ["cubot"];

const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"robots\" content=\"noindex\">\
<title>A file</title><p>This link leads to a file. <a href=\"\">Open it</a> to download the file.</p></html>";

/// Returns `true` if a program only previews or prefetches the link.
pub(crate) fn only_looks(headers: &HeaderMap) -> bool {
    let says = |name: &str, wanted: &[&str]| {
        headers.get_all(name).filter_map(|value| value.to_str().ok()).any(|value| {
            let value = value.to_ascii_lowercase();
            wanted.iter().any(|wanted| value.contains(wanted))
        })
    };
    if PURPOSES.iter().any(|name| says(name, &["prefetch", "preview", "prerender"])) {
        return true;
    }
    says(USER_AGENT.as_str(), &PREVIEWERS) && !says(USER_AGENT.as_str(), &NOT_PREVIEWERS)
}

/// Returns the page for previews. `Vary` and `Cache-Control` prevent a browser that prefetched this page from showing
/// it instead of the file.
pub(crate) fn page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((VARY, "Sec-Purpose, Purpose, User-Agent"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .content_type("text/html; charset=utf-8")
        .body(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn looks(header: (&str, &str)) -> bool {
        only_looks(TestRequest::default().insert_header(header).to_http_request().headers())
    }

    #[test]
    fn programs_that_look_are_told_from_people() {
        for agent in [
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "TelegramBot (like TwitterBot)",
            "facebookexternalhit/1.1 Facebot Twitterbot/1.0",
            "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
            "WhatsApp/2.23.20.0 A",
            "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
            "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        ] {
            assert!(looks(("User-Agent", agent)), "{agent}");
        }
        for agent in [
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
            "AndroidDownloadManager/13 (Linux; U; Android 13; Pixel 7)",
            "Mozilla/5.0 (Linux; Android 11; CUBOT X50 Build/RP1A) Chrome/120.0 Mobile Safari/537.36",
            "curl/8.5.0",
            "Wget/1.21",
            "python-requests/2.32",
        ] {
            assert!(!looks(("User-Agent", agent)), "{agent}");
        }
        for header in [("Sec-Purpose", "prefetch;prerender"), ("Purpose", "prefetch"), ("X-Moz", "prefetch")] {
            assert!(looks(header), "{header:?}");
        }
        assert!(!looks(("Sec-Fetch-Mode", "navigate")));
    }
}
