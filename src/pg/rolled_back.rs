use tokio_postgres::{Client, Error};

/// Runs `work` in a transaction that is always rolled back; `begin` opens it. None may be open on `client`.
///
/// The outer error is that of `begin` or of the rollback, the inner one that of the work. Several of them side by side
/// have to be awaited to the end (`join_all`): one that is dropped half-way leaves its transaction open.
pub async fn rolled_back<T, E>(
    client: &Client,
    begin: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<Result<T, E>, Error> {
    if let Err(error) = client.batch_execute(begin).await {
        // A part of it may have begun one. The error is what counts.
        let _ = client.batch_execute("ROLLBACK").await;
        return Err(error);
    }
    let done = work.await;
    client.batch_execute("ROLLBACK").await?;
    Ok(done)
}
