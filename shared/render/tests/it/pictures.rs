//! Previews of ordinary pictures and documents.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::io::Cursor;
use waybill_render::{Format, Rendered, make};
use waybill_schema::Variant;

/// Returns a picture whose left half is red and whose right half is blue, with a green strip at the top.
fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| match (x < width / 2, y < height / 8) {
        (_, true) => Rgb([0, 160, 0]),
        (true, false) => Rgb([200, 0, 0]),
        (false, false) => Rgb([0, 0, 200]),
    })
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// Returns an EXIF block with an orientation, and a text that must not be in a preview.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x02".to_vec();
    tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    tiff.extend([0x01, 0x0e, 0, 2, 0, 0, 0, 9, 0, 0, 0, 38, 0, 0, 0, 0]);
    tiff.extend(b"secretly\0");
    tiff
}

fn decoded(rendered: &Rendered, variant: Variant) -> RgbImage {
    let picture = rendered.pictures.iter().find(|picture| picture.variant == variant).unwrap();
    let decoded = image::load_from_memory(&picture.bytes).unwrap();
    assert_eq!((decoded.width(), decoded.height()), (picture.width, picture.height));
    decoded.into_rgb8()
}

fn is_near(one: Rgb<u8>, other: Rgb<u8>) -> bool {
    one.0.into_iter().zip(other.0).all(|(one, other)| one.abs_diff(other) < 24)
}

#[test]
fn every_kind_of_picture_has_two_previews_of_fixed_size() {
    let flag = flag(2_000, 1_000);
    let gray = DynamicImage::from(flag.clone()).into_luma16();
    for (name, bytes) in [
        ("png", encoded(flag.clone(), ImageFormat::Png)),
        ("jpeg", encoded(flag.clone(), ImageFormat::Jpeg)),
        ("webp", encoded(flag.clone(), ImageFormat::WebP)),
        ("gif", encoded(flag.clone(), ImageFormat::Gif)),
        ("gray png with 16 bits", encoded(gray, ImageFormat::Png)),
    ] {
        let rendered = make(bytes).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let sizes: Vec<(u32, u32)> = rendered.pictures.iter().map(|picture| (picture.width, picture.height)).collect();
        assert_eq!(sizes, [(256, 128), (1_024, 512)], "{name}");
        assert!(rendered.pictures.iter().all(|picture| picture.format == Format::Jpeg), "{name}");
        assert_eq!((rendered.facts.width, rendered.facts.height), (2_000, 1_000), "{name}");
        assert!(rendered.is_plausible(), "{name}");
        assert!((16..32).contains(&rendered.thumbhash.len()), "{name}: {}", rendered.thumbhash.len());
        if !name.starts_with("gray") {
            let small = decoded(&rendered, Variant::Preview256);
            assert!(is_near(*small.get_pixel(60, 100), Rgb([200, 0, 0])), "{name}");
            assert!(is_near(*small.get_pixel(200, 100), Rgb([0, 0, 200])), "{name}");
        }
    }
}

#[test]
fn small_and_narrow_pictures_are_not_enlarged() {
    let sizes = |width, height| -> Vec<(u32, u32)> {
        let rendered = make(encoded(flag(width, height), ImageFormat::Png)).unwrap();
        rendered.pictures.iter().map(|picture| (picture.width, picture.height)).collect()
    };
    assert_eq!(sizes(1, 1), [(1, 1), (1, 1)]);
    assert_eq!(sizes(300, 10), [(256, 9), (300, 10)]);
    assert_eq!(sizes(1, 30_000), [(1, 256), (1, 1_024)]);
}

