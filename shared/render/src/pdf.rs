//! Previews of the first page of PDF documents.

use crate::answer::Answer;
use crate::picture::of_picture;
use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::{LoadPdfError, Pdf};
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings, render};
use image::RgbImage;
use waybill_schema::{PreviewFacts, PreviewFailure, Variant};

/// Number of bytes at the beginning in which viewers look for the header.
const HEADER_WITHIN: usize = 1_024;
/// Longest side of a page in points. Viewers accept pages of 200 inches, and larger units.
const SIDE_MAX: f32 = 1_000_000.0;

pub(crate) fn is_pdf(bytes: &[u8]) -> bool {
    let beginning = bytes.get(..HEADER_WITHIN).unwrap_or(bytes);
    beginning.windows(5).any(|window| window == b"%PDF-")
}

pub(crate) fn make(bytes: Vec<u8>) -> Answer {
    let pdf = Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(_) => PreviewFailure::Unsupported,
        LoadPdfError::Invalid => PreviewFailure::Damaged,
    })?;
    let pages = pdf.pages();
    let page = pages.first().ok_or(PreviewFailure::Damaged)?;
    let (width, height) = page.render_dimensions();
    // Also refuses what is not a number.
    if !(width >= 1.0 && height >= 1.0 && width.max(height) <= SIDE_MAX) {
        return Err(PreviewFailure::Unsupported);
    }
    // A thousandth more, because the renderer rounds down. No side is shorter than a pixel.
    let scale = (longest_side() + 0.001) / width.max(height);
    let (x_scale, y_scale) = (scale.max(1.0 / width), scale.max(1.0 / height));
    let settings = PixmapSettings { x_scale, y_scale, bg_color: WHITE };
    let cache = RenderCache::new();
    let pixmap = render(page, &cache, &InterpreterSettings::default(), &RenderSettings::default(), &settings);
    let (pixels_x, pixels_y) = (u32::from(pixmap.width()), u32::from(pixmap.height()));
    // The background is opaque, so that no pixel is transparent.
    let raw = pixmap.data_as_u8_slice().chunks_exact(4).flat_map(|pixel| pixel.iter().take(3)).copied().collect();
    let picture = RgbImage::from_raw(pixels_x, pixels_y, raw).ok_or(PreviewFailure::Failed)?;
    let page_count = u32::try_from(pages.len()).ok();
    let facts = PreviewFacts { width: points(width), height: points(height), page_count, duration_ms: None };
    of_picture(&picture.into(), facts)
}

fn longest_side() -> f32 {
    // Both sides of the conversion are exact for the lengths of variants.
    u16::try_from(Variant::Preview1024.longest_side()).map_or(0.0, f32::from)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the side is between 1 and SIDE_MAX")]
fn points(side: f32) -> u32 {
    side.round() as u32
}
