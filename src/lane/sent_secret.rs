//! The secret of digests of keys on its way to a statement: a parameter; or, for a lane with values that this program transforms,
//! the row of a temporary table, by COPY. The server may log parameters, and digests beside them: whoever has both can try keys.

use tokio_postgres::{Client, Error};

use super::Lane;
use crate::lifecycle::Secret;
use crate::pg::Ident;
use crate::pg::copy::CopyRows;

/// Has a temporary table of `client` hold the secret of the lane with this number.
pub(super) async fn send(
    client: &Client,
    (number, secret): (usize, &Secret),
    owner: &Ident,
) -> Result<(), Error> {
    let table = table(number);
    let make = format!(
        "DROP TABLE IF EXISTS {table}; CREATE TEMP TABLE projh_secret_{number} (secret text); \
         GRANT SELECT ON {table} TO {owner}"
    );
    client.batch_execute(&make).await?;
    let row = CopyRows::of([Some(secret.key().as_bytes())].into_iter());
    row.send(client, &format!("COPY {table} FROM STDIN (FORMAT binary)")).await.map(drop)
}

/// SQL for the secret that [`send`] has sent.
pub(super) fn sent(number: usize) -> String {
    format!("(SELECT secret FROM {})", table(number))
}

fn table(number: usize) -> String {
    format!("pg_temp.projh_secret_{number}")
}

impl Lane {
    /// SQL for the secret: `$2`, or what [`Lane::send_secret`] has sent.
    pub(super) fn secret_sql(&self) -> String {
        if self.is_transformed() { sent(self.number) } else { "$2::text".to_owned() }
    }

    /// The second parameter of a statement with [`Lane::secret_sql`], if it has one.
    pub(super) fn secret_parameter(&self) -> Option<&str> {
        (!self.is_transformed()).then(|| self.secret.key())
    }

    /// The number of the first parameter after it.
    pub(super) fn after_secret(&self) -> usize {
        if self.is_transformed() { 2 } else { 3 }
    }

    /// Sends the secret, if it is no parameter, for all transactions on `client` from here on.
    pub(super) async fn send_secret(&self, client: &Client) -> Result<(), Error> {
        match self.is_transformed() {
            true => send(client, (self.number, &self.secret), &self.owner).await,
            false => Ok(()),
        }
    }
}
