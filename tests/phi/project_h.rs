//! plans/project-h/patients.yaml: with all that hangs on patients, there, back, and there again, to the end.

use std::path::{Path, PathBuf};

use super::Keys;
use crate::support::{Bluegreen, Cluster};

const ROWS: &str = "
    insert into practices (name, email) values ('a', 'a@example.org');
    insert into patients (patient_id, first_name, last_name, email, ssn, medical_history, insurance_details)
      select md5(n::text)::uuid, 'first', 'last', n || '@example.org', case when n % 3 > 0 then '000-00-' || n end, repeat('history ', n), 'x' || n
      from generate_series(1, 300) n;
    insert into mood_entries (patient_id, mood_score, mood_color) select patient_id, 5, '#000000' from patients;
    insert into patient_consents (patient_id, consent_type, granted_to) select patient_id, 'x', patient_id from patients;
    analyze patients";

/// The plan as it has to be where a view cannot have the row security of whoever uses it.
fn without_view(plan: &Path, program: &Bluegreen) -> PathBuf {
    let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let text = std::fs::read_to_string(plan).unwrap();
    let text = text.replace("    compatibility: view\n", "").replace("../../sql", sql.to_str().unwrap());
    let file = program.folder().join("patients.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_of_project_h_encrypts_its_patients() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    for sql in
        [include_str!("../../sql/project-h/auth.sql"), include_str!("../../sql/project-h/schema.sql"), ROWS]
    {
        client.batch_execute(sql).await.unwrap();
    }
    let keys = Keys::new();
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/project-h/patients.yaml");
    let program = Bluegreen::new(&cluster, "postgres");
    keys.write(&program);
    let has_view = !cluster.is_before(15);
    let plan = if has_view { plan } else { without_view(&plan, &program) };
    let plan = plan.to_str().unwrap();
    let file = program.folder().join("keys.yaml").to_str().unwrap().to_owned();
    let program = program.env("PHI_KEYS", &file).env("PHI_KEY", &keys.active.to_string());
    let program = program.env("PHI_INDEX_KEY", &keys.index.to_string());
    let rows = |of: &str| {
        let sql = format!(
            "select string_agg(r::text, ';' order by r) from (select patient_id, phone, {of} from patients) r"
        );
        cluster.psql("postgres", &sql)
    };
    let plain = "ssn, medical_history, insurance_details";
    let decrypted = "decrypt_phi(ssn_encrypted), decrypt_phi(medical_history_encrypted), decrypt_phi(insurance_details_encrypted)";

    program.say(&["check", plan]).expect_code(0);
    program.say(&["execute", plan, "--yes", "--until", "copy"]).expect_code(0);
    client
        .batch_execute("update patients set ssn = '000-11', phone = '1' where insurance_details like 'x1%'; delete from mood_entries where mood_score > 9")
        .await
        .unwrap();
    let before = rows(plain);
    program.say(&["execute", plan, "--yes", "--until", "verify"]).expect_code(0);
    keys.load(&client).await;
    program.say(&["execute", plan, "--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(rows(decrypted), before);
    // As the application would: look up by equality, and write through SQL.
    let look_up = format!(
        "set role service_role; update patients set ssn_encrypted = encrypt_phi('000-22', '{0}'), ssn_blind_index = phi_blind_index('000-22', '{1}') \
         where ssn_blind_index = phi_blind_index(' 000-00-2', '{1}'); reset role; select count(*) from patients where ssn_blind_index = phi_blind_index('000-22', '{1}')",
        keys.active, keys.index
    );
    assert_eq!(cluster.psql("postgres", &look_up).trim(), "1");
    let after = rows(decrypted);
    assert_ne!(after, before);
    if has_view {
        // Code of before the swap.
        let old = "set role service_role; set search_path = \"public_project-h-phase-2\", public;
            update patients set ssn = '000-33' where ssn = '000-22' returning ssn";
        assert_eq!(cluster.psql("postgres", old).trim(), "000-33");
    }
    let after = rows(decrypted);
    program.say(&["rollback", plan]).expect_code(6);
    assert_eq!(rows(plain), after);
    program.say(&["execute", plan, "--yes", "--until", "settle"]).expect_code(0);
    let finished = program.say(&["finish", plan, "--yes"]).expect_code(0);
    finished.expect_words(&["plaintext of the encrypted columns may remain"]);
    assert_eq!(rows(decrypted), after);
    // appointments.notes is marked as well, and empty here.
    program
        .say(&["phi", "coverage", plan])
        .expect_code(0)
        .expect_words(&["patients.ssn_encrypted: 100 % of", "100 %: every value"]);
    let comment = "select col_description('patients'::regclass, attnum) from pg_attribute where attrelid = 'patients'::regclass and attname = 'ssn_encrypted'";
    assert_eq!(cluster.psql("postgres", comment).trim(), "PHI, encrypted: decrypt_phi(ssn_encrypted).");
}
