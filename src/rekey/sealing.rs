//! Values of a batch, opened and encrypted again on all processors that the plan gives, and what was written, opened once more.

use std::thread;

use zeroize::{Zeroize as _, Zeroizing};

use super::batch::{Batch, Field, RowRead};
use super::{Target, Work};
use crate::crypto::{self, Mac};
use crate::error::Error;
use crate::phi::{Identity, Keyring, Opener, Refused, Sealer};

/// A digest of a plaintext, under a secret of this process.
pub(super) type Digest = [u8; 32];

/// What opens and encrypts, once for each thread.
pub(super) struct Sealing {
    threads: Vec<Thread>,
}

struct Thread {
    opener: Opener,
    columns: Vec<Column>,
    mac: Mac,
    plain: Zeroizing<Vec<u8>>,
}

struct Column {
    target: Target,
    sealer: Sealer,
    identity: Identity,
}

impl Sealing {
    pub(super) fn new(work: &Work, keyring: &Keyring, workers: usize) -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; 32]);
        crypto::fill(&mut *secret).map_err(|_| Error::Bug("the system gives no random bytes"))?;
        let mac = Mac::new(&*secret).ok_or(Error::Bug("32 bytes are no key of an HMAC"))?;
        let table = work.name();
        let thread = || {
            let columns = work.columns.iter().map(|target| {
                let key = keyring.get(target.key).ok_or(Error::Bug("a key was not loaded"))?;
                let identity = Identity::of_column(&table, target.name.as_str());
                Ok(Column { target: target.clone(), sealer: Sealer::new(target.format, key), identity })
            });
            Ok(Thread {
                opener: Opener::new(keyring),
                columns: columns.collect::<Result<_, Error>>()?,
                mac: mac.clone(),
                plain: Zeroizing::default(),
            })
        };
        let count = thread::available_parallelism().map_or(1, usize::from).min(workers).max(1);
        let threads = (0..count).map(|_| thread()).collect::<Result<_, Error>>()?;
        Ok(Self { threads })
    }

    /// Encrypts the values of a batch again that have to be.
    pub(super) fn seal(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let each = batch.rows.len().div_ceil(self.threads.len()).max(1);
        tokio::task::block_in_place(|| {
            thread::scope(|scope| {
                let parts = batch.rows.chunks_mut(each).zip(&mut self.threads);
                let running: Vec<_> = parts
                    .map(|(rows, thread)| scope.spawn(|| rows.iter_mut().for_each(|row| thread.seal(row))))
                    .collect();
                running.into_iter().try_for_each(|part| part.join())
            })
        })
        .map_err(|_| Error::Bug("a thread that encrypts has panicked"))
    }

    /// Whether what the server has now is the value that was encrypted, under the column's key.
    pub(super) fn is_written(&mut self, row: &RowRead, number: usize, value: &[u8], digest: &Digest) -> bool {
        self.threads.first_mut().is_some_and(|thread| thread.is_written(row, number, value, digest))
    }
}

impl Thread {
    fn seal(&mut self, row: &mut RowRead) {
        let Self { opener, columns, mac, plain } = self;
        for (field, column) in row.fields.iter_mut().zip(columns) {
            let Field::Read(value) = field else { continue };
            plain.zeroize();
            let bound_to = column.target.bound_to.iter().map(|at| row.key_text[*at].as_slice());
            let identity = column.identity.of_row(bound_to);
            let sealed = opener.open(value, identity, plain).and_then(|_| {
                let mut sealed = Vec::with_capacity(value.len() + 64);
                column.sealer.seal(plain, identity, &mut sealed)?;
                Ok(sealed)
            });
            *field = match sealed {
                Ok(sealed) => {
                    Field::Sealed { old: value.clone(), new: sealed, digest: digest_of(mac, plain) }
                }
                Err(why) => Field::Refused(why),
            };
        }
    }

    fn is_written(&mut self, row: &RowRead, number: usize, value: &[u8], digest: &Digest) -> bool {
        let Self { opener, columns, mac, plain } = self;
        let Some(Column { target, identity, .. }) = columns.get_mut(number) else { return false };
        plain.zeroize();
        let identity = identity.of_row(target.bound_to.iter().map(|at| row.key_text[*at].as_slice()));
        let opened: Result<_, Refused> = opener.open(value, identity, plain);
        opened.is_ok_and(|label| label.format == target.format && label.key == Some(target.key))
            && digest_of(mac, plain) == *digest
    }
}

fn digest_of(mac: &Mac, text: &[u8]) -> Digest {
    let mut mac = mac.clone();
    mac.update(text);
    mac.end()
}
