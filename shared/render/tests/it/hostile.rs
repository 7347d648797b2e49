//! Files that are made to exhaust or mislead a decoder.

use image::{ImageFormat, RgbImage};
use std::io::Cursor;
use waybill_render::make;
use waybill_schema::PreviewFailure;

/// Returns a PNG chunk with its checksum (PNG 5.3).
pub(crate) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let checked = [kind.as_slice(), data].concat();
    let crc = checked.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1)))
    });
    [&u32::try_from(data.len()).unwrap().to_be_bytes(), checked.as_slice(), &(!crc).to_be_bytes()].concat()
}

/// Returns the beginning of a PNG that claims a size.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header), &chunk(b"IDAT", &[]), &chunk(b"IEND", &[])].concat()
}

/// Returns the beginning of a progressive JPEG that claims a size.
fn progressive_jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let [h1, h2] = height.to_be_bytes();
    let [w1, w2] = width.to_be_bytes();
    let frame = [0xff, 0xc2, 0, 17, 8, h1, h2, w1, w2, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
    let quantization = [&[0xff, 0xdb, 0, 67, 0][..], &[1; 64]].concat();
    let scan = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 0, 0, 0xff, 0xd9];
    [b"\xff\xd8".as_slice(), &quantization, &frame, &scan].concat()
}

#[test]
fn pictures_that_claim_too_many_pixels_are_refused_before_they_are_decoded() {
    let canvas = [&[0x10, 0, 0, 0][..], &16_382_u32.to_le_bytes()[..3], &16_382_u32.to_le_bytes()[..3]].concat();
    let webp = [b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0".as_slice(), &canvas].concat();
    for (name, bytes) in [("png", png_of(60_000, 60_000)), ("progressive jpeg", progressive_jpeg_of(10_000, 10_000))] {
        assert_eq!(make(bytes).unwrap_err(), PreviewFailure::TooLarge, "{name}");
    }
    assert!(make(webp).is_err());
}

#[test]
fn an_animation_of_many_pictures_costs_as_much_as_its_first_one() {
    let mut gif = b"GIF89a\x08\0\x08\0\x80\0\0\0\0\0\xff\0\0".to_vec();
    // A picture of 8 x 8 pixels of one colour, with clear codes so that the code size stays the same.
    let picture = b"\x2c\0\0\0\0\x08\0\x08\0\0\x02\x07\x84\x8f\xa9\xcb\xed\x0f\x63\0";
    for _ in 0..100_000 {
        gif.extend(picture);
    }
    gif.push(0x3b);
    let rendered = make(gif).unwrap();
    assert_eq!((rendered.facts.width, rendered.facts.height), (8, 8));
}

#[test]
fn false_headers_and_truncated_files_have_a_reason() {
    let picture = RgbImage::from_fn(500, 500, |x, y| image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 0]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
        let mut bytes = Vec::new();
        image::DynamicImage::from(picture.clone()).write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        for length in [12, 20, 100, bytes.len() / 2] {
            // A decoder may show what is there.
            let _ = make(bytes[..length].to_vec());
        }
        for other in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
            let mut head = Vec::new();
            image::DynamicImage::new_rgb8(9, 9).write_to(&mut Cursor::new(&mut head), other).unwrap();
            let mixed = [&head[..40.min(head.len())], &bytes[40..]].concat();
            let _ = make(mixed);
        }
    }
    assert_eq!(make(png_of(100, 100)).unwrap_err(), PreviewFailure::Damaged);
    assert_eq!(make(b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()).unwrap_err(), PreviewFailure::Unsupported);
    assert_eq!(make(Vec::new()).unwrap_err(), PreviewFailure::Unsupported);
    assert_eq!(make(b"%PDF-1.7 nothing".to_vec()).unwrap_err(), PreviewFailure::Damaged);
}
