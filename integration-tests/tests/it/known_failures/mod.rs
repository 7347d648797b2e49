//! Regression tests for failures that other upload servers had. Each test provokes one of them.

mod limits;
mod locks;
mod offsets;

use crate::speaker::Speaker;

const MIB: usize = 1_024 * 1_024;
const PART: usize = 8 * MIB;

async fn offset(tus: &Speaker, upload: &str) -> usize {
    tus.head(upload).await.expect(200).header("Upload-Offset").unwrap().parse().unwrap()
}
