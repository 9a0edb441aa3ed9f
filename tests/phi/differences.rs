//! Whatever is wrong with one encrypted value is found before the swap, and named without its value.

use super::{BLUE, Keys, plan};
use crate::support::{Cluster, home, stage};

/// What is done to green, the number of rows that differ then, and what is said of it.
const WRONGS: [(&str, u64, &[&str]); 9] = [
    (
        "update GREEN set ssn_encrypted = set_byte(ssn_encrypted, 70, get_byte(ssn_encrypted, 70) # 1) where id = 8",
        1,
        &["column ssn_encrypted: 1 value: key ACTIVE does not open it", "ssn_encrypted (1)"],
    ),
    (
        "update GREEN a set ssn_encrypted = b.ssn_encrypted from GREEN b where (a.id, b.id) in ((15, 16), (16, 15))",
        2,
        &["ssn_encrypted (2)"],
    ),
    (
        "update GREEN a set info_encrypted = b.info_encrypted from GREEN b where (a.id, b.id) = (15, 16)",
        1,
        &[
            "column info_encrypted: 1 value: key ACTIVE does not open it: it was altered, is another row's",
            "info_encrypted (1)",
        ],
    ),
    (
        // The right text, but not encrypted, or under another key.
        "update GREEN set ssn_encrypted = convert_to('123-45-9', 'UTF8') where id = 9",
        1,
        &["column ssn_encrypted: 1 value: it is not encrypted"],
    ),
    (
        "update GREEN set ssn_encrypted = pgp_sym_encrypt('123-45-9', 'INDEX') where id = 9",
        1,
        &["column ssn_encrypted: 1 value: it is encrypted with key ", "which is not the column's key"],
    ),
    ("update GREEN set ssn_encrypted = pgp_sym_encrypt('', 'TEXT') where id = 7", 1, &["ssn_encrypted (1)"]),
    ("update GREEN set history = pgp_sym_encrypt('history of 8 ', 'TEXT') where id = 8", 1, &["history (1)"]),
    ("update GREEN set ssn_blind_index = '\\x00' where id = 8", 1, &["ssn_blind_index (1)"]),
    (
        // Of two rows with the same text.
        "update GREEN a set ssn_encrypted_tag = b.ssn_encrypted_tag from GREEN b where (a.id, b.id) in ((1, 8), (8, 1))",
        2,
        &["ssn_encrypted_tag (2)"],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_value_is_found() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(&cluster, BLUE, &plan(&keys, "0s")).await;
    keys.write(&program);
    program.execute(&["--until", "index"]).expect_code(0);
    let green = format!("{}.patients", home(&client, "green").await);
    let kept = format!("create table kept as select * from {green}");
    client.batch_execute(&kept).await.unwrap();
    for (wrong, rows, words) in WRONGS {
        let filled = |text: &str| {
            let text = text.replace("GREEN", &green).replace("ACTIVE", &keys.active.to_string());
            text.replace("TEXT", &keys.text).replace("INDEX", &keys.index_text)
        };
        client.batch_execute(&filled(wrong)).await.unwrap();
        let found = program.execute(&["--yes"]).expect_code(4);
        let error = found.error();
        assert!(error.contains(&format!("{rows} difference")), "{wrong}: {error}");
        for word in words {
            assert!(error.contains(&filled(word)), "{wrong}: lacks {word}: {error}");
        }
        assert!(!found.stdout.contains("123-45"), "{wrong}");
        let mended = format!(
            "update {green} g set ssn_encrypted = k.ssn_encrypted, history = k.history, info_encrypted = k.info_encrypted, \
             ssn_blind_index = k.ssn_blind_index, ssn_encrypted_tag = k.ssn_encrypted_tag from kept k where k.id = g.id and g.id < 20"
        );
        client.batch_execute(&mended).await.unwrap();
    }
    program.execute(&["--yes"]).expect_code(0);
}
