//! Pictures without metadata: what remains, and what is gone.

use crate::hostile::chunk;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Rgb, RgbImage};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::io::Cursor;
use waybill_domain::location::is_plausible;
use waybill_render::strip;
use waybill_schema::{Piece, PlainForm, Stripped};

const SECRET: &[u8] = b"47.37 8.54";

fn picture() -> DynamicImage {
    RgbImage::from_fn(64, 48, |x, y| Rgb([x.to_le_bytes()[0] * 4, y.to_le_bytes()[0] * 5, 7])).into()
}

/// Returns EXIF with an orientation and a description (Exif 3.0, 4.6).
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x02\x01\x0e\0\x02\0\0\0\x0b\0\0\0\x26\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    tiff.extend([SECRET, b"\0"].concat());
    tiff
}

fn encoded(format: ImageFormat, orientation: u8) -> Vec<u8> {
    fn write(mut encoder: impl ImageEncoder, orientation: u8) {
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.set_icc_profile(b"a profile".to_vec()).unwrap();
        picture().write_with_encoder(encoder).unwrap();
    }
    let mut bytes = Vec::new();
    match format {
        ImageFormat::Jpeg => write(JpegEncoder::new_with_quality(&mut bytes, 90), orientation),
        ImageFormat::Png => write(PngEncoder::new(&mut bytes), orientation),
        _ => write(WebPEncoder::new_lossless(&mut bytes), orientation),
    }
    bytes
}

/// Returns a segment of a JPEG.
fn segment(code: u8, parameters: &[u8]) -> Vec<u8> {
    let length = u16::try_from(parameters.len() + 2).unwrap().to_be_bytes();
    [&[0xff, code], &length[..], parameters].concat()
}

fn put_in(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn applied(form: &PlainForm, original: &[u8]) -> Vec<u8> {
    let part = |piece: &Piece| match piece {
        Piece::Bytes(bytes) => bytes.clone(),
        Piece::Original(range) => original[range.from as usize..range.to as usize].to_vec(),
    };
    form.pieces.iter().flat_map(part).collect()
}

/// Strips a picture and checks what must always be true.
fn stripped(original: &[u8]) -> Option<Vec<u8>> {
    let Stripped::Removed(form) = strip(original) else { return None };
    assert!(is_plausible(&form, original.len() as u64));
    let bytes = applied(&form, original);
    assert_eq!(bytes.len() as u64, form.size_bytes);
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&bytes)), form.sha256.0);
    assert_eq!(strip(&bytes), Stripped::Absent, "stripping twice has an effect");
    Some(bytes)
}

struct Seen {
    orientation: u8,
    profile: Option<Vec<u8>>,
    pixels: Vec<u8>,
}

fn seen(bytes: &[u8]) -> Seen {
    let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap().into_decoder().unwrap();
    let orientation = decoder.orientation().unwrap().to_exif();
    let profile = decoder.icc_profile().unwrap();
    Seen { orientation, profile, pixels: DynamicImage::from_decoder(decoder).unwrap().into_rgb8().into_raw() }
}

#[test]
fn pixels_colours_and_orientation_remain_and_everything_else_is_gone() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        for orientation in 1..=8 {
            let mut original = encoded(format, orientation);
            match format {
                ImageFormat::Jpeg => {
                    let xmp = [b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat();
                    let more =
                        [segment(0xe1, &xmp), segment(0xed, SECRET), segment(0xfe, SECRET), segment(0xe2, SECRET)];
                    put_in(&mut original, 20, &more.concat());
                    // The video of a camera.
                    original.extend([b"\0\0\0\x18ftypmp42".as_slice(), SECRET].concat());
                }
                ImageFormat::Png => {
                    let more = [chunk(b"tEXt", SECRET), chunk(b"iTXt", SECRET), chunk(b"prVt", SECRET)].concat();
                    put_in(&mut original, 33, &more);
                    original.extend(SECRET);
                }
                _ => {
                    let more = [b"XMP \x0a\0\0\0", SECRET].concat();
                    original.extend(&more);
                    let size = u32::try_from(original.len() - 8).unwrap();
                    original[4..8].copy_from_slice(&size.to_le_bytes());
                    original.extend(SECRET);
                }
            }
            assert!(has(&original, SECRET));
            let plain = stripped(&original).unwrap();
            assert!(!has(&plain, SECRET), "{format:?} {orientation}");
            let (before, after) = (seen(&original), seen(&plain));
            assert_eq!(before.orientation, orientation, "{format:?}");
            assert_eq!(after.orientation, orientation, "{format:?}");
            assert_eq!(before.profile, after.profile, "{format:?} {orientation}");
            assert!(after.profile.is_some() && before.pixels == after.pixels, "{format:?} {orientation}");
        }
    }
}

#[test]
fn the_first_orientation_counts() {
    for (first, second) in [(1, 6), (6, 1), (3, 6)] {
        let mut original = encoded(ImageFormat::Jpeg, second);
        put_in(&mut original, 20, &segment(0xe1, &[b"Exif\0\0".as_slice(), &exif(first)].concat()));
        assert_eq!(seen(&stripped(&original).unwrap()).orientation, first);
    }
}

#[test]
fn bytes_between_segments_are_left_out() {
    let mut original = encoded(ImageFormat::Jpeg, 6);
    let table = original.windows(2).position(|two| two == b"\xff\xdb").unwrap();
    put_in(&mut original, table, b"\0stray\xff\0");
    let plain = stripped(&original).unwrap();
    assert!(!has(&plain, SECRET) && !has(&plain, b"stray"));
    assert!(seen(&plain).pixels == seen(&encoded(ImageFormat::Jpeg, 6)).pixels);
}

#[test]
fn a_picture_without_metadata_stays_as_it_is() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let mut bytes = Vec::new();
        picture().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        assert_eq!(strip(&bytes), Stripped::Absent, "{format:?}");
    }
}

#[test]
fn other_kinds_and_files_without_a_picture_are_not_supported() {
    let mut gif = Vec::new();
    picture().write_to(&mut Cursor::new(&mut gif), ImageFormat::Gif).unwrap();
    let jpeg = encoded(ImageFormat::Jpeg, 1);
    let webp = encoded(ImageFormat::WebP, 1);
    for bytes in
        [gif.as_slice(), b"", b"%PDF-1.7", &jpeg[..40], &webp[..20], b"\xff\xd8\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]
    {
        assert_eq!(strip(bytes), Stripped::Unsupported);
    }
    // A picture that ends too early is shown as far as it goes, and so it is served.
    let cut = &jpeg[..jpeg.len() - 100];
    assert!(!has(&stripped(cut).unwrap(), SECRET));
}

proptest! {
    #[test]
    fn damaged_pictures_never_have_an_implausible_form(
        kind in 0..3_usize, at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..40), cut in any::<prop::sample::Index>()
    ) {
        let format = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP][kind];
        let mut original = encoded(format, 6);
        let at = at.index(original.len());
        for (old, new) in original[at..].iter_mut().zip(&bytes) {
            *old = *new;
        }
        original.truncate(cut.index(original.len() * 3));
        if let Stripped::Removed(form) = strip(&original) {
            prop_assert!(is_plausible(&form, original.len() as u64));
            let plain = applied(&form, &original);
            prop_assert_eq!(plain.len() as u64, form.size_bytes);
            prop_assert_eq!(<[u8; 32]>::from(Sha256::digest(&plain)), form.sha256.0);
        }
    }
}