#[test]
fn previews_have_the_orientation_and_no_metadata() {
    for orientation in 1..=8 {
        let (width, height) = if orientation > 4 { (600, 1_200) } else { (1_200, 600) };
        let mut shown = DynamicImage::from(flag(1_200, 600));
        // The stored picture is the shown one with the inverse of the orientation.
        let inverse = match orientation {
            6 => 8,
            8 => 6,
            other => other,
        };
        shown.apply_orientation(image::metadata::Orientation::from_exif(inverse).unwrap());
        assert_eq!((shown.width(), shown.height()), (width, height));
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        shown.write_with_encoder(encoder).unwrap();
        assert!(bytes.windows(8).any(|window| window == b"secretly"));

        let rendered = make(bytes).unwrap();
        assert_eq!((rendered.facts.width, rendered.facts.height), (1_200, 600), "{orientation}");
        for picture in &rendered.pictures {
            for forbidden in [b"secretly".as_slice(), b"Exif", b"ICC_PROFILE", b"http://ns.adobe.com"] {
                assert!(!picture.bytes.windows(forbidden.len()).any(|window| window == forbidden));
            }
        }
        let small = decoded(&rendered, Variant::Preview256);
        assert_eq!((small.width(), small.height()), (256, 128), "{orientation}");
        assert!(is_near(*small.get_pixel(128, 4), Rgb([0, 160, 0])), "{orientation}");
        assert!(is_near(*small.get_pixel(40, 100), Rgb([200, 0, 0])), "{orientation}");
        assert!(is_near(*small.get_pixel(220, 100), Rgb([0, 0, 200])), "{orientation}");
    }
}

#[test]
fn transparent_pictures_stay_transparent_without_dark_edges() {
    // The transparent half is black, as editors leave it.
    let logo = RgbaImage::from_fn(2_000, 2_000, |x, y| match (x / 500 + y / 500) % 2 == 0 {
        true => Rgba([255, 255, 255, 255]),
        false => Rgba([0, 0, 0, 0]),
    });
    let rendered = make(encoded(logo, ImageFormat::Png)).unwrap();
    for picture in &rendered.pictures {
        assert_eq!(picture.format, Format::Png);
        let shown = image::load_from_memory(&picture.bytes).unwrap().into_rgba8();
        assert!(shown.pixels().any(|pixel| pixel.0[3] == 0));
        let dark = shown.pixels().find(|pixel| pixel.0[3] > 16 && pixel.0[0] < 230);
        assert_eq!(dark, None);
    }
}

#[test]
fn colours_are_those_of_the_profile() {
    // In a wider colour space, the same numbers mean stronger colours.
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(profile).unwrap();
    DynamicImage::from(RgbImage::from_pixel(400, 400, Rgb([120, 200, 120]))).write_with_encoder(encoder).unwrap();
    let pixel = *decoded(&make(bytes).unwrap(), Variant::Preview256).get_pixel(100, 100);
    assert!(pixel.0[0] < 105 && pixel.0[1] > 195, "{pixel:?}");
}

#[test]
fn the_first_page_of_a_document_is_shown() {
    let content = "1 0 0 rg 0 0 100 200 re f 0 g BT /F1 24 Tf 110 100 Td (Hello) Tj ET";
    let mut pdf = b"%PDF-1.4\n".to_vec();
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R 6 0 R] /Count 2 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 10 10] >>".to_owned(),
    ];
    for (number, object) in objects.iter().enumerate() {
        pdf.extend(format!("{} 0 obj\n{object}\nendobj\n", number + 1).into_bytes());
    }
    pdf.extend(b"trailer << /Root 1 0 R >>\n%%EOF");
    let rendered = make(pdf).unwrap();
    let facts = rendered.facts;
    assert_eq!((facts.width, facts.height, facts.page_count), (200, 200, Some(2)));
    let large = decoded(&rendered, Variant::Preview1024);
    assert_eq!((large.width(), large.height()), (1_024, 1_024));
    assert!(is_near(*large.get_pixel(200, 500), Rgb([255, 0, 0])));
    assert!(is_near(*large.get_pixel(900, 900), Rgb([255, 255, 255])));
    let text = large.enumerate_pixels().filter(|(x, _, pixel)| *x > 520 && is_near(**pixel, Rgb([0, 0, 0]))).count();
    assert!(text > 500, "{text} black pixels");
}

#[test]
fn an_answer_of_a_program_that_was_taken_over_is_not_plausible() {
    let good = make(encoded(flag(2_000, 1_000), ImageFormat::Png)).unwrap();
    assert!(good.is_plausible());
    let changes: [fn(&mut Rendered); 9] = [
        |it| it.pictures.clear(),
        |it| it.pictures.reverse(),
        |it| it.pictures.push(it.pictures[0].clone()),
        |it| it.pictures[0].width = 257,
        |it| it.pictures[0].height = 0,
        |it| it.pictures[1].bytes = b"<script>".to_vec(),
        |it| it.pictures[1].format = Format::Png,
        |it| it.thumbhash = vec![0; 1_000],
        |it| it.facts.width = u32::MAX,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = good.clone();
        change(&mut changed);
        assert!(!changed.is_plausible(), "{number}");
    }
}
