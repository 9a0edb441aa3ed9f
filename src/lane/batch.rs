//! Rows in batches of bounded size, so that one batch is worked on, on a thread of its own, while the next one is read.

use futures_util::TryStreamExt as _;
use futures_util::stream::FusedStream;

/// A batch has this many bytes, and as many more as its last row has.
pub(super) const BATCH_BYTES: usize = 128 << 10;

/// The next rows; none at the end.
///
/// # Errors
/// If the stream has one instead of a row.
pub(super) async fn next<T, E>(
    rows: &mut (impl FusedStream<Item = Result<T, E>> + Unpin),
    size: impl Fn(&T) -> usize,
) -> Result<Vec<T>, E> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES
        && let Some(row) = rows.try_next().await?
    {
        bytes += size(&row);
        batch.push(row);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::stream::iter;

    #[tokio::test]
    async fn a_batch_is_bounded_by_bytes_and_the_last_one_is_empty() {
        let mut rows = iter([100_000, 40_000, 1, 200_000].map(Ok::<usize, ()>)).fuse();
        let mut sizes = Vec::new();
        loop {
            let batch = super::next(&mut rows, |size| *size).await.unwrap();
            if batch.is_empty() {
                break;
            }
            sizes.push(batch);
        }
        assert_eq!(sizes, [vec![100_000, 40_000], vec![1, 200_000]]);
    }
}
