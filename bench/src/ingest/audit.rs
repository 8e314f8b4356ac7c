//! Audit events of a Kubernetes API server, as its webhook sends them: lists of what kubelets and controllers do.

use record::Timestamp;

use super::began;
use crate::chance::Chance;

/// How many events a list has: the most that the webhook of an API server sends at once unless it is told otherwise.
pub(crate) const EVENTS_EACH: usize = 400;

const NAMESPACES: [&str; 4] = ["bots", "payments", "search", "kube-system"];
const WORKLOADS: [&str; 4] = ["support-bot-7d9f6b5c4d", "claims-6c8d5f7b9", "indexer-5b7c9d8f6f", "gateway-84d7c6b5f"];
const CONTROLLERS: [&str; 4] = ["deployment-controller", "node-controller", "kube-scheduler", "cluster-autoscaler"];

/// So many lists, whose events have identifiers of their own.
pub(crate) fn bodies(count: usize, now: i64) -> Vec<Vec<u8>> {
    (0..count).map(|nth| body(nth, now)).collect()
}

fn body(nth: usize, now: i64) -> Vec<u8> {
    let mut chance = Chance::new(nth as u64);
    let mut out = String::from(r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#);
    for event in nth * EVENTS_EACH..(nth + 1) * EVENTS_EACH {
        if !event.is_multiple_of(EVENTS_EACH) {
            out.push(',');
        }
        let began = began(event, now);
        let ended = began + 800 + chance.below(20_000).cast_signed();
        let (began, ended) = (Timestamp::from_micros(began), Timestamp::from_micros(ended));
        let times = format!(r#""requestReceivedTimestamp":"{began}","stageTimestamp":"{ended}""#);
        out.push_str(&if event % 4 == 3 { lease(&times, began, &mut chance) } else { status(&times, &mut chance) });
    }
    out.push_str("]}\n");
    out.into_bytes()
}

/// A kubelet says how a pod is: an event of the level `Metadata`.
fn status(times: &str, chance: &mut Chance) -> String {
    let (id, uid, node, version) = (chance.uuid(), chance.uuid(), chance.below(40), chance.below(1 << 24));
    let (namespace, workload, pod) = (chance.one_of(&NAMESPACES), chance.one_of(&WORKLOADS), chance.below(1 << 20));
    format!(
        r#"{{"level":"Metadata","auditID":"{id}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/{namespace}/pods/{workload}-{pod:05x}/status","verb":"patch","user":{{"username":"system:node:node-{node}","groups":["system:nodes","system:authenticated"]}},"sourceIPs":["10.0.3.{node}"],"userAgent":"kubelet/v1.31.2 (linux/amd64) kubernetes/9edcffc","objectRef":{{"resource":"pods","namespace":"{namespace}","name":"{workload}-{pod:05x}","uid":"{uid}","apiVersion":"v1","resourceVersion":"{version}","subresource":"status"}},"responseStatus":{{"metadata":{{}},"code":200}},{times},"annotations":{{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}}}"#
    )
}

/// A controller says that it is there: an event of the level `Request`, which has the object that was sent.
fn lease(times: &str, renewed: Timestamp, chance: &mut Chance) -> String {
    let (id, uid, holder) = (chance.uuid(), chance.uuid(), chance.uuid());
    let (name, version) = (chance.one_of(&CONTROLLERS), chance.below(1 << 24));
    format!(
        r#"{{"level":"Request","auditID":"{id}","stage":"ResponseComplete","requestURI":"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}","verb":"update","user":{{"username":"system:serviceaccount:kube-system:{name}","groups":["system:serviceaccounts","system:authenticated"]}},"sourceIPs":["10.0.0.9"],"userAgent":"{name}/v1.31.2 (linux/amd64) kubernetes/9edcffc","objectRef":{{"resource":"leases","namespace":"kube-system","name":"{name}","uid":"{uid}","apiGroup":"coordination.k8s.io","apiVersion":"v1","resourceVersion":"{version}"}},"responseStatus":{{"metadata":{{}},"code":200}},"requestObject":{{"kind":"Lease","metadata":{{"name":"{name}"}},"spec":{{"holderIdentity":"{holder}","leaseDurationSeconds":15,"renewTime":"{renewed}"}}}},{times},"annotations":{{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}}}"#
    )
}
