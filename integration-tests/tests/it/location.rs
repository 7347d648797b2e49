//! Pictures without metadata: who gets them, and when.

use crate::previews::chunk;
use crate::sharing::Room;
use crate::socket::{next, send, with_token};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageReader, Rgb, RgbImage};
use reqwest::{Client as Http, Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Cursor;
use std::time::Duration;
use waybill_integration_tests::{Client, Options, Shape, Stack};
use waybill_schema::Sha256Digest;
use waybill_test_kit::eventually_within;

const PLACE: &[u8] = b"47.37 8.54";
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns a JPEG with a place, a name of a camera and an orientation in its metadata (Exif 3.0, 4.6), and a video after its end.
pub(crate) fn photo(number: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x02\x01\x0e\0\x02\0\0\0\x0b\0\0\0\x26\x01\x12\0\x03\0\0\0\x01\0\x06".to_vec();
    tiff.extend([0; 6]);
    tiff.extend([PLACE, b"\0"].concat());
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.set_exif_metadata(tiff).unwrap();
    let picture = RgbImage::from_fn(400, 300, |x, y| Rgb([number, x.to_le_bytes()[0], y.to_le_bytes()[0]]));
    DynamicImage::from(picture).write_with_encoder(encoder).unwrap();
    bytes.extend([b"\0\0\0\x18ftypmp42".as_slice(), PLACE].concat());
    bytes
}

/// Returns a PNG with a place in a comment.
fn png() -> Vec<u8> {
    let mut bytes = Vec::new();
    DynamicImage::new_rgb8(30, 20).write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    // After the header.
    bytes.splice(33..33, chunk(b"tEXt", &[b"Comment\0".as_slice(), PLACE].concat()));
    bytes
}

fn has_place(bytes: &[u8]) -> bool {
    bytes.windows(PLACE.len()).any(|window| window == PLACE)
}

fn pixels_and_orientation(bytes: &[u8]) -> (Vec<u8>, u8) {
    let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap().into_decoder().unwrap();
    let orientation = decoder.orientation().unwrap().to_exif();
    (DynamicImage::from_decoder(decoder).unwrap().into_rgb8().into_raw(), orientation)
}

async fn post(room: &Room, name: &str, mime_type: &str, content: Vec<u8>) -> String {
    let query = format!("name={name}&mime_type={mime_type}&chatroom_id={}", room.chatroom);
    room.anna.post_file(&query, content).await.expect(201).text("file_id")
}

async fn strip_location(room: &Room, policy: Value) {
    let set = room.admin.put(&room.path(""), &json!({ "strip_location": policy })).await.expect(200);
    assert_eq!(set.body["strip_location"], policy.as_str().unwrap_or("off"));
}

async fn read(client: &Client, method: Method, file: &str, header: Option<(&str, &str)>) -> Response {
    let mut request = client.request(method, &format!("/v1/files/{file}/content"));
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    request.send().await.unwrap()
}

/// Waits until the metadata of a file was looked at, and returns the file as the client sees it.
pub(crate) async fn looked_at(client: &Client, file: &str) -> Value {
    eventually_within(PATIENCE, &format!("the metadata of {file}"), || async {
        let answer = client.get(&format!("/v1/files/{file}")).await;
        (!answer.body["location"].is_null()).then_some(answer.body)
    })
    .await
}

async fn link(client: &Client, file: &str) -> String {
    let issued = client.post(&format!("/v1/files/{file}/tokens"), &json!({ "max_downloads": null })).await.expect(201);
    format!("{}/d/{}", client.url(), issued.text("token"))
}

/// Checks that a client gets the file without metadata by every kind of request, and returns the bytes.
async fn check_plain(client: &Client, file: &str, original: &[u8]) -> Vec<u8> {
    let shown = looked_at(client, file).await;
    assert_eq!(shown["location"], "removed");
    let answer = read(client, Method::GET, file, None).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let (etag, length) = (header("etag"), header("content-length"));
    assert_eq!(answer.status(), 200);
    let plain = answer.bytes().await.unwrap().to_vec();
    assert!(!has_place(&plain) && plain.len() < original.len());
    assert_eq!(pixels_and_orientation(&plain), pixels_and_orientation(original));
    let sha256 = Sha256Digest(Sha256::digest(&plain).into()).to_string();
    assert_eq!((&shown["hash"], &shown["size_bytes"]), (&json!(sha256), &json!(plain.len())));
    assert_eq!((etag.as_str(), length), (format!("\"{sha256}\"").as_str(), plain.len().to_string()));

    let head = read(client, Method::HEAD, file, None).await;
    assert_eq!((head.status().as_u16(), head.headers()["etag"].to_str().unwrap()), (200, etag.as_str()));
    assert_eq!(head.headers()["content-length"].to_str().unwrap(), plain.len().to_string());
    let unchanged = read(client, Method::GET, file, Some(("if-none-match", &etag))).await;
    assert_eq!(unchanged.status(), 304);
    for (from, to) in [(0, 0), (0, 25), (19, 60), (30, plain.len() - 1), (plain.len() - 5, plain.len() - 1)] {
        let part = read(client, Method::GET, file, Some(("range", &format!("bytes={from}-{to}")))).await;
        assert_eq!(part.status(), 206);
        let content_range = format!("bytes {from}-{to}/{}", plain.len());
        assert_eq!(part.headers()["content-range"].to_str().unwrap(), content_range);
        assert_eq!(part.bytes().await.unwrap(), plain[from..=to]);
    }
    plain
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_uploader_and_admins_get_the_metadata_of_pictures() {
    let args = vec!["--content-search-ms=200".to_owned()];
    let stack = Stack::with(Options { args, shape: Shape::Apart }).await;
    let room = Room::of(&stack).await;
    let earlier = post(&room, "a.jpg", "image/jpeg", photo(1)).await;
    assert_eq!(room.ben.content(&earlier).await, photo(1));

    strip_location(&room, json!("for_others")).await;
    let mut socket = with_token(stack.progress_url(), &room.ben).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("chatroom:{}", room.chatroom) })).await;
    assert_eq!(next(&mut socket).await["t"], "snap");
    let later = post(&room, "b.jpg", "image/jpeg", photo(2)).await;
    let frame = loop {
        let frame = next(&mut socket).await;
        if frame["kind"] == "LocationStripped" && frame["file_id"] == later.as_str() {
            break frame;
        }
    };
    assert_eq!(frame["location"], "removed", "{frame}");
    let plain = check_plain(&room.ben, &later, &photo(2)).await;
    // A search finds the pictures that were uploaded before the company has set its policy.
    check_plain(&room.ben, &earlier, &photo(1)).await;
    // The content counts, not the type that the client names.
    let unnamed = post(&room, "c", "application/octet-stream", photo(3)).await;
    check_plain(&room.ben, &unnamed, &photo(3)).await;
    let comment = post(&room, "d.png", "image/png", png()).await;
    check_plain(&room.ben, &comment, &png()).await;

    for client in [&room.anna, &room.admin] {
        assert_eq!(client.content(&later).await, photo(2));
        let shown = client.get(&format!("/v1/files/{later}")).await.expect(200);
        let sha256 = Sha256Digest(Sha256::digest(photo(2)).into()).to_string();
        assert_eq!((&shown.body["hash"], &shown.body["location"]), (&json!(sha256), &json!("removed")));
    }
    let listed = room.ben.get(&format!("{}&view=list&name=b.jpg", room.listing())).await.expect(200);
    assert_eq!(listed.body["items"][0]["size_bytes"], plain.len());
    let url = link(&room.anna, &later).await;
    let by_link = Http::new().get(&url).send().await.unwrap();
    assert_eq!(by_link.status(), 200, "{url}");
    assert_eq!(by_link.bytes().await.unwrap(), plain);
    room.carl.get(&format!("/v1/files/{later}/content")).await.refused(404, "not_found");

    // Kinds whose metadata cannot be removed say so, and other kinds do not wait.
    let video = post(&room, "e.mp4", "video/mp4", [b"\0\0\0\x18ftypmp42".as_slice(), PLACE].concat()).await;
    assert_eq!(looked_at(&room.ben, &video).await["location"], "unsupported");
    assert!(has_place(&room.ben.content(&video).await));
    let text = post(&room, "f.txt", "text/plain", PLACE.to_vec()).await;
    assert_eq!(room.ben.content(&text).await, PLACE);

    strip_location(&room, json!(null)).await;
    eventually_within(PATIENCE, "the originals", || async {
        (room.ben.content(&later).await == photo(2)).then_some(())
    })
    .await;
    room.admin.delete(&format!("/v1/files/{later}?purge=true")).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_the_original_while_its_metadata_is_not_removed() {
    let stack = Stack::with(Options { args: vec!["--previews=false".to_owned()], ..Options::default() }).await;
    let room = Room::of(&stack).await;
    let company = room.path("");
    stack.host().put(&company, &json!({ "strip_location": "for_others" })).await.expect(200);
    // The company can only choose the stricter policy.
    room.admin.put(&company, &json!({ "strip_location": "off" })).await.refused(422, "settings_invalid");
    room.admin.put(&company, &json!({ "strip_location": "never" })).await.refused(400, "json_invalid");
    let shown = room.admin.get(&company).await.expect(200);
    assert_eq!(
        (&shown.body["strip_location"], &shown.body["limits"]["strip_location"]),
        (&json!("for_others"), &json!("for_others"))
    );

    let file = post(&room, "a.jpg", "image/jpeg", photo(1)).await;
    assert_eq!(room.anna.content(&file).await, photo(1));
    for range in [None, Some(("range", "bytes=0-9")), Some(("accept-encoding", "zstd"))] {
        let refused = read(&room.ben, Method::GET, &file, range).await;
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(refused.status(), 409);
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "file_not_ready");
    }
    assert_eq!(read(&room.ben, Method::HEAD, &file, None).await.status(), 409);
    assert_eq!(Http::new().get(link(&room.anna, &file).await).send().await.unwrap().status(), 409);
    let text = post(&room, "b.txt", "text/plain", PLACE.to_vec()).await;
    assert_eq!(room.ben.content(&text).await, PLACE);
    stack.finish().await;
}
