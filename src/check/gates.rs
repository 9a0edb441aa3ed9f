//! The plan's gates, asked once, read-only: one that cannot be asked would refuse the swap at the end of a run, or roll
//! it back in the soak. What they answer now is no reason to refuse.

use super::{CheckId, Finding};
use crate::context::Context;
use crate::pg::ConnectionRole;
use crate::phase::gates::{self, Answer};
use crate::plan::{GateAsk, Plan};

pub(super) async fn check(cx: &Context, plan: &Plan) -> Vec<Finding> {
    let name = ConnectionRole::of_command("gate").to_string();
    let mut findings = Vec::new();
    for gate in &plan.gates {
        let hint = match &gate.ask {
            GateAsk::Command(_) => "a path from where the program is started, or a name that PATH has",
            GateAsk::Sql(_) | GateAsk::Compare(_) => {
                "its tables need their schemas, it may only read, and it has to answer within its `timeout`"
            }
        };
        findings.push(match gates::attempt(&cx.target, &name, gate).await {
            Ok(Answer::Yes) => continue,
            Ok(Answer::No(why)) => {
                let what = format!("gate `{}` does not pass now: {why}", gate.name);
                Finding::server(CheckId::Gates, what, "the swap is refused while that lasts").into_note()
            }
            Err(why) => {
                Finding::server(CheckId::Gates, format!("gate `{}` cannot be asked: {why}", gate.name), hint)
            }
        });
    }
    findings
}
