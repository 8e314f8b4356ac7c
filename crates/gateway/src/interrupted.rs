//! Calls that a stopped process left open get their outcome: `interrupted`, with what was said so far.

use std::sync::Arc;

use ledger::{AppendError, Ledger};
use record::{Actor, Draft, Envelope, Kind, Outcome, Source, Trace, Uuid, Value, uuid_v7};
use world::World;

use crate::drafts::{Said, now, set_said};
use crate::openai::events::EventReader;
use crate::spool::Leftover;

/// Attributes of the request that stand in both records of a call.
const COMMON: [&str; 6] = [
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.conversation.id",
    "testimony.route",
    "testimony.route.version",
    "testimony.route.model",
];

/// Records the outcome of every open call.
pub(crate) async fn record(
    world: &World,
    ledger: &Ledger,
    source: &Arc<Source>,
    open_calls: &[(Uuid, u64)],
    leftovers: &[Leftover],
) -> Result<(), AppendError> {
    /// Records that are appended together; each may hold a whole answer.
    const TOGETHER: usize = 16;
    for calls in open_calls.chunks(TOGETHER) {
        let drafts = calls
            .iter()
            .map(|(call, index)| {
                let mut draft = outcome(world, ledger, source, *call, *index);
                if let Some(left) = leftovers.iter().find(|left| left.call == *call) {
                    let mut reader = EventReader::default();
                    reader.push(&left.bytes);
                    set_said(&mut draft, &Said::of_stream(reader));
                }
                draft
            })
            .collect();
        ledger.append_all(drafts).await?;
    }
    Ok(())
}

/// The outcome of one call, with what its request's record tells of it.
fn outcome(world: &World, ledger: &Ledger, source: &Arc<Source>, call: Uuid, index: u64) -> Draft {
    let time = now(world);
    let id = uuid_v7(time, &world.entropy.bytes());
    let mut draft = Draft::new(id, time, Kind::InferenceResponse, source.clone());
    draft.call_id = Some(call);
    draft.outcome = Some(Outcome::Interrupted);
    draft.attributes.set("error.type", "process_stopped");
    // The record is there: recovery has just read it. Without it, the outcome still stands on its own.
    let request = ledger.read(index).ok().flatten();
    let entry = request.as_ref().and_then(|portion| portion.entries().next());
    if let Some(request) = entry.and_then(|entry| Envelope::parse(entry.leaf).ok()) {
        let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
        draft.actor = request.actor.as_ref().map(|actor| Actor {
            kind: actor.kind.to_string(),
            id: owned(&actor.id),
            groups: actor.groups.iter().map(ToString::to_string).collect(),
            auth: owned(&actor.auth),
            ip: owned(&actor.ip),
            fingerprint: owned(&actor.fingerprint),
        });
        draft.trace = Trace {
            trace_id: owned(&request.trace_id),
            span_id: owned(&request.span_id),
            parent_span_id: owned(&request.parent_span_id),
        };
        for name in COMMON {
            if let Some(Value::Text(text)) = request.attributes.value(name) {
                draft.attributes.set_text(name, text);
            }
        }
    }
    draft
}
