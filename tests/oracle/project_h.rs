//! Project-H's two busiest tables: appointments that are booked, moved and cancelled, and the audit
//! log that is written in the same transactions.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::own::{column, uuids};
use super::table::{Role, Table};
use super::value::Small;

const STATUS: Small = Small::OneOf(&["scheduled", "completed", "cancelled", "no-show"]);
const TYPE: Small = Small::OneOf(&["in-person", "telehealth", "psychotherapy", "crisis_intervention"]);
const ACTION: Small = Small::OneOf(&["appointment.book", "appointment.move", "appointment.cancel", "login"]);
const IP: Small = Small::Nullable(&["192.0.2.7", "2001:db8::7"]);

/// What the clients know of them; refers to people who are there already.
pub async fn tables(client: &Client) -> Result<Vec<Table>, Error> {
    let providers = some_keys(client, "select provider_id::text from public.providers limit 200").await?;
    let patients = some_keys(client, "select patient_id::text from public.patients limit 500").await?;
    let users = some_keys(client, "select user_id::text from public.users limit 100").await?;
    Ok(vec![appointments(providers, patients), audit_logs(users)])
}

fn appointments(providers: Vec<String>, patients: Vec<String>) -> Table {
    Table {
        name: "public.appointments",
        columns: vec![
            column("appointment_id", Type::UUID, Role::Uuid),
            column("provider_id", Type::UUID, Role::Parent(providers)),
            column("patient_id", Type::UUID, Role::Parent(patients)),
            column("start_time", Type::TIMESTAMPTZ, Role::At),
            column("end_time", Type::TIMESTAMPTZ, Role::Until),
            column("status", Type::VARCHAR, Role::Small(STATUS)),
            column("type", Type::VARCHAR, Role::Small(TYPE)),
            column("notes", Type::TEXT, Role::Large),
            column("created_at", Type::TIMESTAMPTZ, Role::Small(Small::Moment)),
            column("updated_at", Type::TIMESTAMPTZ, Role::Small(Small::Moment)),
        ],
        rows_of: |first, last| uuids("appointment_id", first, last),
        key_constraint: None,
    }
}

fn audit_logs(users: Vec<String>) -> Table {
    Table {
        name: "public.audit_logs",
        columns: vec![
            column("log_id", Type::UUID, Role::Uuid),
            column("user_id", Type::UUID, Role::Parent(users)),
            column("action", Type::VARCHAR, Role::Small(ACTION)),
            column("entity_type", Type::VARCHAR, Role::Small(Small::OneOf(&["appointment", "user"]))),
            column("details", Type::JSONB, Role::Small(Small::Json)),
            column("ip_address", Type::VARCHAR, Role::Small(IP)),
            column("created_at", Type::TIMESTAMPTZ, Role::At),
        ],
        rows_of: |first, last| uuids("log_id", first, last),
        key_constraint: None,
    }
}

async fn some_keys(client: &Client, sql: &str) -> Result<Vec<String>, Error> {
    Ok(client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}
