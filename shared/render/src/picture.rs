//! Previews of pictures: PNG, JPEG, WebP and GIF. Of an animation, the first picture.

use crate::answer::{Answer, Format, Picture, Rendered};
use crate::limits::{DECODER_MAX_BYTES, PIXELS_MAX};
use fast_image_resize::{ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage};
use moxcms::{ColorProfile, Layout, TransformOptions};
use std::io::Cursor;
use waybill_schema::{PreviewFacts, PreviewFailure, Variant};

/// Quality of JPEG previews, from 1 to 100.
const JPEG_QUALITY: u8 = 80;
/// Longest side in pixels of the picture from which a ThumbHash is calculated.
const THUMBHASH_SIDE: u32 = 100;

/// Returns the format of a supported picture.
pub(crate) fn format_of(bytes: &[u8]) -> Option<ImageFormat> {
    let supported = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif];
    image::guess_format(bytes).ok().filter(|format| supported.contains(format))
}

pub(crate) fn make(bytes: &[u8], format: ImageFormat) -> Answer {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODER_MAX_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failure)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(PreviewFailure::TooLarge);
    }
    // Other layouts than these are converted, so that the picture is in memory twice.
    let is_plain = matches!(decoder.color_type(), ColorType::Rgb8 | ColorType::Rgba8);
    let converted = if is_plain { 0 } else { u64::from(width) * u64::from(height) * 4 };
    if decoder.total_bytes().saturating_add(converted) > DECODER_MAX_BYTES {
        return Err(PreviewFailure::LimitsExceeded);
    }
    // Damaged metadata does not make a picture unusable.
    let orientation = decoder.orientation().ok();
    let profile = decoder.icc_profile().ok().flatten();
    let whole = DynamicImage::from_decoder(decoder).map_err(failure)?;
    let mut picture = in_srgb(fit(&eight_bits(whole), Variant::Preview1024.longest_side())?, profile.as_deref());
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    // Orientations 5 to 8 exchange width and height (Exif 3.0, 4.6.5.1.6).
    let is_turned = orientation.is_some_and(|orientation| orientation.to_exif() > 4);
    let (width, height) = if is_turned { (height, width) } else { (width, height) };
    of_picture(&picture, PreviewFacts { width, height, page_count: None, duration_ms: None })
}

/// Returns the previews of a picture that is at most as large as the largest variant.
pub(crate) fn of_picture(picture: &DynamicImage, facts: PreviewFacts) -> Answer {
    let encoded = Variant::ALL.into_iter().map(|variant| encode(variant, &fit(picture, variant.longest_side())?));
    let pictures = encoded.collect::<Result<_, PreviewFailure>>()?;
    let tiny = fit(picture, THUMBHASH_SIDE)?.into_rgba8();
    let side = |length: u32| usize::try_from(length).unwrap_or(0);
    let thumbhash = thumbhash::rgba_to_thumb_hash(side(tiny.width()), side(tiny.height()), tiny.as_raw());
    Ok(Rendered { facts, thumbhash, pictures })
}

/// Converts an error of a decoder.
fn failure(error: ImageError) -> PreviewFailure {
    match error {
        ImageError::Unsupported(_) => PreviewFailure::Unsupported,
        ImageError::Limits(_) => PreviewFailure::LimitsExceeded,
        ImageError::Decoding(_) | ImageError::Encoding(_) | ImageError::Parameter(_) | ImageError::IoError(_) => {
            PreviewFailure::Damaged
        }
    }
}

/// Converts a picture to eight bits per channel, in RGB or, if it can be transparent, in RGBA.
fn eight_bits(picture: DynamicImage) -> DynamicImage {
    match picture {
        picture @ (DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_)) => picture,
        picture if picture.color().has_alpha() => picture.into_rgba8().into(),
        picture => picture.into_rgb8().into(),
    }
}

/// Reduces a picture so that its longer side has at most `longest` pixels. Each side keeps at least one pixel.
fn fit(picture: &DynamicImage, longest: u32) -> Result<DynamicImage, PreviewFailure> {
    let (width, height) = (picture.width(), picture.height());
    let longer = width.max(height);
    if longer <= longest {
        return Ok(picture.clone());
    }
    let scaled = |side: u32| {
        let rounded = (u64::from(side) * u64::from(longest) + u64::from(longer) / 2) / u64::from(longer);
        u32::try_from(rounded).unwrap_or(longest).max(1)
    };
    let has_alpha = picture.color().has_alpha();
    let mut small = DynamicImage::new(scaled(width), scaled(height), picture.color());
    let resized = Resizer::new().resize(picture, &mut small, &ResizeOptions::new().use_alpha(has_alpha));
    resized.map_err(|_| PreviewFailure::Unsupported)?;
    Ok(small)
}

/// Converts the colours of a picture to sRGB. A profile that cannot be used is ignored, as viewers do.
fn in_srgb(picture: DynamicImage, profile: Option<&[u8]>) -> DynamicImage {
    let Some(profile) = profile.and_then(|profile| ColorProfile::new_from_slice(profile).ok()) else { return picture };
    let converted = match &picture {
        DynamicImage::ImageRgb8(rgb) => converted(&profile, Layout::Rgb, rgb)
            .and_then(|raw| RgbImage::from_raw(rgb.width(), rgb.height(), raw))
            .map(Into::into),
        DynamicImage::ImageRgba8(rgba) => converted(&profile, Layout::Rgba, rgba)
            .and_then(|raw| RgbaImage::from_raw(rgba.width(), rgba.height(), raw))
            .map(Into::into),
        _ => None,
    };
    converted.unwrap_or(picture)
}

fn converted(profile: &ColorProfile, layout: Layout, raw: &[u8]) -> Option<Vec<u8>> {
    let srgb = ColorProfile::new_srgb();
    let transform = profile.create_transform_8bit(layout, &srgb, layout, TransformOptions::default()).ok()?;
    let mut converted = vec![0; raw.len()];
    transform.transform(raw, &mut converted).ok()?;
    Some(converted)
}

/// Encodes a picture as JPEG, or as PNG if it has a pixel that is not opaque.
fn encode(variant: Variant, picture: &DynamicImage) -> Result<Picture, PreviewFailure> {
    let (width, height) = (picture.width(), picture.height());
    let is_transparent = match picture {
        DynamicImage::ImageRgba8(rgba) => rgba.pixels().any(|pixel| pixel.0[3] != u8::MAX),
        _ => false,
    };
    let mut bytes = Vec::new();
    let (format, written) = if is_transparent {
        (Format::Png, picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png))
    } else {
        let rgb = picture.to_rgb8();
        (Format::Jpeg, JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(&rgb))
    };
    written.map_err(|_| PreviewFailure::Failed)?;
    Ok(Picture { variant, format, width, height, bytes })
}
